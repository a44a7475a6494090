//! Training steps as one program, against candle's autograd on the CPU.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::{Activation, ConditionTerm, GatedBlock, GatedBlockConfig, Graph};
use pixelcnn_models::{
    Condition, ConditionShape, Conditioning, Distribution, ImageShape, Model, Network, Precision,
    TrainingStep, Variables,
};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{condition, size, values, wave};

use crate::compare::{Wrong, device};

/// A network with weights of the CPU, and biases that are not zero.
fn network(case: &ModelCase, device: &Device) -> (Network, Variables) {
    let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
    let weights = model.tensors().iter().map(|(name, tensor)| {
        let tensor = match tensor.rank() {
            1 => (wave(tensor.dims(), 0.4).unwrap() * 0.1).unwrap(),
            _ => tensor.clone(),
        };
        let tensor = tensor.to_dtype(DType::F32).unwrap().detach();
        (name.clone(), tensor)
    });
    let made = Model::trainable(&case.config, weights.collect(), device);
    let (model, variables) = made.unwrap();
    (model.network().unwrap().clone(), variables)
}

/// Networks as wide as real ones, whose kernels take eight channels at a time: also with a second
/// half of the gate that does not begin at a multiple of eight.
fn wide() -> Vec<ModelCase> {
    let config = |channels: usize, maps: usize, more: &str| {
        let text = format!(
            r#"{{"kind": "gated-pixelcnn", "first_kernel": 5, "kernel": 3, "blocks": 3,
            "image": {{"channels": {channels}, "height": 9, "width": 10, "levels": 256}},
            "maps": {maps}, "head": {maps}{more}}}"#
        );
        let name = format!("wide: {channels} channels, {maps} maps{more}");
        let config = serde_json::from_str(&text).unwrap();
        ModelCase { name, config }
    };
    let mixture = r#", "distribution": {"kind": "logistic-mixture", "components": 4}"#;
    let shortcut = format!(r#"{mixture}, "head_shortcut": true"#);
    let class = r#", "conditioning": {"kind": "class", "classes": 3}"#;
    vec![
        config(1, 8, ""),
        config(3, 24, ""),
        config(1, 20, r#", "vertical_residual": true"#),
        config(3, 24, mixture),
        config(3, 24, &shortcut),
        config(1, 16, class),
    ]
}

/// A condition of the blocks, with other numbers for each image, and the variable that it reads.
fn given(shape: ConditionShape, [b, h, w]: [usize; 3]) -> (Condition, Option<Var>) {
    let condition = condition(shape, b, h, w, DType::F32).unwrap();
    let variable = condition.tensor().map(|it| Var::from_tensor(it).unwrap());
    let tensor = variable.as_ref().map(|it| it.as_tensor().clone());
    let condition = match (&condition, tensor) {
        (Condition::Vector(_), Some(tensor)) => Condition::Vector(tensor),
        (Condition::Map(_), Some(tensor)) => Condition::Map(tensor),
        _ => Condition::None,
    };
    (condition, variable)
}

/// The loss and the gradient of every parameter of the network and of the condition, by autograd
/// on the CPU.
fn expected(
    (network, variables): &(Network, Variables),
    images: &Tensor,
    shape: ConditionShape,
) -> Vec<(String, Tensor)> {
    let (b, _, h, w) = images.dims4().unwrap();
    let (condition, variable) = given(shape, [b, h, w]);
    let nats = network.value_nats(images, &condition);
    let loss = nats.unwrap().mean_all().unwrap();
    let gradients = loss.backward().unwrap();
    // The encoder's parameters have none.
    let named =
        |(name, variable): (&String, &Var)| Some((name.clone(), gradients.get(variable)?.clone()));
    let mut all = vec![("loss".to_string(), loss)];
    all.extend(variables.iter().filter_map(named));
    let gradient = variable.map(|it| gradients.get(&it).unwrap().clone());
    all.extend(gradient.map(|gradient| ("condition".to_string(), gradient)));
    all
}

/// What a training step gives for these names.
fn found(step: &TrainingStep, loss: &Tensor, variables: &Variables) -> Vec<(String, Tensor)> {
    let mut all = vec![("loss".to_string(), loss.to_dtype(DType::F32).unwrap())];
    all.extend(step.gradients(variables));
    let condition = step.condition_gradient();
    all.extend(condition.map(|gradient| ("condition".to_string(), gradient)));
    all
}

/// How far gradients are from the expected ones, by the norm of all together.
fn difference(there: &[(String, Tensor)], here: &[(String, Tensor)]) -> f32 {
    let row = |all: &[(String, Tensor)]| {
        let parts = all.iter().map(|(_, part)| {
            let part = part.to_device(&Device::Cpu).unwrap();
            part.flatten_all().unwrap()
        });
        Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap()
    };
    let norm = |row: &Tensor| {
        let squares = row.sqr().unwrap().sum_all().unwrap();
        squares.to_scalar::<f32>().unwrap().sqrt()
    };
    let (there, here) = (row(there), row(here));
    norm(&(there - &here).unwrap()) / norm(&here)
}

/// Compares the program of a network with the same network on the CPU in every precision, and
/// gives the number of programs. Each program runs three times, the last time as a
/// replay: what a step leaves in its memory must not change the next one.
fn compare(
    wrong: &mut Wrong,
    name: &str,
    [there, here]: [&(Network, Variables); 2],
    (images, shape): (&Tensor, ConditionShape),
) -> usize {
    let (b, _, h, w) = images.dims4().unwrap();
    let (condition, _) = given(shape, [b, h, w]);
    let swapped = match &condition {
        Condition::None => Condition::None,
        condition => condition.select(&[1, 0]).unwrap(),
    };
    let expected = expected(here, images, shape);
    for precision in Precision::ALL {
        let step = TrainingStep::new(&there.0, [b, h, w], precision).unwrap();
        let Some(mut step) = step else { return 0 };
        for _ in 0..2 {
            let other = images.affine(0.0, 1.0).unwrap();
            step.run(&other, &swapped).unwrap();
        }
        let loss = step.run(images, &condition).unwrap();
        let found = found(&step, &loss, &there.1);
        let names = |all: &[(String, Tensor)]| -> Vec<String> {
            all.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&found), names(&expected));
        let what = format!("{name}, {precision}");
        if precision == Precision::F32 {
            for ((name, there), (_, here)) in found.iter().zip(&expected) {
                wrong.compare(&format!("{what}: {name}"), there, here, 1e-4);
            }
            continue;
        }
        // Rounded numbers in small networks: the loss, and the gradient as a whole.
        wrong.compare(&what, &found[0].1, &expected[0].1, 1e-2);
        let far = difference(&found[1..], &expected[1..]);
        wrong.most(&format!("{what}: the gradient"), far, 0.2);
        let last = expected.len() - 1;
        if expected[last].0 == "condition" {
            // All that was rounded in the backward pass adds up here.
            let far = difference(&found[last..], &expected[last..]);
            wrong.most(&format!("{what}: the condition's gradient"), far, 0.25);
        }
    }
    Precision::ALL.len()
}

