//! Extensions of finished runs.

use pixelcnn_train::{Outcome, RunConfig};

use crate::tiny::{ADAM, assert_same, bits, config_with, finish, records, run, run_until, state};

fn constant(steps: &str) -> RunConfig {
    config_with(&[("steps", steps), ("schedule", "{ warmup = 2 }")])
}

#[test]
fn at_a_constant_rate_an_extended_run_equals_a_longer_one() {
    let (long, extended) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&constant("12"), long.path());
    let short = constant("8");
    finish(&short, extended.path());
    let longer = short.extended_to(12).unwrap();
    assert_eq!(finish(&longer, extended.path()).steps, 12);
    // The interval between validations divides 8 steps.
    assert_same(long.path(), extended.path(), "extended");
    let held = RunConfig::read(&extended.path().join("run.toml")).unwrap();
    assert_eq!(held, longer);
    assert!(matches!(
        run(&longer, extended.path()),
        Ok(Outcome::FinishedBefore(_))
    ));
}

#[test]
fn an_extended_run_has_a_validation_at_its_earlier_end() {
    let (long, extended) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&constant("12"), long.path());
    finish(&constant("6"), extended.path());
    finish(&constant("6").extended_to(12).unwrap(), extended.path());
    assert!(state(long.path()).0 == state(extended.path()).0);
    let due = |out| -> Vec<_> {
        let validated = records(out)
            .into_iter()
            .filter(|record| record.valid_score.is_some());
        validated.map(|record| record.step).collect()
    };
    assert_eq!(due(long.path()), [4, 8, 12]);
    assert_eq!(due(extended.path()), [4, 6, 8, 12]);
}

/// A new run with the run.toml of an extended one gives the same result, also with a cosine
/// schedule.
#[test]
fn the_settings_of_an_extended_run_reproduce_it() {
    let (extended, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let short = config_with(&[("optimiser", ADAM)]);
    finish(&short, extended.path());
    let longer = short.extended_to(15).unwrap();
    let stopped = run_until(&longer, extended.path(), 13).unwrap();
    assert_eq!(stopped, Outcome::Stopped { step: 13 });
    finish(&longer, extended.path());
    let longest = longer.extended_to(17).unwrap();
    finish(&longest, extended.path());
    let held = RunConfig::read(&extended.path().join("run.toml")).unwrap();
    assert_eq!(held.training.as_ref().unwrap().extended, [11, 15]);
    finish(&held, again.path());
    assert_same(extended.path(), again.path(), "again");
    assert!(bits(&Default::default()).is_empty());
}

/// A kill between the writes of the two files that an extension changes.
#[test]
fn an_extension_that_was_killed_goes_on() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let longer = constant("8").extended_to(12).unwrap();
    for folder in [&whole, &killed] {
        finish(&constant("8"), folder.path());
    }
    std::fs::write(killed.path().join("run.toml"), longer.to_toml().unwrap()).unwrap();
    for folder in [&whole, &killed] {
        assert_eq!(finish(&longer, folder.path()).steps, 12);
    }
    assert_same(whole.path(), killed.path(), "killed");
}

#[test]
fn only_a_finished_run_is_extended() {
    let folder = tempfile::tempdir().unwrap();
    let short = constant("8");
    run_until(&short, folder.path(), 5).unwrap();
    let error = run(&short.extended_to(12).unwrap(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("not finished"), "{error}");
    finish(&short, folder.path());
    let error = run(&constant("12"), folder.path()).unwrap_err().to_string();
    for part in ["has 8 steps, not 12", "--extend STEPS"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn without_its_state_a_finished_run_cannot_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let short = constant("8");
    finish(&short, folder.path());
    std::fs::remove_file(folder.path().join("last/training.safetensors")).unwrap();
    let error = run(&short.extended_to(12).unwrap(), folder.path()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("training.safetensors: the file is missing"),
        "{error}"
    );
}
