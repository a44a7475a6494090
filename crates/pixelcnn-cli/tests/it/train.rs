//! `pixelcnn train`.

use serde_json::Value;

use crate::place::{Place, baseline, smoke};

const TRAIN: &str = "train --config tiny.toml --out run --json";

fn fields(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_result_is_one_line_of_json_and_the_second_call_answers_at_once() {
    let place = Place::new();
    let summary = place.json(TRAIN);
    let mut found = fields(&summary);
    found.sort_unstable();
    let expected = [
        "images_seen",
        "model",
        "parameters",
        "seconds",
        "steps",
        "unit",
        "valid_score",
    ];
    assert_eq!(found, expected);
    assert_eq!(summary["steps"], 4);
    assert_eq!(summary["unit"], "bits/dim");
    assert_eq!(summary["images_seen"], 8);
    assert_eq!(summary["model"], "run/best");
    let bits = summary["valid_score"].as_f64().unwrap();
    assert!((6.0..9.0).contains(&bits), "{bits}");

    let metrics = place.bytes("run/metrics.jsonl");
    // The seconds too: nothing was run again.
    assert_eq!(place.json(TRAIN), summary);
    assert_eq!(place.bytes("run/metrics.jsonl"), metrics);
}

#[test]
fn without_json_the_result_is_a_sentence() {
    let place = Place::new();
    let line = place.line("train --config tiny.toml --out run");
    assert!(line.starts_with("run/best: "), "{line}");
    assert!(line.contains("bits/dim on the validation images"), "{line}");
}

#[test]
fn flags_replace_settings_and_run_toml_holds_the_outcome() {
    let place = Place::new();
    place.json(&format!("{TRAIN} --steps 1 --batch 3 --seed 7"));
    let held = String::from_utf8(place.bytes("run/run.toml")).unwrap();
    for line in ["seed = 7", "steps = 1", "batch = 3", "warmup = 1"] {
        assert!(
            held.lines().any(|found| found == line),
            "{line} is not in: {held}"
        );
    }
    place.fails(
        &format!("{TRAIN} --steps 1 --batch 3"),
        &["run/run.toml", "`seed = 7`", "`seed = 1`"],
    );
}

#[test]
fn a_smoke_run_on_the_photographs() {
    let place = Place::new();
    let config = smoke("gated-pixelcnn");
    let summary = place.json(&format!(
        "train --config {config} --out run --steps 1 --json"
    ));
    let bits = summary["valid_score"].as_f64().unwrap();
    assert!((7.5..9.0).contains(&bits), "{bits}");
}

#[test]
fn the_baselines_need_no_steps() {
    let place = Place::new();
    place.write("gaussian.toml", &baseline("gaussian"));
    let gaussian = place.json("train --config gaussian.toml --out gaussian --json");
    assert_eq!(
        (&gaussian["steps"], &gaussian["images_seen"]),
        (&0.into(), &40.into())
    );
    let bits = gaussian["valid_score"].as_f64().unwrap();
    assert!((1.0..6.0).contains(&bits), "{bits}");
    let scored = place.json(&format!(
        "eval --model gaussian --data {} --split valid --json",
        crate::place::DATA
    ));
    assert_eq!(scored["bits_per_dim"], gaussian["valid_score"]);
}
