//! The baselines of table 1, from a configuration to a loaded model.

use candle_core::Device;
use pixelcnn_data::Split;
use pixelcnn_models::{Condition, Model};
use pixelcnn_train::{ConditionedDataset, RunConfig, evaluate};

use crate::tiny::{dataset, finish, run};

fn config(kind: &str) -> RunConfig {
    let text = format!(
        "seed = 1\n\
         data = \"tiny\"\n\
         [model]\n\
         kind = \"{kind}\"\n\
         image = {{ channels = 3, height = 6, width = 6, levels = 256 }}\n"
    );
    RunConfig::parse(&text).unwrap()
}

#[test]
fn a_fitted_gaussian_is_the_same_after_saving_and_loading() {
    let folder = tempfile::tempdir().unwrap();
    let config = config("gaussian");
    let summary = finish(&config, folder.path());
    let loaded = Model::load(&summary.model, &Device::Cpu).unwrap();

    let data = dataset();
    let whole = |images: &pixelcnn_data::Images| images.tensor(0..images.len(), &Device::Cpu);
    let (fitting, valid) = (
        whole(data.images(Split::Train).unwrap()).unwrap(),
        whole(data.images(Split::Valid).unwrap()).unwrap(),
    );
    let fitted = Model::fit_gaussian(&config.model, &fitting, &valid).unwrap();
    let nats = |model: &Model| {
        let nats = model.density().unwrap().nats(
            &whole(data.images(Split::Test).unwrap()).unwrap(),
            &Condition::None,
        );
        nats.unwrap().to_vec2::<f64>().unwrap()
    };
    assert_eq!(nats(&loaded), nats(&fitted));

    let score = evaluate(
        loaded.density().unwrap(),
        &ConditionedDataset::new(loaded.config(), data.images(Split::Valid).unwrap(), None)
            .unwrap(),
        256,
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(score.bits_per_dim(), summary.valid_score);
    assert!((1.0..6.0).contains(&summary.valid_score), "{summary:?}");
    assert_eq!((summary.steps, summary.images_seen), (0, 24));
    assert_eq!(summary.parameters, 108 + 108 * 109 / 2);
    assert_eq!(finish(&config, folder.path()), summary);
}

#[test]
fn the_uniform_distribution_takes_eight_bits() {
    let folder = tempfile::tempdir().unwrap();
    let config = config("uniform");
    let summary = finish(&config, folder.path());
    assert!((summary.valid_score - 8.0).abs() < 1e-12, "{summary:?}");
    assert_eq!((summary.parameters, summary.images_seen), (0, 0));
    let loaded = Model::load(&summary.model, &Device::Cpu).unwrap();
    let data = dataset();
    let valid = data.images(Split::Valid).unwrap();
    let score = evaluate(
        loaded.density().unwrap(),
        &ConditionedDataset::new(loaded.config(), valid, None).unwrap(),
        4,
        &mut |_| (),
    )
    .unwrap();
    assert!((score.bits_per_dim() - 8.0).abs() < 1e-12);
    assert_eq!(finish(&config, folder.path()), summary);
}

#[test]
fn a_gaussian_in_the_folder_of_the_uniform_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config("uniform"), folder.path());
    let error = run(&config("gaussian"), folder.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`kind = \"uniform\"`"), "{error}");
    assert!(error.contains("`kind = \"gaussian\"`"), "{error}");
}
