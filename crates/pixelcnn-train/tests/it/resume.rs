//! A run that was stopped or killed has the same result as an undisturbed one.

use std::path::Path;

use candle_core::Device;
use pixelcnn_models::{CaptionTokenizer, Model, read_tensors};
use pixelcnn_train::{Outcome, RunConfig, Summary, train};

use crate::synthetic::{self, Laboratory, NOISE, Squares, conditional, others};
use crate::tiny::{
    ADAM, assert_same, bits, config, dataset, files, finish, run_until, state, state_path,
};

const MUON: &str = r#"{ kind = "muon", weight_decay = 0.01 }"#;
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

#[test]
fn a_stopped_run_of_muon_goes_on_to_the_same_bits() {
    for stops in [[1].as_slice(), &[5], &[10]] {
        assert_resumes(MUON, stops);
    }
}

/// Conditions, drawn codes and other losses depend only on the step.
#[test]
fn a_stopped_run_of_any_model_goes_on_to_the_same_bits() {
    for case in conditional().into_iter().chain(others()) {
        let laboratory = Laboratory::new(case.squares, NOISE);
        let config = laboratory.config(&case, 7);
        let (never, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        synthetic::finish(&config, &laboratory.dataset, never.path());
        for step in [2, 5] {
            let outcome =
                synthetic::run_until(&config, &laboratory.dataset, stopped.path(), step).unwrap();
            assert_eq!(outcome, Outcome::Stopped { step }, "{}", case.name);
        }
        synthetic::finish(&config, &laboratory.dataset, stopped.path());
        assert_same(never.path(), stopped.path(), case.name);
    }
}

/// The embedding network is only needed at the start of a run, and never changes.
#[test]
fn an_embedding_network_stays_as_it_was() {
    let case = conditional().pop().unwrap();
    assert_eq!(case.name, "embedding");
    let laboratory = Laboratory::new(Squares::Alike, NOISE);
    let config = laboratory.config(&case, 7);
    let (folder, encoder) = (tempfile::tempdir().unwrap(), laboratory.path("encoder"));
    let tensors = |folder: &Path| {
        let path = folder.join("model.safetensors");
        read_tensors(path, &Device::Cpu).unwrap().0
    };
    let expected = bits(&tensors(&encoder.join("best")));
    synthetic::run_until(&config, &laboratory.dataset, folder.path(), 3).unwrap();
    std::fs::remove_dir_all(&encoder).unwrap();
    synthetic::finish(&config, &laboratory.dataset, folder.path());
    let drawn = Model::initialise(&config.model, config.seed, &Device::Cpu).unwrap();
    for part in ["best", "last"] {
        let mut found = tensors(&folder.path().join(part));
        assert!(
            bits(&found) != bits(drawn.0.tensors()),
            "nothing was learnt"
        );
        let inner = |name: &str| name.strip_prefix("condition.embedding.").map(String::from);
        let frozen = std::mem::take(&mut found)
            .into_iter()
            .filter_map(|(name, tensor)| Some((inner(&name)?, tensor)));
        assert!(bits(&frozen.collect()) == expected, "{part}");
    }
}

#[test]
fn a_model_of_captions_comes_with_its_tokenizer() {
    let mut cases = conditional().into_iter();
    let case = cases.find(|case| case.name == "caption").unwrap();
    let laboratory = Laboratory::new(case.squares, NOISE);
    let folder = tempfile::tempdir().unwrap();
    synthetic::finish(
        &laboratory.config(&case, 7),
        &laboratory.dataset,
        folder.path(),
    );
    let written = std::fs::read(folder.path().join("tokenizer.json")).unwrap();
    for part in ["best", "last"] {
        let path = folder.path().join(part);
        let tokenizer = path.join("tokenizer.json");
        assert!(std::fs::read(&tokenizer).unwrap() == written, "{part}");
        assert!(CaptionTokenizer::load(&tokenizer).unwrap().vocabulary() > 2);
        let model = Model::load(&path, &Device::Cpu).unwrap();
        assert!(
            model
                .density()
                .unwrap()
                .condition_encoder()
                .tokenizer()
                .is_some()
        );
    }
}

/// The folder of a run that was killed at step 10, after its validation at step 4, while it
/// wrote a line of the log.
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
    assert_eq!(again.unwrap(), Outcome::FinishedBefore(summary.clone()));
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

/// Stops at report number `stop_at`, of any kind.
fn stop_at_report(config: &RunConfig, out: &Path, stop_at: usize) -> Outcome {
    let stop = std::sync::atomic::AtomicBool::new(stop_at == 0);
    let mut heard = 0;
    let mut report = |_| {
        heard += 1;
        if heard == stop_at {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    train(config, &dataset(), out, &Device::Cpu, &stop, &mut report).unwrap()
}

/// Before the first step, after any step, during a validation and after it.
#[test]
fn a_run_may_be_stopped_at_any_moment() {
    let never = tempfile::tempdir().unwrap();
    let config = config(ADAM);
    finish(&config, never.path());
    // There are 11 steps, and three validations with two batches and an end each.
    for stop_at in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let outcome = stop_at_report(&config, folder.path(), stop_at);
        let Outcome::Stopped { step } = outcome else {
            assert!(stop_at >= 19, "{stop_at}: {outcome:?}");
            continue;
        };
        assert_eq!(state_path(folder.path()).exists(), step > 0, "{stop_at}");
        // Stops again at once, before and during the missing validation.
        stop_at_report(&config, folder.path(), 0);
        stop_at_report(&config, folder.path(), 1);
        finish(&config, folder.path());
        assert_same(
            never.path(),
            folder.path(),
            &format!("stopped at {stop_at}"),
        );
    }
}
