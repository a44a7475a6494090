use super::*;
use crate::average::Average;
use crate::clip::{clip_factor, global_norm};
use candle_core::{Device, Shape};

type Parameters = BTreeMap<String, Var>;

fn parameters(values: &[(&str, &[f64], &[usize])], dtype: DType) -> Parameters {
    let variable = |values: &[f64], shape: &[usize]| {
        let tensor = Tensor::from_slice(values, Shape::from(shape), &Device::Cpu).unwrap();
        Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
    };
    values
        .iter()
        .map(|(name, values, shape)| (name.to_string(), variable(values, shape)))
        .collect()
}

/// Every value of every parameter has the gradient 0.5, -0.25, 2 at steps 1, 2, 3. The
/// expected values below were computed from these.
fn gradients(parameters: &Parameters, step: usize) -> Tensors {
    let value = [0.5, -0.25, 2.0][step % 3];
    let like = |parameter: &Var| parameter.zeros_like().unwrap().affine(0.0, value).unwrap();
    parameters
        .iter()
        .map(|(name, parameter)| (name.clone(), like(parameter)))
        .collect()
}

fn bits(tensors: &Tensors) -> Vec<(String, Vec<u32>)> {
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors
        .iter()
        .map(|(name, tensor)| {
            let bits = values(tensor).into_iter().map(f32::to_bits).collect();
            (name.clone(), bits)
        })
        .collect()
}

fn assert_three_steps(config: OptimiserConfig, shape: &[usize], expected: [f64; 3]) {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 3e-6)] {
        let parameters = parameters(&[("w", &[1.0], shape)], dtype);
        let mut optimiser = Optimiser::new(&config, &parameters).unwrap();
        for (step, expected) in expected.into_iter().enumerate() {
            let gradients = gradients(&parameters, step);
            optimiser
                .step(&parameters, &gradients, 0.1, 1.0, None)
                .unwrap();
            let found = parameters["w"].to_dtype(DType::F64).unwrap();
            let found = found.sum_all().unwrap().to_scalar::<f64>().unwrap();
            let difference = (found - expected).abs();
            assert!(
                difference < tolerance,
                "step {step}: {found} not {expected}"
            );
        }
        assert_eq!(optimiser.steps(), 3);
    }
}

fn adam(weight_decay: f64) -> OptimiserConfig {
    OptimiserConfig::Adam(AdamConfig {
        weight_decay,
        ..AdamConfig::default()
    })
}

fn rms_prop(momentum: f64, weight_decay: f64) -> OptimiserConfig {
    OptimiserConfig::RmsProp(RmsPropConfig {
        momentum,
        weight_decay,
        ..RmsPropConfig::default()
    })
}

fn muon(weight_decay: f64) -> OptimiserConfig {
    OptimiserConfig::Muon(MuonConfig {
        weight_decay,
        adam_weights: vec!["logits".to_string()],
        ..MuonConfig::default()
    })
}

const ADAM: [f64; 3] = [0.900000002, 0.8733662987078463, 0.8063015345291531];
const RMS_PROP: [f64; 3] = [0.5527864445000387, 0.7569105730653048, 0.3248251938902059];

#[test]
fn three_steps_of_adam() {
    assert_three_steps(adam(0.0), &[1], ADAM);
    let decayed = [0.8500000019999999, 0.7808662986078463, 0.6747582194987607];
    assert_three_steps(adam(0.5), &[1, 1], decayed);
}

#[test]
fn three_steps_of_rms_prop() {
    assert_three_steps(rms_prop(0.0, 0.0), &[1], RMS_PROP);
    let momentum = [0.5527864445000387, 0.35441837311533964, -0.2561982703059884];
    assert_three_steps(rms_prop(0.9, 0.0), &[1], momentum);
    let decayed = [
        0.5027864445000386,
        0.27927905089033767,
        -0.34530154507550725,
    ];
    assert_three_steps(rms_prop(0.9, 0.5), &[1, 1], decayed);
}

