//! Exported models.

use candle_core::{DType, Device};
use pixelcnn_models::{Model, read_note};
use serde_json::{Value, json};

use crate::test_folder::TestFolder;

#[test]
fn an_exported_run_is_a_published_model() {
    let place = TestFolder::with_run();
    let line = place.line("eval --model run --json");
    place.write("test.json", &line);
    let arguments = "export --model run --out model --dtype bf16 --license cc0-1.0 \
                     --dataset owner/set --metrics test.json --json";
    let result = place.json(arguments);
    assert_eq!(result["dtype"], "bf16");
    assert_eq!(result["picture"], "samples.png");
    let card = String::from_utf8(place.bytes("model/README.md")).unwrap();
    for part in [
        "---\nlicense: \"cc0-1.0\"\nlibrary_name: pixelcnn\n",
        "pipeline_tag: unconditional-image-generation\n",
        "- \"owner/set\"\nmodel-index:\n- name: \"model\"\n",
        "split: \"valid\"",
        "split: \"test\"",
        "type: \"bits_per_dim\"",
        "\n# model\n\nGated PixelCNN\n\n![Samples](samples.png)\n",
        "| stored as | bf16; computation is in f32 |",
        "hf upload OWNER/NAME DIR",
    ] {
        assert!(card.contains(part), "{part} is not in: {card}");
    }
    let config: Value = serde_json::from_slice(&place.bytes("model/config.json")).unwrap();
    assert_eq!(
        (&config["model_type"], &config["format_version"]),
        (&json!("pixelcnn"), &json!(1))
    );
    assert!(place.bytes("model/samples.png").starts_with(b"\x89PNG"));
}

#[test]
fn the_stored_numbers_are_those_of_the_run_rounded() {
    let place = TestFolder::with_run();
    let line = place.line("eval --model run --json");
    place.write("test.json", &line);
    let arguments = "export --model run --out model --dtype bf16 --metrics test.json --json";
    let result = place.json(arguments);
    let own = Model::load(place.path("run/best"), &Device::Cpu).unwrap();
    let exported = Model::load(place.path("model"), &Device::Cpu).unwrap();
    assert_eq!(exported.config(), own.config());
    for (name, tensor) in own.tensors() {
        let rounded = tensor
            .to_dtype(DType::BF16)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        let numbers =
            |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(
            numbers(&exported.tensors()[name]),
            numbers(&rounded),
            "{name}"
        );
    }
    let full = place.bytes("run/best/model.safetensors").len();
    let half = place.bytes("model/model.safetensors").len();
    assert!(half < full * 6 / 10, "{half} of {full} bytes");
    // The scores are in the metadata too, and stay there when it is exported again.
    let note = read_note(place.path("model/model.safetensors"))
        .unwrap()
        .unwrap();
    let note: Value = serde_json::from_str(&note).unwrap();
    let test: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(note["measures"][1]["value"], test["bits_per_dim"]);
    let again = place.json("export --model model --out again --json");
    assert_eq!(again["scores"], result["scores"]);
    // It is used like any model.
    let data = "records:train.bin,valid=valid.bin,test=test.bin,side=8";
    let scored = place.json(&format!("eval --model model --data {data} --json"));
    let difference =
        scored["bits_per_dim"].as_f64().unwrap() - test["bits_per_dim"].as_f64().unwrap();
    assert!(difference.abs() < 0.05, "{difference}");
}

#[test]
fn f16_and_f32_are_stored_too() {
    let place = TestFolder::with_run();
    for (dtype, bytes) in [("f16", 2), ("f32", 4)] {
        let result = place.json(&format!(
            "export --model run --out {dtype} --dtype {dtype} --json"
        ));
        let least = bytes * result["parameters"].as_u64().unwrap();
        assert!(result["bytes"].as_u64().unwrap() > least);
    }
    let output = place.run("export --model run --out x --dtype f8");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("f32, f16 or bf16 expected, found f8"),
        "{text}"
    );
}

#[test]
fn the_configuration_of_the_run_and_notes_are_published() {
    let place = TestFolder::with_run();
    place.write("notes.md", "## Data\n\nEight images.\n");
    place.json("export --model run --out model --notes notes.md --json");
    let text = |name: &str| String::from_utf8(place.bytes(name)).unwrap();
    assert_eq!(text("model/training.toml"), text("run/run.toml"));
    assert!(text("model/README.md").contains("\n## Data\n\nEight images.\n\n## Use\n"));
    // The configuration stays when the model is exported again.
    place.json("export --model model --out again --json");
    assert_eq!(text("again/training.toml"), text("run/run.toml"));
    assert!(text("again/README.md").contains("| trained on |"));
    place.fails(
        "export --model run --out x --notes missing.md",
        &["--notes missing.md"],
    );
}

#[test]
fn each_class_of_a_conditional_model_is_drawn() {
    let conditioning = r#"{ kind = "class", classes = 10 }"#;
    let place = TestFolder::with_condition(conditioning, "");
    let result = place.json("export --model run --out model --json");
    assert_eq!(result["picture"], "samples.png");
    let card = String::from_utf8(place.bytes("model/README.md")).unwrap();
    assert!(card.contains("pixelcnn sample --model hf:OWNER/NAME --label CLASS --count 16"));
    assert!(!card.contains("unconditional"), "{card}");
    let result = place.json("export --model run --out other --label 1 --json");
    assert_eq!(result["picture"], "samples.png");
}

#[test]
fn folders_with_other_content_are_not_written_to() {
    let place = TestFolder::with_run();
    place.json("export --model run --out model --json");
    place.fails(
        "export --model run --out run",
        &["--out run: the folder of a run"],
    );
    place.fails(
        "export --model run --out run/best",
        &["the folder of the model itself"],
    );
    place.fails(
        "export --model model --out model/../model",
        &["the folder of the model itself"],
    );
    place.fails(
        "export --model run --out tiny.toml",
        &["--out tiny.toml: a file"],
    );
    place.fails(
        "export --model run --out x --metrics tiny.toml",
        &["--metrics", "pixelcnn eval --json"],
    );
    assert!(!place.path("x").exists());
    // The files of another model would stay beside those of this one.
    let before = place.bytes("model/model.safetensors");
    std::fs::create_dir(place.path("other")).unwrap();
    place.write("other/README.md", "mine");
    for out in ["model", "other", "."] {
        place.fails(
            &format!("export --model run --dtype f16 --out {out}"),
            &["an empty or new folder expected"],
        );
    }
    assert_eq!(place.bytes("model/model.safetensors"), before);
    assert_eq!(place.bytes("other/README.md"), b"mine");
}

/// The weights are checked before anything is written, so that the same folder can be used with
/// another type.
#[test]
fn a_weight_too_large_for_the_type_leaves_an_empty_folder() {
    let place = TestFolder::with_run();
    let mut model = Model::load(place.path("run/best"), &Device::Cpu).unwrap();
    let config = model.config().clone();
    let mut tensors = model.tensors().clone();
    let first = tensors.values_mut().next().unwrap();
    *first = (first.ones_like().unwrap() * 7e4).unwrap();
    model = Model::from_tensors(&config, tensors, DType::F32, &Device::Cpu).unwrap();
    model.save(place.path("large")).unwrap();
    place.fails(
        "export --model ./large --dtype f16 --out out",
        &["too large for f16"],
    );
    place.json("export --model ./large --dtype bf16 --out out --json");
}
