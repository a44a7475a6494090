//! `pixelcnn train`.

use serde_json::Value;

use crate::test_folder::{DATA, TestFolder, baseline, smoke};

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
    let place = TestFolder::new();
    let summary = place.json(TRAIN);
    let mut found = fields(&summary);
    found.sort_unstable();
    let expected = [
        "images_seen",
        "model",
        "parameters",
        "peak_memory",
        "run",
        "seconds",
        "steps",
        "stopped_early",
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
    // Even the seconds are equal, because no step ran again.
    assert_eq!(place.json(TRAIN), summary);
    assert_eq!(place.bytes("run/metrics.jsonl"), metrics);
}

#[test]
fn without_json_the_result_is_a_sentence() {
    let place = TestFolder::new();
    let line = place.line("train --config tiny.toml --out run");
    assert!(line.starts_with("run/best: "), "{line}");
    assert!(line.contains("bits/dim on the validation images"), "{line}");
}

#[test]
fn flags_replace_settings_and_run_toml_holds_the_outcome() {
    let place = TestFolder::new();
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
    let place = TestFolder::new();
    let config = smoke("gated-pixelcnn");
    let summary = place.json(&format!(
        "train --config {config} --out run --steps 1 --json"
    ));
    let bits = summary["valid_score"].as_f64().unwrap();
    assert!((7.5..9.0).contains(&bits), "{bits}");
}

#[test]
fn the_baselines_need_no_steps() {
    let place = TestFolder::new();
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
        crate::test_folder::DATA
    ));
    assert_eq!(scored["bits_per_dim"], gaussian["valid_score"]);
}