/// "by own kernels": it also runs on the stand-in driver, which has no kernels of candle.
#[test]
fn training_steps_by_own_kernels_give_the_same_losses_and_gradients() {
    let Some(device) = device() else { return };
    let mut wrong = Wrong::default();
    let mut programs = 0;
    for case in networks().into_iter().chain(wide()) {
        wrong.case(&case.name, |wrong| {
            let image = case.config.image();
            let (h, w) = size(&case.config, (7, 8));
            let images = values(&[2, image.channels, h, w], image.levels).unwrap();
            let shape = case.config.conditioning().map(Conditioning::shape);
            let both = [&device, &Device::Cpu].map(|device| network(&case, device));
            let given = (&images, shape.unwrap_or_default());
            programs += compare(wrong, &case.name, both.each_ref(), given);
        });
    }
    println!("{programs} programs");
    assert!(device.is_cpu() || device.is_metal() || programs > 0);
}

/// Two blocks whose stacks all have the same conditioning term.
fn with_one_term(condition: ConditionShape, weights: &VarBuilder) -> Result<Network> {
    let (image, maps) = (ColourGroups::new(1, 1)?, ColourGroups::new(1, 4)?);
    let mut config = GatedBlockConfig {
        mask: Mask::A,
        vertical_after: true,
        inputs: image,
        outputs: maps,
        kernel: 3,
        dilation: 1,
        activation: Activation::Gate,
        vertical_residual: false,
        condition,
    };
    let term = ConditionTerm::new(condition, 8, weights.pp("term"))?;
    let terms = || [term.clone(), term.clone()];
    let mut graph = Graph::new(image);
    let first = GatedBlock::with_terms(&config, terms(), weights.pp("first"))?;
    let stacks = graph.gated_block(first, [graph.image(); 2]);
    (config.mask, config.inputs, config.vertical_after) = (Mask::B, maps, false);
    let second = GatedBlock::with_terms(&config, terms(), weights.pp("second"))?;
    let [_, horizontal] = graph.gated_block(second, stacks);
    let logits = Convolution::masked(Mask::B, maps, maps, 1, weights.pp("logits"))?;
    let logits = graph.convolution(logits, horizontal);
    let image = ImageShape {
        channels: 1,
        height: 7,
        width: 8,
        levels: 4,
    };
    let graph = graph.with_head(horizontal, logits);
    Network::new(graph, image, Distribution::default())
}

#[test]
fn a_shared_term_by_own_kernels_gets_the_sum_of_its_gradients() {
    let Some(device) = device() else { return };
    let mut wrong = Wrong::default();
    for shape in [
        ConditionShape::Vector { length: 5 },
        ConditionShape::Map { maps: 3 },
    ] {
        let drawn = VarMap::new();
        let weights = VarBuilder::from_varmap(&drawn, DType::F32, &Device::Cpu);
        with_one_term(shape, &weights).unwrap();
        let names = drawn.data().lock().unwrap();
        let both = [&device, &Device::Cpu].map(|device| {
            let variables = names.iter().map(|(name, drawn)| {
                let phase = name.len() as f64;
                let wave = wave(drawn.dims(), phase).unwrap().to_dtype(DType::F32);
                let wave = wave.unwrap().to_device(device).unwrap();
                (name.clone(), Var::from_tensor(&wave).unwrap())
            });
            let variables: Variables = variables.collect();
            let tensors = variables.iter();
            let tensors = tensors.map(|(name, it)| (name.clone(), it.as_tensor().clone()));
            let weights = VarBuilder::from_tensors(tensors.collect(), DType::F32, device);
            (with_one_term(shape, &weights).unwrap(), variables)
        });
        let images = values(&[2, 1, 7, 8], 4).unwrap();
        let name = format!("one term, {shape:?}");
        let programs = compare(&mut wrong, &name, both.each_ref(), (&images, shape));
        assert!(programs > 0 || !device.is_cuda());
    }
}
