//! `pixelcnn classify`.

use serde_json::Value;

use crate::test_folder::{TEST_IMAGES, TestFolder, beside};

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap()).collect()
}

/// The test images have the labels 0 to 4 of ten classes.
fn check(result: &Value, labels: &[usize]) {
    assert_eq!(result["images"], labels.len());
    assert_eq!(result["classes"], 10);
    let predicted = numbers(&result["predicted"]);
    let logs = result["log_probabilities"].as_array().unwrap();
    assert_eq!((predicted.len(), logs.len()), (labels.len(), labels.len()));
    let mut right = 0.0;
    for ((found, logs), label) in predicted.iter().zip(logs).zip(labels) {
        let logs = numbers(logs);
        assert_eq!(logs.len(), 10);
        assert!(logs.iter().all(|log| *log <= logs[*found as usize]));
        right += f64::from(u8::from(*found as usize == *label));
    }
    let accuracy = result["accuracy"].as_f64().unwrap();
    assert!((accuracy - right / labels.len() as f64).abs() < 1e-12);
}

#[test]
fn a_class_conditional_model_names_the_likeliest_class() {
    let place = TestFolder::with_condition(r#"{ kind = "class", classes = 10 }"#, "");
    let labels: Vec<usize> = (0..TEST_IMAGES).collect();
    let result = place.json("classify --model run --json");
    check(&result, &labels);
    // Both commands measure the likelihood with the right label.
    let eval = place.json("eval --model run --json");
    let difference = result["nats_per_image"].as_f64().unwrap();
    let difference = difference - eval["nats_per_image"].as_f64().unwrap();
    assert!(difference.abs() < 1e-3, "{result} {eval}");
    check(
        &place.json("classify --model run --limit 2 --json"),
        &[0, 1],
    );
    place.json("sample --model run --label 3,7 --count 2 --out a.png --npy a.npy --json");
    let drawn = place.json("classify --model run --npy a.npy --label 3,3,7,7 --json");
    check(&drawn, &[3, 3, 7, 7]);
    let short = "classify --model run --npy a.npy --label 3,7";
    place.fails(short, &["--label", "4 images", "found 2"]);
}

#[test]
fn a_classifier_gives_probabilities() {
    let place = TestFolder::new();
    place.train("run", &beside("classifier", "classes = 10"));
    let result = place.json("classify --model run --json");
    check(&result, &[0, 1, 2, 3, 4]);
    for logs in result["log_probabilities"].as_array().unwrap() {
        let total: f64 = numbers(logs).iter().map(|log| log.exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
    }
    let eval = place.json("eval --model run --json");
    assert_eq!(eval["accuracy"], result["accuracy"]);
    place.fails("audit --model run", &["Classifier"]);
    place.fails("sample --model run --out a.png", &["Classifier"]);
    place.fails(
        "eval --model run --shuffled",
        &["Classifier", "no likelihood"],
    );
}

#[test]
fn values_that_no_image_has_are_refused() {
    let place = TestFolder::with_condition(r#"{ kind = "class", classes = 10 }"#, "");
    for (value, channels, part) in [(256u32, 3, "256 levels"), (0, 1, "[b, 3, h, w]")] {
        let shape = (1, channels, 8, 8);
        let values = candle_core::Tensor::full(value, shape, &candle_core::Device::Cpu);
        values.unwrap().write_npy(place.path("a.npy")).unwrap();
        let classify = "classify --model run --npy a.npy --label 3";
        place.fails(classify, &["a.npy", part]);
    }
    std::fs::create_dir(place.path("grey")).unwrap();
    for split in ["train", "t10k"] {
        let file = |kind: &str| place.path(&format!("grey/{split}-{kind}-ubyte"));
        let images = [
            &[0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 8, 0, 0, 0, 8][..],
            &[0; 640],
        ]
        .concat();
        std::fs::write(file("images-idx3"), images).unwrap();
        let labels = [&[0, 0, 8, 1, 0, 0, 0, 10][..], &[0; 10]].concat();
        std::fs::write(file("labels-idx1"), labels).unwrap();
    }
    let parts = ["mnist:grey", "3 channels expected, found 1"];
    place.fails("eval --model run --data mnist:grey", &parts);
}

#[test]
fn other_models_tell_no_classes_apart() {
    let place = TestFolder::with_run();
    place.fails("classify --model run", &["cannot classify images"]);
}
