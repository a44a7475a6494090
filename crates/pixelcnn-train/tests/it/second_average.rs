//! Two averages of the weights, of which a validation chooses the better one.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use pixelcnn_models::read_tensors;

use crate::tiny::{ADAM, assert_same, bits, config_with, finish, run_until, state_path};

#[test]
fn the_better_average_is_the_model_and_neither_changes_the_run() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let decays = [("0.0", None), ("0.99", None), ("0.0", Some("0.99"))];
    let summaries = [0, 1, 2].map(|index| {
        let (first, second) = decays[index];
        let mut changes = vec![("optimiser", ADAM), ("ema_decay", first)];
        changes.extend(second.map(|second| ("second_ema_decay", second)));
        finish(&config_with(&changes), folders[index].path())
    });
    let [first, second, both] = summaries.map(|summary| summary.valid_score);
    assert_ne!(first, second);
    assert_eq!(both, first.min(second));
    let better = match first < second {
        true => &folders[0],
        false => &folders[1],
    };
    let best = |folder: &tempfile::TempDir| {
        let path = folder.path().join("best/model.safetensors");
        bits(&read_tensors(&path, &Device::Cpu).unwrap().0)
    };
    assert!(best(better) == best(&folders[2]));
    // The averages in the state are those of the runs with one of them.
    let averages = |index: usize, prefix: &str| -> BTreeMap<String, Tensor> {
        let (tensors, _) = read_tensors(state_path(folders[index].path()), &Device::Cpu).unwrap();
        let named = tensors
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor)));
        named.collect()
    };
    let (found, expected) = (averages(2, "second_average."), averages(1, "average."));
    assert_eq!(found.len(), expected.len());
    for (name, (_, expected)) in bits(&expected) {
        for (found, expected) in bits(&found)[&name].1.iter().zip(expected) {
            let (found, expected) = (f64::from_bits(*found), f64::from_bits(expected));
            // One pass is the kernel's, the other candle's.
            assert!(
                (found - expected).abs() < 1e-6,
                "{name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let (never, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config_with(&[("second_ema_decay", "0.5")]);
    finish(&config, never.path());
    for step in [3, 7] {
        run_until(&config, stopped.path(), step).unwrap();
    }
    finish(&config, stopped.path());
    assert_same(never.path(), stopped.path(), "stopped");
}
