//! `pixelcnn info`.

use crate::test_folder::{SIDE, TestFolder};

#[test]
fn the_model_is_described() {
    let place = TestFolder::with_run();
    let summary = place.json("train --config tiny.toml --out run --json");
    let info = place.json("info --model run --json");
    assert_eq!(info["name"], "Gated PixelCNN");
    assert_eq!(info["config"]["kind"], "gated-pixelcnn");
    assert_eq!(info["config"]["image"]["height"], SIDE);
    assert_eq!(info["parameters"], summary["parameters"]);
    // Two kernels of 3x3.
    assert_eq!(info["reach"], 2);
    assert_eq!(
        info["tensors"]["head.logits.bias"],
        serde_json::json!([768])
    );
    // The folder of a run means its best model.
    assert_eq!(place.json("info --model run/best --json"), info);
}

#[test]
fn without_json_it_is_text() {
    let place = TestFolder::with_run();
    let output = place.run("info --model run");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Gated PixelCNN, ",
        "sees 2 pixels",
        "\"first_kernel\": 3",
        "head.logits.bias",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn versions_need_no_model() {
    let place = TestFolder::new();
    let versions = place.json("info --versions --json");
    assert_eq!(versions["pixelcnn"], env!("CARGO_PKG_VERSION"));
    let features = match cfg!(feature = "hub") {
        true => vec!["hub"],
        false => vec![],
    };
    assert_eq!(versions["features"], serde_json::json!(features));
    assert!(versions["threads"].as_u64() >= Some(1), "{versions}");
    let output = place.run("info --versions");
    let text = String::from_utf8(output.stdout).unwrap();
    let start = format!(
        "pixelcnn {} (features: {})\ncandle ",
        env!("CARGO_PKG_VERSION"),
        features.first().unwrap_or(&"none")
    );
    assert!(text.starts_with(&start), "{text}");
    for field in ["candle", "platform", "instructions"] {
        let value = versions[field].as_str().unwrap();
        assert!(text.contains(value), "{value} is not in: {text}");
    }
    for (flags, part) in [
        ("", "<--model <MODEL>|--versions>"),
        ("--versions --model run", "cannot be used with"),
    ] {
        let output = place.run(&format!("info {flags}"));
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(part), "{text}");
    }
}
