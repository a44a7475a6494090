//! A run whose score does not improve any more ends early.

use pixelcnn_train::Outcome;

use crate::tiny::{assert_same, config_with, finish, records, run, run_until};

/// So large a learning rate that the scores after the first validations only rise.
const CHANGES: [(&str, &str); 5] = [
    ("learning_rate", "0.5"),
    ("steps", "40"),
    ("validate_every", "2"),
    ("ema_decay", "0.0"),
    ("patience", "3"),
];

#[test]
fn it_ends_after_so_many_validations_without_a_lower_score() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_with(&CHANGES);
    let summary = finish(&config, folder.path());
    let scores: Vec<_> = records(folder.path())
        .into_iter()
        .filter_map(|record| record.valid_score)
        .collect();
    let best = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let index = scores.iter().position(|score| *score == best).unwrap();
    assert!(summary.stopped_early && summary.steps < 40, "{scores:?}");
    assert_eq!(scores.len(), index + 1 + 3, "{scores:?}");
    assert_eq!(summary.steps, 2 * scores.len());
    assert_eq!(summary.images_seen, 4 * summary.steps);
    assert_eq!(summary.valid_score, best);
    assert!(matches!(
        run(&config, folder.path()),
        Ok(Outcome::FinishedBefore(again)) if again == summary
    ));
    let error = run(&config.extended_to(50).unwrap(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("cannot be extended"), "{error}");
}

#[test]
fn a_stopped_run_counts_on() {
    let (never, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config_with(&CHANGES);
    let summary = finish(&config, never.path());
    for step in [1, 3, summary.steps - 1] {
        run_until(&config, stopped.path(), step).unwrap();
    }
    assert_eq!(finish(&config, stopped.path()).steps, summary.steps);
    assert_same(never.path(), stopped.path(), "stopped");
}

/// The last validation may be the one that ends the patience.
#[test]
fn a_run_whose_patience_ends_at_its_last_step_has_ended_early() {
    let longer = tempfile::tempdir().unwrap();
    let steps = finish(&config_with(&CHANGES), longer.path()).steps;
    let steps = steps.to_string();
    let folder = tempfile::tempdir().unwrap();
    let changes = CHANGES.map(|(name, value)| match name {
        "steps" => (name, &steps[..]),
        _ => (name, value),
    });
    let config = config_with(&changes);
    let summary = finish(&config, folder.path());
    assert!(summary.stopped_early && summary.steps.to_string() == steps);
    let error = run(&config.extended_to(50).unwrap(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("cannot be extended"), "{error}");
    // Nothing was written.
    assert!(matches!(
        run(&config, folder.path()),
        Ok(Outcome::FinishedBefore(again)) if again == summary
    ));
}
