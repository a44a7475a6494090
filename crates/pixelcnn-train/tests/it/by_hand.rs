//! The training loop gives the same bits as its parts, called step by step.

use std::collections::BTreeMap;

use candle_core::Device;
use pixelcnn_data::{BatchConfig, Batches, Split};
use pixelcnn_models::{Condition, Model, cross_entropy, read_tensors};
use pixelcnn_train::average::Average;
use pixelcnn_train::clip::{clip_factor, global_norm};
use pixelcnn_train::optimiser::Optimiser;
use pixelcnn_train::{RunConfig, collect_gradients};
use tempfile::tempdir;

use crate::tiny::{bits, config_with, dataset, finish, state_path};

/// The averaged weights and the weights after all steps.
fn by_hand(config: &RunConfig) -> [BTreeMap<String, candle_core::Tensor>; 2] {
    let training = config.training.as_ref().unwrap();
    let (dataset, device) = (dataset(), Device::Cpu);
    let (model, variables) = Model::initialise(&config.model, config.seed, &device).unwrap();
    let mut optimiser = Optimiser::new(&training.optimiser, &variables).unwrap();
    let average = Average::new(training.ema_decay, &variables).unwrap();
    let batches = BatchConfig {
        batch: training.batch,
        images_per_class: 1,
        seed: config.seed,
        flips: training.flips,
    };
    let mut batches = Batches::new(dataset.images(Split::Train).unwrap(), batches).unwrap();
    for step in 0..training.steps {
        let values = batches.at(step, &device).unwrap().values;
        let logits = model
            .network()
            .unwrap()
            .outputs(&values, &Condition::None)
            .unwrap();
        let loss = cross_entropy(&logits, &values).unwrap().mean_all().unwrap();
        let gradients = collect_gradients(&loss.backward().unwrap(), &variables).unwrap();
        let norm = global_norm(&gradients).unwrap();
        let norm = norm.to_scalar::<f64>().unwrap();
        assert!(norm > training.max_grad_norm, "the test must clip: {norm}");
        let rate = training.learning_rate * training.schedule.factor(step, training.steps);
        let scale = clip_factor(norm, training.max_grad_norm);
        let average = Some(&average);
        optimiser
            .step(&variables, &gradients, rate, scale, average)
            .unwrap();
    }
    let weights = variables
        .iter()
        .map(|(name, variable)| (name.clone(), variable.as_detached_tensor()))
        .collect();
    [average.tensors().unwrap(), weights]
}

#[test]
fn a_run_is_the_sum_of_its_parts() {
    // RMSProp and a small clip, so that the scale of the gradients matters.
    let config = config_with(&[
        ("steps", "4"),
        ("max_grad_norm", "1e-3"),
        ("optimiser", r#"{ kind = "rms-prop", epsilon = 1e-2 }"#),
    ]);
    let folder = tempdir().unwrap();
    finish(&config, folder.path());
    let (state, _) = read_tensors(state_path(folder.path()), &Device::Cpu).unwrap();
    let [average, weights] = by_hand(&config);
    for (prefix, expected) in [("average.", average), ("weight.", weights)] {
        let found = state.iter().filter_map(|(name, tensor)| {
            let name = name.strip_prefix(prefix)?;
            Some((name.to_string(), tensor.clone()))
        });
        assert_eq!(bits(&found.collect()), bits(&expected), "{prefix}");
    }
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let config = config_with(&[("steps", "2")]);
    let folder = tempdir().unwrap();
    let lock = std::fs::File::create(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let error = crate::tiny::run(&config, folder.path()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    drop(lock);
    finish(&config, folder.path());
}