/// The log lines of a successful run.
fn said(place: &TestFolder, arguments: &str) -> String {
    let mut command = std::process::Command::new(crate::test_folder::program());
    command.current_dir(place.path(""));
    command
        .args(arguments.split_whitespace())
        .env_remove("RUST_LOG");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_finished_run_says_so_and_how_to_go_on() {
    let place = TestFolder::new();
    let first = said(&place, TRAIN);
    assert!(first.contains("validation: "), "{first}");
    // Without a terminal there are no colours.
    assert!(!first.contains('\u{1b}'), "{first:?}");
    let again = said(&place, TRAIN);
    for part in [
        "run: this run is already finished, after 4 steps",
        "--extend STEPS",
    ] {
        assert!(again.contains(part), "{again}");
    }
    // A run that patience ended cannot be extended.
    let summary = String::from_utf8(place.bytes("run/summary.json")).unwrap();
    let early = summary.replace(r#""stopped_early":false"#, r#""stopped_early":true"#);
    assert_ne!(early, summary);
    place.write("run/summary.json", &early);
    let again = said(&place, TRAIN);
    assert!(
        again.contains("by `patience`") && !again.contains("--extend"),
        "{again}"
    );
}

#[test]
fn extend_goes_on_from_a_finished_run() {
    let place = TestFolder::new();
    place.json(TRAIN);
    let summary = place.json("train --out run --extend 6 --json");
    assert_eq!(
        (&summary["steps"], &summary["images_seen"]),
        (&6.into(), &12.into())
    );
    // The same command again, and the first command with this number of steps.
    assert_eq!(place.json("train --out run --extend 6 --json"), summary);
    assert_eq!(place.json(&format!("{TRAIN} --extend 6")), summary);
    let held = String::from_utf8(place.bytes("run/run.toml")).unwrap();
    for line in ["steps = 6", "extended = [4]"] {
        assert!(held.lines().any(|found| found == line), "{held}");
    }
    place.fails(
        TRAIN,
        &["run/run.toml", "the run has 6 steps, not 4", "--extend 6"],
    );
    place.fails(
        "train --out run --extend 5",
        &["5 steps in total", "already has 6"],
    );
    place.fails(
        &format!("{TRAIN} --seed 9 --extend 8"),
        &["`seed = 1`", "`seed = 9`"],
    );
    place.fails("train --out none --extend 8", &["none: ", "no such folder"]);
    place.write("uniform.toml", &baseline("uniform"));
    place.json("train --config uniform.toml --out uniform --json");
    place.fails("train --out uniform --extend 8", &["no training steps"]);
}

#[test]
fn a_run_knows_its_data() {
    let place = TestFolder::new();
    place.json(TRAIN);
    let mut records = place.bytes("train.bin");
    records[1] ^= 1;
    std::fs::write(place.path("train.bin"), &records).unwrap();
    place.fails(
        TRAIN,
        &[
            "run/data.json",
            "train: the number of images is the same",
            "another folder",
        ],
    );
    place.fails("train --out run --extend 8", &["run/data.json"]);
    // Other commands also refuse changed data, unless the user names them.
    for command in [
        "eval --model run --split train",
        "embed --model run/last --out a.npy --split train",
    ] {
        place.fails(
            command,
            &[
                "run/data.json",
                "train: the number of images is the same",
                "--data",
            ],
        );
    }
    place.json(&format!(
        "eval --model run --split train --data {DATA} --json"
    ));
    // Commands on other splits do not read this file.
    std::fs::write(place.path("train.bin"), "no records").unwrap();
    assert_eq!(place.json("eval --model run --json")["images"], 5);
    // These commands have changed nothing.
    records[1] ^= 1;
    std::fs::write(place.path("train.bin"), &records).unwrap();
    assert_eq!(place.json(TRAIN)["steps"], 4);
}

#[test]
fn a_configuration_may_begin_with_a_byte_order_mark() {
    let place = TestFolder::new();
    let text = String::from_utf8(place.bytes("tiny.toml")).unwrap();
    place.write("tiny.toml", &format!("\u{feff}{text}"));
    place.json(TRAIN);
}

#[cfg(target_os = "linux")]
#[test]
fn standard_error_that_cannot_be_written_stops_nothing() {
    let place = TestFolder::new();
    for (config, code) in [("tiny.toml", 0), ("none.toml", 1)] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let status = std::process::Command::new(crate::test_folder::program())
            .current_dir(place.path(""))
            .args(["train", "--out", "run", "--config", config])
            .stdout(std::process::Stdio::null())
            .stderr(full.unwrap())
            .status();
        assert_eq!(status.unwrap().code(), Some(code), "{config}");
    }
}

/// A limit on the size of files simulates a full disk, with its signal ignored or not.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_named_and_the_run_goes_on_when_there_is_room() {
    let place = TestFolder::new();
    place.json("train --config tiny.toml --out whole --json");
    // Blocks of 512 bytes: enough for some files, but not for others.
    let ignored = "trap '' XFSZ; ";
    for (trap, blocks) in [ignored, ""].into_iter().flat_map(|trap| {
        let blocks = [0, 1, 4, 12, 40].into_iter();
        blocks.map(move |blocks| (trap, blocks))
    }) {
        let out = format!("full{blocks}{}", trap.len());
        let output = std::process::Command::new("sh")
            .current_dir(place.path(""))
            .args([
                "-c",
                &format!("{trap}ulimit -f {blocks}; exec \"$@\""),
                "sh",
            ])
            .arg(crate::test_folder::program())
            .args(["train", "--config", "tiny.toml", "--out", &out])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{blocks}: {text}");
        let line = text.lines().last().unwrap();
        assert!(
            line.starts_with("error: ") && line.contains(&out),
            "{blocks}: {text}"
        );
        assert!(line.contains("File too large"), "{blocks}: {text}");
        place.json(&format!("train --config tiny.toml --out {out} --json"));
        for file in ["best/model.safetensors", "last/model.safetensors"] {
            let (found, whole) = (format!("{out}/{file}"), format!("whole/{file}"));
            assert!(
                place.bytes(&found) == place.bytes(&whole),
                "{blocks}: {file} differs"
            );
        }
    }
}

#[test]
fn steps_shorten_the_decay_too() {
    let place = TestFolder::new();
    let config = crate::test_folder::config(40, 20).replace(
        r#"decay = { kind = "cosine" }"#,
        r#"decay = { kind = "linear", steps = 30 }"#,
    );
    place.write("linear.toml", &config);
    for (steps, expected) in [(6, "steps = 4"), (2, r#"kind = "constant""#)] {
        let out = format!("run{steps}");
        place.json(&format!(
            "train --config linear.toml --out {out} --steps {steps} --json"
        ));
        let held = String::from_utf8(place.bytes(&format!("{out}/run.toml"))).unwrap();
        let decay = held.split("[training.schedule.decay]").nth(1).unwrap();
        assert!(decay.contains(expected), "{held}");
    }
    let extend = "train --config linear.toml --out run6 --extend 9 --steps 9";
    let output = String::from_utf8(place.run(extend).stderr).unwrap();
    assert!(output.contains("cannot be used with '--steps"), "{output}");
}
