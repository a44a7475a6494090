//! Numbers that are not finite end a run and damage no files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use pixelcnn_models::{read_tensors, write_tensors};
use pixelcnn_train::{Outcome, Progress, RunConfig, TrainError, train};

use crate::tiny::{
    ADAM, assert_same, config, config_with, dataset, files, finish, run, run_until, state,
    state_path,
};

/// All files except the log, which changes between validations.
fn checkpoint(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(out, &["metrics.jsonl", "curve.svg"])
}

/// Trains up to the error. Returns the error, the step of the last validation and the files
/// after it.
fn fail(config: &RunConfig, out: &Path) -> (TrainError, usize, BTreeMap<PathBuf, Vec<u8>>) {
    let mut last = (0, BTreeMap::new());
    let mut report = |progress| {
        if let Progress::Validated { step, .. } = progress {
            last = (step, checkpoint(out));
        }
    };
    let never = AtomicBool::new(false);
    let outcome = train(config, &dataset(), out, &Device::Cpu, &never, &mut report);
    (outcome.unwrap_err(), last.0, last.1)
}

#[test]
fn an_absurd_rate_is_named_with_its_step() {
    let changes = [
        ("learning_rate", "1e30"),
        ("max_grad_norm", "1e30"),
        ("ema_decay", "0.0"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (error, validated, _) = fail(&config_with(&changes), folder.path());
    assert_eq!(validated, 0);
    let TrainError::NonFinite { step, what } = &error else {
        panic!("{error}")
    };
    assert!((1..4).contains(step), "{error}");
    assert!(
        error.to_string().contains(&format!("step {step}: {what}")),
        "{error}"
    );
    assert!(!folder.path().join("best").exists());
    assert!(!state_path(folder.path()).exists());
    assert!(!folder.path().join("summary.json").exists());
}

/// A decay that multiplies the weights by -999 at each step: validations
/// succeed until the numbers no longer fit.
fn growing() -> RunConfig {
    config_with(&[
        ("steps", "200"),
        ("learning_rate", "1e3"),
        ("optimiser", r#"{ kind = "adam", weight_decay = 1.0 }"#),
        ("schedule", "{ warmup = 0 }"),
        ("validate_every", "2"),
        ("log_every", "1"),
    ])
}

#[test]
fn a_failure_leaves_the_last_checkpoint_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (error, validated, before) = fail(&growing(), folder.path());
    let TrainError::NonFinite { step, .. } = error else {
        panic!("{error}")
    };
    assert!(validated >= 2, "no validation came before the failure");
    assert!(
        (validated..=validated + 2).contains(&step),
        "{step} after {validated}"
    );
    assert!(before == checkpoint(folder.path()), "a file changed");
    assert!(before.contains_key(&state_path(folder.path())));
}

#[test]
fn a_failed_run_fails_again_at_the_same_step() {
    let folder = tempfile::tempdir().unwrap();
    let (first, ..) = fail(&growing(), folder.path());
    let again = run(&growing(), folder.path()).unwrap_err();
    assert_eq!(first.to_string(), again.to_string());
}

/// Replaces a tensor of a run stopped at step 5 by NaN.
fn assert_noticed(tensor: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (config, path) = (config(ADAM), state_path(folder.path()));
    let stopped = run_until(&config, folder.path(), 5).unwrap();
    assert_eq!(stopped, Outcome::Stopped { step: 5 });
    let (mut tensors, note) = read_tensors(&path, &Device::Cpu).unwrap();
    let broken = tensors.get_mut(tensor).unwrap();
    *broken = (&*broken * f64::NAN).unwrap();
    write_tensors(&path, &tensors, &note.unwrap()).unwrap();
    let before = checkpoint(folder.path());
    let error = run(&config, folder.path()).unwrap_err();
    let message = format!(
        "{}: tensor {tensor}: a number is infinite or not a number",
        path.display()
    );
    assert!(error.to_string().contains(&message), "{error}");
    assert!(before == checkpoint(folder.path()), "a file changed");
}

#[test]
fn a_nan_weight_is_detected_before_any_write() {
    assert_noticed("weight.head.logits.bias");
}

#[test]
fn a_nan_average_is_detected_before_any_write() {
    assert_noticed("average.head.logits.bias");
}

/// The folder `best` cannot be created: the completed steps are saved, and the validation
/// runs again.
#[test]
fn a_file_that_cannot_be_written_is_named_and_the_steps_are_kept() {
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&config(ADAM), whole.path());
    run_until(&config(ADAM), folder.path(), 2).unwrap();
    let best = folder.path().join("best");
    std::fs::write(&best, "in the way").unwrap();
    let error = run(&config(ADAM), folder.path()).unwrap_err().to_string();
    assert!(error.contains(&best.display().to_string()), "{error}");
    let counters = state(folder.path()).1;
    assert_eq!(
        (&counters["step"], &counters["due"]),
        (&4.into(), &true.into())
    );
    std::fs::remove_file(&best).unwrap();
    finish(&config(ADAM), folder.path());
    assert_same(whole.path(), folder.path(), "resumed");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one() {
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&config(ADAM), whole.path());
    run_until(&config(ADAM), folder.path(), 5).unwrap();
    let (last, aside) = (folder.path().join("last"), folder.path().join("aside"));
    let out = folder.path();
    let mut report = |progress| {
        if matches!(progress, Progress::Step { step: 6, .. }) {
            std::fs::rename(&last, &aside).unwrap();
            std::fs::write(&last, "in the way").unwrap();
        }
    };
    let never = AtomicBool::new(false);
    let outcome = train(
        &config(ADAM),
        &dataset(),
        out,
        &Device::Cpu,
        &never,
        &mut report,
    );
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains(&last.display().to_string()), "{error}");
    std::fs::remove_file(&last).unwrap();
    std::fs::rename(&aside, &last).unwrap();
    assert_eq!(state(out).1["step"], 5);
    finish(&config(ADAM), out);
    assert_same(whole.path(), out, "resumed");
}
