//! `pixelcnn audit`.

use candle_core::Device;
use image::Rgb;
use pixelcnn_models::{read_tensors, write_tensors};

use crate::test_folder::{TestFolder, smoke};

const BLUE: Rgb<u8> = Rgb([70, 130, 200]);
const BLACK: Rgb<u8> = Rgb([20, 20, 20]);
const GREY: Rgb<u8> = Rgb([225, 225, 225]);

#[test]
fn the_smoke_networks_are_sound() {
    // Kernels of 7x7 and 3x3 reach the pixels within 4 above and to the left; the plain
    // PixelCNN misses one in its blind spot.
    for (name, pixels, blind) in [("gated-pixelcnn", 40, 0), ("pixelcnn", 39, 1)] {
        let place = TestFolder::new();
        let report = place.json(&format!(
            "audit --config {} --json --picture field.png --zoom 12",
            smoke(name)
        ));
        assert_eq!(report["sound"], true, "{report}");
        assert_eq!(report["findings"], serde_json::json!([]));
        let expected: Vec<_> = (0..3).map(|channel| 3 * pixels + channel).collect();
        assert_eq!(report["analytic"], serde_json::json!(expected));
        assert_eq!(report["reached"], report["analytic"]);
        assert_eq!(report["blind_by_design"], blind);
        assert!(report["gradients"].as_u64().unwrap() > 0);
        check_picture(&place, pixels);
    }
}

/// The picture has 11 by 7 cells of 12 pixels: `pixels` are reached and one is predicted.
fn check_picture(place: &TestFolder, pixels: usize) {
    let picture = image::open(place.path("field.png")).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (11 * 12 + 1, 7 * 12 + 1));
    let cells = (0..7 * 11).map(|i| *picture.get_pixel(i % 11 * 12 + 6, i / 11 * 12 + 6));
    let cells: Vec<_> = cells.collect();
    let count = |colour| cells.iter().filter(|cell| **cell == colour).count();
    assert_eq!(count(BLUE), pixels);
    assert_eq!(count(BLACK), 1);
    assert_eq!(count(GREY), 7 * 11 - pixels - 1);
    // The predicted pixel is in the middle of the last row but one.
    assert_eq!(cells[5 * 11 + 5], BLACK);
}

#[test]
fn a_trained_model_is_audited_with_its_weights() {
    let place = TestFolder::with_run();
    let output = place.run("audit --model run");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Gated PixelCNN: sound"), "{text}");
}

#[test]
fn a_model_that_sees_nothing_is_unsound() {
    let place = TestFolder::with_run();
    let path = place.path("run/best/model.safetensors");
    let (mut tensors, _) = read_tensors(&path, &Device::Cpu).unwrap();
    let weight = tensors.get_mut("head.logits.weight").unwrap();
    *weight = weight.zeros_like().unwrap();
    write_tensors(&path, &tensors, "").unwrap();
    let output = place.run("audit --model run --json");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sound"], false);
    assert_eq!(report["reached"], serde_json::json!([0, 0, 0]));
    assert!(!report["findings"].as_array().unwrap().is_empty());
}
