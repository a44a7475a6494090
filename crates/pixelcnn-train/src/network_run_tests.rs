//! A run that reads losses back rarely, as on a device.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use pixelcnn_data::{Dataset, Images};

use super::{NetworkRun, state_path};
use crate::inputs::RunInputs;
use crate::metrics::{Record, read};
use crate::{Outcome, Progress, RunConfig, TrainError};

fn config(rate: &str, steps: usize) -> RunConfig {
    let text = format!(
        r#"
        seed = 1
        data = "made up"
        [model]
        kind = "gated-pixelcnn"
        image = {{ channels = 1, height = 4, width = 4, levels = 256 }}
        first_kernel = 3
        kernel = 3
        blocks = 1
        maps = 4
        head = 4
        [training]
        steps = {steps}
        batch = 2
        learning_rate = {rate}
        flips = "none"
        optimiser = {{ kind = "adam" }}
        max_grad_norm = 0.5
        ema_decay = 0.5
        validate_every = 6
        log_every = 3
        "#
    );
    RunConfig::parse(&text).unwrap()
}

fn dataset() -> Dataset {
    let values = (0..64).map(|value| (value * 37 % 251) as u8).collect();
    let images = Images::new((1, 4, 4), values, vec![0; 4]).unwrap();
    Dataset::new(
        "made up",
        Vec::new(),
        [images.clone(), images.clone(), images],
    )
}

/// The losses that each step reports, and how the run ends.
fn run(config: &RunConfig, out: &Path, waits: bool) -> (Vec<Option<f64>>, crate::Result<Outcome>) {
    let (dataset, device) = (dataset(), Device::Cpu);
    let inputs = RunInputs::new(config, &dataset, out, &device).unwrap();
    let training = config.training.as_ref().unwrap();
    let place = (out, "mark");
    let run = NetworkRun::open(config, training, &dataset, &inputs, place, &device);
    let mut run = run.unwrap();
    run.waits = waits;
    let mut losses = Vec::new();
    let outcome = run.train(&AtomicBool::new(false), &mut |progress| {
        if let Progress::Step { loss, .. } = progress {
            losses.push(loss);
        }
    });
    (losses, outcome)
}

#[test]
fn losses_are_read_before_each_line_of_the_log_and_are_the_same() {
    let config = config("0.01", 12);
    let [own, device] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (every, outcome) = run(&config, own.path(), true);
    assert!(matches!(outcome, Ok(Outcome::Finished(_))));
    assert!(every.iter().all(Option::is_some));
    let (some, outcome) = run(&config, device.path(), false);
    assert!(matches!(outcome, Ok(Outcome::Finished(_))));
    assert_eq!(some[..2], [None, None]);
    for (step, loss) in some.iter().enumerate().skip(2) {
        // The loss is that of the last step that was read, up to rounding in the clipping.
        let (found, read) = (loss.unwrap(), (step - 2) / 3 * 3 + 2);
        let expected = every[read].unwrap();
        assert!(
            (found - expected).abs() < 1e-4,
            "{step}: {found} {expected}"
        );
    }
    let records = |out: &Path| read(&out.join("metrics.jsonl")).unwrap();
    let (own, device) = (records(own.path()), records(device.path()));
    assert_eq!(own.len(), device.len());
    let numbers = |record: &Record| {
        let Record {
            train_score,
            valid_score,
            gradient_norm,
            ..
        } = *record;
        [train_score, valid_score, gradient_norm].map(Option::unwrap_or_default)
    };
    for (own, device) in own.iter().zip(&device) {
        assert_eq!(own.step, device.step);
        for (a, b) in numbers(own).into_iter().zip(numbers(device)) {
            assert!((a - b).abs() < 1e-3, "{own:?} {device:?}");
        }
    }
}

/// With so large an epsilon, Adam's steps are proportional to the gradient, so that clipping by the
/// norm of another step would show.
#[test]
fn clipping_uses_the_norm_of_its_own_step() {
    let mut config = config("100", 12);
    let training = config.training.as_mut().unwrap();
    training.max_grad_norm = 1e-3;
    training.optimiser = toml::from_str("kind = \"adam\"\nepsilon = 1.0").expect("an optimiser");
    let [own, device] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (every, _) = run(&config, own.path(), true);
    let (some, _) = run(&config, device.path(), false);
    let losses = [every, some].map(|losses| losses[11].unwrap());
    assert!((losses[0] - losses[1]).abs() < 1e-6, "{losses:?}");
}

#[test]
fn an_overflow_ends_the_run_before_the_next_line_and_keeps_the_checkpoint() {
    let out = tempfile::tempdir().unwrap();
    let (_, outcome) = run(&config("0.01", 6), out.path(), false);
    assert!(matches!(outcome, Ok(Outcome::Finished(_))));
    let path = state_path(out.path());
    let before = std::fs::read(&path).unwrap();
    let (losses, outcome) = run(&config("1e38", 60), out.path(), false);
    let Err(TrainError::NonFinite { step, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    let made = 6 + losses.len();
    assert!(step < made + 1 && made - step <= 3, "{step} of {made}");
    assert!(std::fs::read(&path).unwrap() == before);
}
