//! A run that was stopped or killed ends as one that never was.

use std::path::Path;

use pixelcnn_train::{Outcome, RunConfig, Summary, train};

use crate::tiny::{
    ADAM, assert_same, config, dataset, files, finish, run_until, state, state_path,
};

const RMS_PROP: &str = r#"{ kind = "rms-prop", momentum = 0.5, weight_decay = 0.01 }"#;

fn assert_resumes(optimiser: &str, stops: &[usize]) {
    let (never, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config(optimiser);
    finish(&config, never.path());
    for &step in stops {
        let outcome = run_until(&config, stopped.path(), step).unwrap();
        assert_eq!(outcome, Outcome::Stopped { step });
        assert_eq!(state(stopped.path()).1["step"], step);
    }
    finish(&config, stopped.path());
    assert_same(
        never.path(),
        stopped.path(),
        &format!("stopped at {stops:?}"),
    );
}

#[test]
fn a_stopped_run_of_adam_goes_on_to_the_same_bits() {
    for stops in [[1].as_slice(), &[5], &[7], &[10], &[2, 5, 8]] {
        assert_resumes(ADAM, stops);
    }
}

#[test]
fn a_stopped_run_of_rms_prop_goes_on_to_the_same_bits() {
    for stops in [[1].as_slice(), &[5], &[7], &[10], &[2, 5, 8]] {
        assert_resumes(RMS_PROP, stops);
    }
}

/// A folder as a run killed after its validation at step 4 leaves it, when
/// it had come to step 10 and was writing a line.
fn killed(config: &RunConfig, out: &Path) {
    run_until(config, out, 4).unwrap();
    let state = std::fs::read(state_path(out)).unwrap();
    run_until(config, out, 10).unwrap();
    std::fs::write(state_path(out), state).unwrap();
    let log = out.join("metrics.jsonl");
    let mut lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines.contains("{\"step\":9,"), "{lines}");
    lines.push_str("{\"step\":12,\"ima");
    std::fs::write(&log, lines).unwrap();
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let (never, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config(ADAM);
    finish(&config, never.path());
    killed(&config, resumed.path());
    finish(&config, resumed.path());
    assert_same(never.path(), resumed.path(), "killed");
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_again() {
    let (never, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config(ADAM);
    finish(&config, never.path());
    killed(&config, resumed.path());
    std::fs::remove_file(state_path(resumed.path())).unwrap();
    finish(&config, resumed.path());
    assert_same(never.path(), resumed.path(), "killed early");
}

#[test]
fn a_finished_run_answers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(ADAM);
    let summary = finish(&config, folder.path());
    let before = files(folder.path(), &[]);
    let again = train(
        &config,
        &dataset(),
        folder.path(),
        &candle_core::Device::Cpu,
        &false.into(),
        &mut |progress| panic!("{progress:?}"),
    );
    assert_eq!(again.unwrap(), Outcome::Finished(summary.clone()));
    assert!(before == files(folder.path(), &[]), "a file changed");
    let written = std::fs::read_to_string(folder.path().join("summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&written).unwrap(), summary);
}

#[test]
fn a_finished_run_may_be_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let config = config(ADAM);
    let summary = finish(&config, &old);
    std::fs::rename(&old, &new).unwrap();
    let moved = finish(&config, &new);
    assert_eq!(moved.model, new.join("best"));
    assert_eq!(moved.valid_score, summary.valid_score);
}
