//! Updates and a training run.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_models::Model;
use pixelcnn_testkit::wave;
use pixelcnn_train::average::Average;
use pixelcnn_train::clip::global_norm;
use pixelcnn_train::optimiser::{
    AdamConfig, MuonConfig, Optimiser, OptimiserConfig, RmsPropConfig,
};
use pixelcnn_train::{Outcome, RunConfig, Summary, train};

use crate::compare::{Wrong, both, device};

/// Weights, state and average after three clipped updates.
fn updated(config: &OptimiserConfig, device: &Device) -> BTreeMap<String, Tensor> {
    let new = |shape: &[usize], phase: f64| {
        let wave = wave(shape, phase).unwrap().to_dtype(DType::F32).unwrap();
        wave.to_device(device).unwrap()
    };
    // A scalar, a bias, and weights that do not fill a block of threads.
    let shapes: [&[usize]; 4] = [&[], &[5], &[40, 50], &[6, 4, 2, 3]];
    let tensors = |phase: f64| -> BTreeMap<String, Tensor> {
        let named = shapes.iter().enumerate();
        named
            .map(|(index, shape)| (format!("w{index}"), new(shape, phase)))
            .collect()
    };
    let variables: BTreeMap<String, Var> = tensors(0.1)
        .into_iter()
        .map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap()))
        .collect();
    let mut optimiser = Optimiser::new(config, &variables).unwrap();
    let average = Average::new(0.9, &variables).unwrap();
    for step in 0..3 {
        let gradients = tensors(0.2 + f64::from(step));
        let norm = global_norm(&gradients).unwrap();
        let average = Some(&average);
        optimiser
            .clipped_step(&variables, &gradients, 0.05, (&norm, 0.5), average)
            .unwrap();
    }
    let mut all = optimiser.state().unwrap();
    all.extend(
        variables
            .iter()
            .map(|(name, v)| (name.clone(), v.as_tensor().clone())),
    );
    let averages = average.tensors().unwrap().into_iter();
    all.extend(averages.map(|(name, tensor)| (format!("average.{name}"), tensor)));
    all
}

#[test]
fn updates_give_the_same_weights() {
    let Some(device) = device() else { return };
    let adam = AdamConfig {
        weight_decay: 0.1,
        ..AdamConfig::default()
    };
    let rules = [
        OptimiserConfig::Adam(adam),
        OptimiserConfig::RmsProp(RmsPropConfig {
            momentum: 0.9,
            ..RmsPropConfig::default()
        }),
        OptimiserConfig::RmsProp(RmsPropConfig::default()),
        OptimiserConfig::Muon(MuonConfig::default()),
    ];
    let mut wrong = Wrong::default();
    for rule in rules {
        let rule_name = format!("{rule:?}");
        wrong.case(&rule_name, |wrong| {
            let (there, here) = both(&device, |device| updated(&rule, device));
            for (name, there) in &there {
                wrong.compare(&format!("{rule_name}: {name}"), there, &here[name], 1e-4);
            }
        });
    }
}

/// On photographs of 16 x 16.
const RUN: &str = r#"
    seed = 1
    data = "photos32"
    shrink = 2
    [model]
    kind = "gated-pixelcnn"
    image = { channels = 3, height = 16, width = 16, levels = 256 }
    first_kernel = 5
    kernel = 3
    blocks = 2
    maps = 12
    head = 12
    [training]
    steps = 30
    batch = 8
    learning_rate = 0.004
    flips = "horizontal"
    optimiser = { kind = "adam" }
    max_grad_norm = 1.0
    ema_decay = 0.9
    validate_every = 15
    log_every = 10
"#;

#[test]
fn a_run_of_30_steps_ends_near_that_of_the_cpu() {
    compare_runs(RUN);
}

/// The conditions are constants, and the codes of an encoder that is trained with the network.
#[test]
fn runs_with_conditions_end_near_those_of_the_cpu() {
    for conditioning in [
        r#"{ kind = "class", classes = 10 }"#,
        r#"{ kind = "code", length = 6, encoder_maps = [8],
             bottleneck = { kind = "gaussian", weight = 1.0, free_bits = 0.0 } }"#,
        r#"{ kind = "code", length = 6, encoder_maps = [8], bottleneck = { kind = "plain" },
             spatial = { maps = 4, hidden = 4 } }"#,
    ] {
        let with = RUN.replace(
            "    [training]",
            &format!(
                "    conditioning = {}\n    [training]",
                conditioning.replace('\n', " ")
            ),
        );
        compare_runs(&with.replace("steps = 30", "steps = 10"));
    }
}

/// Trains on the device and on the CPU, and compares scores and weights.
fn compare_runs(run: &str) {
    let Some(device) = device() else { return };
    let run = |device: &Device| -> (Summary, Model) {
        let config = RunConfig::parse(run).unwrap();
        let dataset = config.dataset().unwrap();
        let (folder, never) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let outcome = train(
            &config,
            &dataset,
            folder.path(),
            device,
            &never,
            &mut |_| (),
        );
        let Outcome::Finished(summary) = outcome.unwrap() else {
            panic!("nobody stopped it");
        };
        let model = Model::load(&summary.model, &Device::Cpu).unwrap();
        (summary, model)
    };
    let ((there, model), (here, expected)) = both(&device, run);
    let (there, here) = (there.valid_score, here.valid_score);
    assert!((there - here).abs() < 5e-3, "{there} {here}");
    let mut wrong = Wrong::default();
    // Adam divides by small numbers: single weights differ more than the score.
    for (name, tensor) in model.tensors() {
        wrong.compare(name, tensor, &expected.tensors()[name], 0.1);
    }
}