#[test]
fn biases_do_not_decay() {
    assert_three_steps(adam(0.5), &[1], ADAM);
    assert_three_steps(rms_prop(0.0, 0.5), &[], RMS_PROP);
}

#[test]
fn a_quadratic_converges() {
    for config in [adam(0.0), rms_prop(0.0, 0.0), rms_prop(0.9, 0.0)] {
        let parameters = parameters(&[("w", &[3.0, -2.0], &[2])], DType::F32);
        let target = Tensor::new(&[0.5f32, 1.5], &Device::Cpu).unwrap();
        let mut optimiser = Optimiser::new(&config, &parameters).unwrap();
        let loss = || {
            let difference = parameters["w"].sub(&target).unwrap();
            difference.sqr().unwrap().sum_all().unwrap()
        };
        for step in 0..600 {
            let store = loss().backward().unwrap();
            let gradients = crate::collect_gradients(&store, &parameters).unwrap();
            let rate = 0.05 * (1.0 - step as f64 / 600.0);
            optimiser
                .step(&parameters, &gradients, rate, 1.0, None)
                .unwrap();
        }
        let loss = loss().to_scalar::<f32>().unwrap();
        assert!(loss < 1e-4, "{config:?}: {loss}");
    }
}

fn varied() -> Parameters {
    let weight = [0.3, -1.7, 0.01, 4.0];
    parameters(
        &[("a.weight", &weight, &[2, 2]), ("b.bias", &[0.7], &[1])],
        DType::F32,
    )
}

/// Gradients that depend on the weights, so that every earlier bit matters.
fn run(optimiser: &mut Optimiser, parameters: &Parameters, steps: std::ops::Range<usize>) {
    for step in steps {
        let gradient = |p: &Var| {
            p.as_detached_tensor()
                .affine(0.7, step as f64 * 0.1)
                .unwrap()
        };
        let gradients = parameters
            .iter()
            .map(|(name, parameter)| (name.clone(), gradient(parameter)))
            .collect();
        optimiser
            .step(parameters, &gradients, 0.01, 0.9, None)
            .unwrap();
    }
}

#[test]
fn a_saved_and_loaded_state_gives_the_bits_of_a_run_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    for config in [
        adam(0.01),
        rms_prop(0.0, 0.01),
        rms_prop(0.9, 0.01),
        muon(0.01),
    ] {
        let straight = varied();
        let mut optimiser = Optimiser::new(&config, &straight).unwrap();
        run(&mut optimiser, &straight, 0..10);

        let resumed = varied();
        let mut first = Optimiser::new(&config, &resumed).unwrap();
        run(&mut first, &resumed, 0..4);
        let state: std::collections::HashMap<_, _> = first.state().unwrap().into_iter().collect();
        candle_core::safetensors::save(&state, &file).unwrap();
        let loaded = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let mut second = Optimiser::new(&config, &resumed).unwrap();
        second
            .load_state(&loaded.into_iter().collect(), first.steps())
            .unwrap();
        run(&mut second, &resumed, 4..10);

        assert_eq!(bits(&detached(&straight)), bits(&detached(&resumed)));
        assert_eq!(
            bits(&optimiser.state().unwrap()),
            bits(&second.state().unwrap())
        );
        assert_eq!(second.steps(), 10);
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let parameters = varied();
    let mut optimiser = Optimiser::new(&adam(0.0), &parameters).unwrap();
    let names: Vec<_> = optimiser.state().unwrap().into_keys().collect();
    assert_eq!(
        names,
        [
            "first_moment.a.weight",
            "first_moment.b.bias",
            "second_moment.a.weight",
            "second_moment.b.bias"
        ]
    );
    let mut message = |state: Tensors| optimiser.load_state(&state, 1).unwrap_err().to_string();
    let rms = |momentum| {
        Optimiser::new(&rms_prop(momentum, 0.0), &parameters)
            .unwrap()
            .state()
            .unwrap()
    };
    assert_eq!(
        message(rms(0.0)),
        "optimiser state `first_moment.a.weight`: expected f32 [2, 2], found none"
    );
    let mut missing = Optimiser::new(&adam(0.0), &parameters)
        .unwrap()
        .state()
        .unwrap();
    missing.extend(rms(0.9));
    assert_eq!(
        message(missing),
        "optimiser state `momentum.a.weight`: expected no such tensor, found f32 [2, 2]"
    );
    assert_eq!(optimiser.steps(), 0);
}

