//! `pixelcnn data`.

use serde_json::json;

use crate::test_folder::{DATA, SIDE, TEST_IMAGES, TestFolder};

#[test]
fn splits_levels_and_labels_are_counted() {
    let place = TestFolder::new();
    let described = place.json(&format!("data {DATA} --json"));
    let [train, valid, test] = [0, 1, 2].map(|split| &described["splits"][split]);
    assert_eq!(
        (&train["split"], &test["split"]),
        (&json!("train"), &json!("test"))
    );
    assert_eq!(test["images"], TEST_IMAGES);
    assert_eq!(
        (&train["height"], &train["channels"]),
        (&json!(SIDE), &json!(3))
    );
    for split in [train, valid, test] {
        let labels = split["labels"].as_array().unwrap();
        let sum: u64 = labels.iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(sum, split["images"].as_u64().unwrap());
        let used = split["levels_used"].as_u64().unwrap();
        let [lowest, highest] = ["lowest", "highest"].map(|it| split[it].as_u64().unwrap());
        assert!(used > 1 && lowest < highest && used <= highest - lowest + 1);
        assert_eq!(split["checksum"].as_str().unwrap().len(), 32);
    }
    assert_ne!(train["checksum"], test["checksum"]);
    let text = place.run(&format!("data {DATA}"));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains(&format!("test: {TEST_IMAGES} images of 3 channels")),
        "{text}"
    );
    assert!(text.contains("class 0: "), "{text}");
}

#[test]
fn a_picture_shows_the_first_images() {
    let place = TestFolder::new();
    let flags = "--picture a.png --split test --count 3 --columns 2 --zoom 2";
    place.json(&format!("data {DATA} {flags} --json"));
    let sheet = image::open(place.path("a.png")).unwrap().to_rgb8();
    assert!(sheet.width() >= 4 * SIDE as u32 && sheet.height() >= 4 * SIDE as u32);
}
