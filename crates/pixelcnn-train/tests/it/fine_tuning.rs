//! Runs that start from the weights of a model.

use candle_core::Device;
use pixelcnn_models::{CaptionTokenizer, Model, read_tensors};
use pixelcnn_train::RunConfig;

use crate::synthetic::{self, Laboratory, NOISE, conditional};
use crate::tiny::{
    ADAM, assert_same, bits, config, config_with, finish, run, run_until, state_path,
};

fn from(folder: &std::path::Path, changes: &[(&str, &str)]) -> RunConfig {
    let mut config = config_with(changes);
    config.init_from = Some(folder.display().to_string());
    config
}

#[test]
fn a_run_starts_from_the_best_weights_of_another_with_a_new_optimiser() {
    let [first, second, stopped] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let before = finish(&config(ADAM), first.path());
    // The average follows the weights, and these do not move.
    let still = from(
        first.path(),
        &[("learning_rate", "1e-30"), ("ema_decay", "0.0")],
    );
    let summary = finish(&still, second.path());
    assert!((summary.valid_score - before.valid_score).abs() < 1e-6);
    let weights = |folder: &std::path::Path| {
        bits(
            &read_tensors(folder.join("best/model.safetensors"), &Device::Cpu)
                .unwrap()
                .0,
        )
    };
    assert!(weights(first.path()) == weights(second.path()));
    let (state, _) = read_tensors(state_path(second.path()), &Device::Cpu).unwrap();
    assert!(state.keys().any(|name| name.starts_with("optimiser.")));

    let tuned = tempfile::tempdir().unwrap();
    let config = from(&first.path().join("best"), &[]);
    let after = finish(&config, tuned.path());
    assert!(after.valid_score < before.valid_score);
    // A started run needs the folder no more.
    let (kept, gone) = (config.clone(), first.path().join("best"));
    run_until(&kept, stopped.path(), 5).unwrap();
    std::fs::rename(&gone, first.path().join("elsewhere")).unwrap();
    finish(&kept, stopped.path());
    assert_same(tuned.path(), stopped.path(), "stopped");
}

/// A tokenizer learnt from the new captions would give other numbers to the tokens.
#[test]
fn a_model_that_reads_captions_keeps_its_tokenizer() {
    let case = conditional().into_iter().find(|it| it.name == "caption");
    let case = case.unwrap();
    let laboratory = Laboratory::new(case.squares, NOISE);
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut config = laboratory.config(&case, 2);
    synthetic::finish(&config, &laboratory.dataset, first.path());
    let kept = first.path().join("best/tokenizer.json");
    let learnt = std::fs::read(&kept).unwrap();
    let other = CaptionTokenizer::train(&["zz yy zz".to_string()], 8).unwrap();
    other.save(&kept).unwrap();
    config.init_from = Some(first.path().display().to_string());
    synthetic::finish(&config, &laboratory.dataset, second.path());
    let found = std::fs::read(second.path().join("tokenizer.json")).unwrap();
    assert!(found == std::fs::read(&kept).unwrap() && found != learnt);
    config.tokenizer = Some("tokenizer.json".to_string());
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("leave out tokenizer"), "{error}");
}

#[test]
fn another_model_or_none_is_refused() {
    let [folder, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let error = run(&from(&folder.path().join("none"), &[]), out.path()).unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");
    let error = run(&from(folder.path(), &[]), out.path()).unwrap_err();
    assert!(error.to_string().contains("neither a model"), "{error}");
    let mut other = config(ADAM).model;
    let text = serde_json::to_string(&other).unwrap();
    other = serde_json::from_str(&text.replace("\"blocks\":1", "\"blocks\":2")).unwrap();
    let (model, _) = Model::initialise(&other, 1, &Device::Cpu).unwrap();
    model.save(folder.path()).unwrap();
    let error = run(&from(folder.path(), &[]), out.path()).unwrap_err();
    let error = error.to_string();
    for part in ["init_from", "\"blocks\":1", "\"blocks\":2"] {
        assert!(error.contains(part), "{error}");
    }
}