#[test]
fn gradients_and_parameters_that_do_not_fit_change_nothing() {
    let parameters = varied();
    let before = bits(&detached(&parameters));
    let mut optimiser = Optimiser::new(&adam(0.0), &parameters).unwrap();
    let mut partial = gradients(&parameters, 0);
    partial.remove("b.bias");
    let error = optimiser
        .step(&parameters, &partial, 0.1, 1.0, None)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "gradient `b.bias`: expected f32 [1], found none"
    );
    let mut fewer = parameters.clone();
    fewer.remove("b.bias");
    let error = optimiser
        .step(&fewer, &partial, 0.1, 1.0, None)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "optimiser state `first_moment.b.bias`: expected no such tensor, found f32 [1]"
    );
    let all = gradients(&parameters, 0);
    for (rate, scale) in [
        (f64::NAN, 1.0),
        (-0.1, 1.0),
        (0.1, f64::NAN),
        (0.1, f64::INFINITY),
    ] {
        let error = optimiser
            .step(&parameters, &all, rate, scale, None)
            .unwrap_err();
        assert!(matches!(error, TrainError::Invalid { .. }), "{error}");
    }
    assert_eq!(bits(&detached(&parameters)), before);
    assert_eq!(optimiser.steps(), 0);
}

#[test]
fn the_scale_multiplies_the_gradients() {
    for config in [adam(0.0), rms_prop(0.9, 0.0), muon(0.0)] {
        let (scaled, halved) = (varied(), varied());
        let mut first = Optimiser::new(&config, &scaled).unwrap();
        let mut second = Optimiser::new(&config, &halved).unwrap();
        for step in 0..3 {
            // One scale per step, because Adam's first update hardly depends on a common
            // scale.
            let scale = [0.5, 0.125, 1.0][step];
            let whole = gradients(&scaled, step);
            let half = whole
                .iter()
                .map(|(name, gradient)| (name.clone(), (gradient * scale).unwrap()))
                .collect();
            first.step(&scaled, &whole, 0.1, scale, None).unwrap();
            second.step(&halved, &half, 0.1, 1.0, None).unwrap();
        }
        assert_eq!(
            bits(&first.state().unwrap()),
            bits(&second.state().unwrap())
        );
        assert_eq!(bits(&detached(&scaled)), bits(&detached(&halved)));
        let unscaled = varied();
        let mut third = Optimiser::new(&config, &unscaled).unwrap();
        for step in 0..3 {
            let gradients = gradients(&unscaled, step);
            third.step(&unscaled, &gradients, 0.1, 1.0, None).unwrap();
        }
        assert_ne!(bits(&detached(&scaled)), bits(&detached(&unscaled)));
    }
}

/// With a norm that was not read, a step is the one whose scale was computed from it.
#[test]
fn a_clipped_step_is_the_step_of_its_factor() {
    for config in [adam(0.1), rms_prop(0.9, 0.1), rms_prop(0.0, 0.0), muon(0.1)] {
        let (read, unread) = (varied(), varied());
        let mut first = Optimiser::new(&config, &read).unwrap();
        let mut second = Optimiser::new(&config, &unread).unwrap();
        let averages = [&read, &unread].map(|of| Average::new(0.5, of).unwrap());
        for step in 0..3 {
            let gradients = gradients(&read, step);
            let norm = global_norm(&gradients).unwrap();
            // A power of two gives the same bits in f32 and f64.
            let most = norm.to_scalar::<f64>().unwrap() * [0.5, 2.0, 0.25][step];
            let scale = clip_factor(norm.to_scalar().unwrap(), most);
            assert_eq!(scale, [0.5, 1.0, 0.25][step]);
            let [average, other] = averages.each_ref().map(Some);
            first.step(&read, &gradients, 0.1, scale, average).unwrap();
            let clip = (&norm, most);
            second
                .clipped_step(&unread, &gradients, 0.1, clip, other)
                .unwrap();
        }
        let states = [&first, &second].map(|of| bits(&of.state().unwrap()));
        assert_eq!(states[0], states[1]);
        assert_eq!(bits(&detached(&read)), bits(&detached(&unread)));
        let averages = averages.map(|of| bits(&of.tensors().unwrap()));
        assert_eq!(averages[0], averages[1]);
    }
}

