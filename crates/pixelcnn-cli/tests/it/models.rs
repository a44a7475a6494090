//! Names of models, and the list of all models.

use serde_json::Value;

use crate::test_folder::TestFolder;

const COMMIT: &str = "0123456789012345678901234567890123456789";

/// A folder with a run, the same model in `fixtures/models/small`, and in the cache of the hub.
fn place() -> TestFolder {
    let place = TestFolder::with_run();
    place.json("export --model run --out fixtures/models/small --json");
    let repository = "hub/models--owner--name";
    let snapshot = format!("{repository}/snapshots/{COMMIT}");
    place.json(&format!(
        "export --model run --out {snapshot} --dtype f16 --json"
    ));
    std::fs::create_dir_all(place.path(&format!("{repository}/refs"))).unwrap();
    place.write(&format!("{repository}/refs/main"), COMMIT);
    place
}

/// The standard output of a successful run with the fixtures of the folder.
fn output(place: &TestFolder, arguments: &str) -> String {
    let arguments: Vec<_> = arguments.split(' ').collect();
    let mut command = place.command(&arguments);
    let output = command
        .env("PIXELCNN_FIXTURES", place.path("fixtures"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_name_is_that_of_an_included_model_a_folder_or_the_hub() {
    let place = place();
    let tensors = |model: &str| {
        let text = output(&place, &format!("info --model {model} --json"));
        let info: Value = serde_json::from_str(&text).unwrap();
        info["parameters"].as_u64().unwrap()
    };
    let expected = tensors("run");
    for model in [
        "small",
        "./run",
        "run/best",
        "hf:owner/name",
        "hf:owner/name@main",
    ] {
        assert_eq!(tensors(model), expected, "{model}");
    }
    let data = "records:train.bin,valid=valid.bin,test=test.bin,side=8";
    let text = output(&place, &format!("eval --model small --data {data} --json"));
    let scored: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        scored["bits_per_dim"],
        place.json("eval --model run --json")["bits_per_dim"]
    );
    // Of two of one name, the included one; a separator means the folder.
    std::fs::create_dir(place.path("small")).unwrap();
    assert_eq!(tensors("small"), expected);
    place.fails(
        "info --model ./small",
        &["./small", "neither a model directory"],
    );
}

#[test]
fn commands_take_the_name_of_an_included_model() {
    let place = place();
    let data = "--data records:train.bin,valid=valid.bin,test=test.bin,side=8";
    for arguments in [
        "sample --model small --count 1 --out a.png".to_string(),
        "score --model small a.png".to_string(),
        "complete --model small --image a.png --rows 3 --count 1 --out b.png".to_string(),
        "compress --model small a.png --out a.pxc".to_string(),
        "verify a.pxc --model small".to_string(),
        "audit --model small".to_string(),
        format!("bench codec --model small --count 2 --threads 1 {data}"),
        "export --model small --out exported".to_string(),
    ] {
        output(&place, &arguments);
    }
}

#[test]
fn unknown_names_say_what_there_is() {
    let place = place();
    let arguments = ["info", "--model", "smal"];
    let mut command = place.command(&arguments);
    let output = command
        .env("PIXELCNN_FIXTURES", place.path("fixtures"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    for part in [
        "error: smal: no such model",
        "come with the source: small",
        "hf:OWNER/NAME",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    place.fails(
        "info --model hf:owner/other",
        &["hf:owner/other", "HF_HUB_OFFLINE"],
    );
    place.fails("info --model hf:owner", &["hf:owner", "OWNER/NAME"]);
    place.fails(
        "train --config tiny.toml --out new --init-from hf:a/b",
        &["hf:a/b", "HF_HUB_OFFLINE"],
    );
    place.fails(
        "train --config tiny.toml --out new --init-from no-such",
        &["no-such: no such model"],
    );
}

#[test]
fn a_run_starts_from_a_model_of_the_hub() {
    let place = place();
    let config = std::fs::read_to_string(place.path("tiny.toml")).unwrap();
    place.write(
        "more.toml",
        &config.replace("seed = ", "init_from = \"hf:owner/name\"\nseed = "),
    );
    place.json("train --config more.toml --out more --json");
    let record = String::from_utf8(place.bytes("more/data.json")).unwrap();
    let expected = format!("models--owner--name/snapshots/{COMMIT}/model.safetensors");
    assert!(record.contains(&expected), "{record}");
}

#[test]
fn all_models_are_listed() {
    let place = place();
    std::fs::create_dir_all(place.path("runs/group")).unwrap();
    std::fs::rename(place.path("run"), place.path("runs/group/run")).unwrap();
    std::fs::create_dir(place.path("runs/broken")).unwrap();
    place.write("runs/broken/config.json", "{}");
    // A model of another program in the cache.
    std::fs::create_dir_all(place.path("hub/models--a--b/refs")).unwrap();
    place.write("hub/models--a--b/refs/main", COMMIT);
    let other = format!("hub/models--a--b/snapshots/{COMMIT}");
    std::fs::create_dir_all(place.path(&other)).unwrap();
    place.write(
        &format!("{other}/config.json"),
        "{\"model_type\": \"bert\"}",
    );
    let listed: Value = serde_json::from_str(&output(&place, "models --json")).unwrap();
    assert_eq!(listed["other_models_in_cache"], 1);
    let models = listed["models"].as_array().unwrap();
    let names: Vec<_> = models
        .iter()
        .map(|model| model["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["small", "hf:owner/name", "runs/broken", "runs/group/run"]
    );
    let sources: Vec<_> = models
        .iter()
        .map(|model| model["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, ["included", "hub", "run", "run"]);
    assert!(
        models[2]["error"].as_str().unwrap().contains("kind"),
        "{}",
        models[2]
    );
    for index in [0, 1, 3] {
        let model = &models[index];
        assert_eq!(model["kind"], "Gated PixelCNN");
        assert_eq!(model["image"]["height"], 8);
        assert_eq!(model["parameters"], models[3]["parameters"]);
        assert_eq!(model["score"]["value"], models[3]["score"]["value"]);
        assert_eq!(model["error"], Value::Null);
    }
    assert!(models[1]["bytes"].as_u64() < models[0]["bytes"].as_u64());
    let text = output(&place, "models");
    assert_eq!(text.lines().count(), 4);
    assert!(text.starts_with("small "), "{text}");
    assert!(text.contains("cannot be used"), "{text}");
}