#[test]
fn a_masked_weight_stays_exactly_zero() {
    for config in [adam(0.1), rms_prop(0.0, 0.1), rms_prop(0.9, 0.1), muon(0.1)] {
        let parameters = parameters(&[("w", &[0.0, 1.0], &[1, 2])], DType::F32);
        let mut optimiser = Optimiser::new(&config, &parameters).unwrap();
        let gradient = Tensor::new(&[[0f32, 0.5]], &Device::Cpu).unwrap();
        let gradients = Tensors::from([("w".into(), gradient)]);
        for _ in 0..50 {
            optimiser
                .step(&parameters, &gradients, 0.1, 1.0, None)
                .unwrap();
        }
        let weights = parameters["w"].to_vec2::<f32>().unwrap()[0].clone();
        assert_eq!(weights[0].to_bits(), 0);
        assert!(weights[1] < 0.0);
    }
}

#[test]
fn muon_leaves_vectors_and_named_weights_to_adam() {
    let all = [
        ("blocks.0.weight", &[0.3, -1.7, 0.01, 4.0][..], &[2, 2][..]),
        ("blocks.0.bias", &[0.7], &[1]),
        ("logits.weight", &[0.7, 0.1], &[1, 2]),
    ];
    let parameters = parameters(&all, DType::F32);
    let mut optimiser = Optimiser::new(&muon(0.0), &parameters).unwrap();
    let names: Vec<_> = optimiser.state().unwrap().into_keys().collect();
    let expected = [
        "first_moment.blocks.0.bias",
        "first_moment.logits.weight",
        "momentum.blocks.0.weight",
        "second_moment.blocks.0.bias",
        "second_moment.logits.weight",
    ];
    assert_eq!(names, expected);
    let gradients = gradients(&parameters, 1);
    let average = Average::new(0.5, &parameters).unwrap();
    let before = copies("weight", &parameters).unwrap();
    optimiser
        .step(&parameters, &gradients, 0.1, 1.0, Some(&average))
        .unwrap();
    let moved = |name: &str| {
        let change = (parameters[name].as_tensor() - &before[name]).unwrap();
        let change = change.abs().unwrap().max_all().unwrap();
        change.to_scalar::<f32>().unwrap()
    };
    // Adam's first step is its learning rate, here a tenth of Muon's.
    assert!((moved("blocks.0.bias") - 0.01).abs() < 1e-6);
    assert!((moved("logits.weight") - 0.01).abs() < 1e-6);
    assert!(moved("blocks.0.weight") > 0.03);
    let averaged = average.tensors().unwrap();
    assert!(bits(&averaged) != bits(&before));
}

#[test]
fn the_state_records_no_graph() {
    let parameters = varied();
    let mut optimiser = Optimiser::new(&rms_prop(0.9, 0.1), &parameters).unwrap();
    let tracked = parameters
        .iter()
        .map(|(name, parameter)| (name.clone(), parameter.sqr().unwrap()))
        .collect();
    optimiser
        .step(&parameters, &tracked, 0.1, 1.0, None)
        .unwrap();
    assert!(
        optimiser
            .state()
            .unwrap()
            .values()
            .all(|tensor| !tensor.track_op())
    );
}

#[test]
fn settings_out_of_range_are_named() {
    let parameters = varied();
    let message = |config: &str| {
        let config: OptimiserConfig = toml::from_str(config).unwrap();
        Optimiser::new(&config, &parameters)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message("kind = 'adam'\nbeta1 = 1.0"),
        "invalid beta1: 1 is not in [0, 1)"
    );
    assert_eq!(
        message("kind = 'adam'\nbeta2 = nan"),
        "invalid beta2: NaN is not in [0, 1)"
    );
    assert_eq!(
        message("kind = 'rms-prop'\nepsilon = 1e-60"),
        format!(
            "invalid epsilon: {} is not a positive number that f32 can hold",
            1e-60
        )
    );
    assert_eq!(
        message("kind = 'rms-prop'\nweight_decay = -1.0"),
        "invalid weight_decay: -1 is not finite and at least 0"
    );
    let integers = Var::new(&[1u32], &Device::Cpu).unwrap();
    let integers = BTreeMap::from([("tokens".to_string(), integers)]);
    let error = Optimiser::new(&adam(0.0), &integers).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid parameter `tokens`: u32 is not f32 or f64"
    );
}

#[test]
fn unknown_settings_and_kinds_are_refused() {
    for config in [
        "kind = 'adam'\nmomentum = 0.9",
        "kind = 'sgd'",
        "beta1 = 0.9",
    ] {
        assert!(
            toml::from_str::<OptimiserConfig>(config).is_err(),
            "{config}"
        );
    }
    let config = rms_prop(0.9, 0.1);
    let text = toml::to_string(&config).unwrap();
    assert!(text.contains("kind = \"rms-prop\""), "{text}");
    assert_eq!(toml::from_str::<OptimiserConfig>(&text).unwrap(), config);
}

#[test]
fn a_rate_is_multiplied_for_the_weights_of_its_name_alone() {
    let names = [
        "head.logits.bias",
        "head.logits.weight",
        "head.hidden.weight",
        "headless",
        "blocks.0.condition.weight",
        "blocks.0.my_condition.weight",
    ];
    let parameters: BTreeMap<_, _> = names
        .map(|name| (name.to_string(), Var::new(&[1.0f32], &Device::Cpu).unwrap()))
        .into();
    let one = Tensor::new(&[1.0f32], &Device::Cpu).unwrap();
    let gradients = names.map(|name| (name.to_string(), one.clone())).into();
    let rates = |rates: &[(&str, f64)]| {
        let rates = rates
            .iter()
            .map(|&(name, factor)| (name.to_string(), factor));
        Optimiser::new(&adam(0.0), &parameters)
            .unwrap()
            .with_learning_rate_multipliers(&rates.collect(), &parameters)
    };
    let mut optimiser = rates(&[
        ("head", 2.0),
        ("head.logits", 0.5),
        ("head.logits.bias", 3.0),
        ("condition", 0.2),
    ]);
    let optimiser = optimiser.as_mut().unwrap();
    optimiser
        .step(&parameters, &gradients, 0.1, 1.0, None)
        .unwrap();
    // Adam's first step is the learning rate.
    for (name, moved) in names.into_iter().zip([0.3, 0.05, 0.2, 0.1, 0.02, 0.1]) {
        let found = 1.0 - parameters[name].to_vec1::<f32>().unwrap()[0];
        assert!((found - moved).abs() < 1e-6, "{name}: {found}");
    }
    let refused = |name: &str, factor: f64| rates(&[(name, factor)]).unwrap_err().to_string();
    for part in ["hea", "", "logits.head", "head."] {
        let error = refused(part, 1.0);
        assert!(
            error.contains(&format!("training.learning_rate_multipliers: `{part}`")),
            "{error}"
        );
        assert!(error.contains("my_condition"), "{error}");
    }
    let muon = |part: &str| {
        let adam_weights = vec!["embedding".to_string(), part.to_string()];
        let config = crate::optimiser::MuonConfig {
            adam_weights,
            ..Default::default()
        };
        Optimiser::new(&OptimiserConfig::Muon(config), &parameters)
    };
    assert!(muon("head.logits").is_ok());
    let error = muon("logit").unwrap_err().to_string();
    assert!(
        error.contains("training.optimiser.adam_weights: `logit`"),
        "{error}"
    );
    assert!(refused("head", 0.0).contains("positive"));
    assert!(refused("head", f64::NAN).contains("positive"));
}
