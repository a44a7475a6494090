//! Conditions of a model on the command line.

use candle_core::{Device, Tensor};

use crate::sample::{GAP, at};
use crate::test_folder::{SIDE, TestFolder, beside};

const CLASS: &str = r#"{ kind = "class", classes = 10 }"#;
const CODE: &str =
    r#"{ kind = "code", length = 3, encoder_maps = [2], bottleneck = { kind = "plain" } }"#;
const GREY: &str =
    r#"{ kind = "image", reduction = { kind = "grey" }, spatial = { maps = 1, hidden = 2 } }"#;

/// The values of drawn images, one image per row.
fn drawn(place: &TestFolder, flags: &str) -> Vec<Vec<u8>> {
    place.json(&format!("sample --model run --npy a.npy --json {flags}"));
    let values = Tensor::read_npy(place.path("a.npy")).unwrap();
    values.flatten_from(1).unwrap().to_vec2::<u8>().unwrap()
}

fn picture(place: &TestFolder, name: &str) -> image::RgbImage {
    image::open(place.path(name)).unwrap().to_rgb8()
}

/// The random numbers of an image depend on its position, not on its condition.
#[test]
fn images_come_in_the_order_of_their_labels() {
    let place = TestFolder::with_condition(CLASS, "");
    let both = drawn(&place, "--label 0,1 --count 2");
    assert_eq!(both.len(), 4);
    assert_eq!(both[..2], drawn(&place, "--label 0 --count 2"));
    assert_eq!(both[2..], drawn(&place, "--label 1,1 --count 2")[2..]);
    assert_ne!(both[2..], drawn(&place, "--label 0 --count 4")[2..]);
    let one_hot = Tensor::new(&[[1f32, 0., 0., 0., 0., 0., 0., 0., 0., 0.]], &Device::Cpu);
    one_hot.unwrap().write_npy(place.path("h.npy")).unwrap();
    assert_eq!(both[..2], drawn(&place, "--vector h.npy --count 2"));
    // The first two test images have the labels 0 and 1.
    assert_eq!(both, drawn(&place, "--index 0,1 --count 2"));
}

#[test]
fn a_condition_that_is_missing_or_does_not_fit_is_named() {
    let place = TestFolder::with_condition(CLASS, "");
    let sample = "sample --model run --out a.png";
    place.fails(sample, &["the model is conditional", "--label"]);
    place.fails(
        &format!("{sample} --label 10"),
        &["--label: a number below 10 expected, found \"10\""],
    );
    place.fails(
        &format!("{sample} --caption red"),
        &["labels below 10", "1 text"],
    );
    place.fails(
        &format!("{sample} --index 5"),
        &["--index: there is no image 5", "5 test images"],
    );
    let many = u64::MAX;
    place.fails(
        &format!("{sample} --label 1 --count {many}"),
        &["PNG allows"],
    );
    place.fails("interpolate --model run --out a.png", &["--label"]);
    let odd = "interpolate --model run --out a.png --label 1,2,3";
    place.fails(odd, &["pairs", "3 labels"]);
    let many = format!("interpolate --model run --out a.png --label 1,2 --steps {many}");
    place.fails(&many, &["PNG allows"]);
    let place = TestFolder::with_run();
    place.fails(
        &format!("{sample} --label 1"),
        &["unconditional", "found 1 label"],
    );
    place.fails(
        "eval --model run --shuffled",
        &["--shuffled", "not conditional"],
    );
    place.fails("interpolate --model run --out a.png", &["pairs", "none"]);
    place.fails(
        "reconstruct --model run --out a.png --index 0",
        &["not an auto-encoder"],
    );
    assert!(!place.path("a.png").exists());
}

#[test]
fn images_that_are_given_have_the_models_size() {
    let write = |place: &TestFolder, name: &str, shape: &[usize]| {
        let values = Tensor::zeros(shape, candle_core::DType::U8, &Device::Cpu);
        values.unwrap().write_npy(place.path(name)).unwrap();
    };
    let sample = "sample --model run --out a.png --zoom 1 --count 1 --json";
    let place = TestFolder::with_condition(CODE, "");
    write(&place, "small.npy", &[1, 3, 4, 4]);
    let small = format!("{sample} --image small.npy");
    place.fails(
        &small,
        &["an image [b, 3, 8, 8]", "found an image [1, 3, 4, 4]"],
    );
    place.fails(&format!("{sample} --image none.png"), &["none.png"]);
    write(&place, "right.npy", &[2, 3, SIDE, SIDE]);
    place.json(&format!("{sample} --image right.npy --out-dir each"));
    place.json(&format!("{sample} --image each/0.png --show-condition"));
    let place = TestFolder::with_condition(GREY, "");
    write(&place, "small.npy", &[1, 1, 4, 4]);
    let small = format!("{sample} --image small.npy");
    place.fails(
        &small,
        &["an image [b, 1, 8, 8]", "found an image [1, 1, 4, 4]"],
    );
    write(&place, "two.npy", &[1, 2, SIDE, SIDE]);
    let two = format!("{sample} --image two.npy");
    place.fails(&two, &["--image", "1 channels expected, found 2"]);
    write(&place, "grey.npy", &[1, 1, SIDE, SIDE]);
    place.json(&format!("{sample} --image grey.npy --show-condition"));
    // The grey image and the drawn one.
    let side = SIDE as u32;
    let size = (2 * (side + GAP) + GAP, side + 2 * GAP);
    assert_eq!(picture(&place, "a.png").dimensions(), size);
}

#[test]
fn auto_encoders_reconstruct_beside_the_original() {
    let side = SIDE as u32;
    let mse = TestFolder::new();
    mse.train("run", &beside("auto-encoder", "length = 3\nhidden = 2"));
    let code = TestFolder::with_condition(CODE, "");
    for (place, columns) in [(mse, 2), (code, 4)] {
        let reconstruct = "reconstruct --model run --out r.png --zoom 1 --count 3 --json";
        place.json(&format!("{reconstruct} --index 4,0"));
        let found = picture(&place, "r.png");
        let size = (columns * (side + GAP) + GAP, 2 * (side + GAP) + GAP);
        assert_eq!(found.dimensions(), size);
        // The first bytes of a record are its label and its red plane.
        let record = 1 + 3 * SIDE * SIDE;
        let red = |image: usize| place.bytes("test.bin")[image * record + 1];
        assert_eq!(at(&found, 0, 0).get_pixel(0, 0).0[0], red(4));
        assert_eq!(at(&found, 0, 1).get_pixel(0, 0).0[0], red(0));
        place.fails(&format!("{reconstruct} --index 5"), &["5"]);
    }
}

#[test]
fn the_ends_of_a_row_are_samples_with_the_same_random_numbers() {
    let place = TestFolder::with_condition(CLASS, "");
    let sample = |labels: &str| {
        place.json(&format!(
            "sample --model run --label {labels} --count 1 --out s.png --zoom 1 --json"
        ));
        picture(&place, "s.png")
    };
    let interpolate = "interpolate --model run --out i.png --zoom 1 --json";
    place.json(&format!("{interpolate} --label 0,1,2,3 --steps 3"));
    let rows = picture(&place, "i.png");
    assert_eq!(at(&rows, 0, 0), at(&sample("0"), 0, 0));
    assert_eq!(at(&rows, 2, 0), at(&sample("1"), 0, 0));
    assert_eq!(at(&rows, 0, 1), at(&sample("0,2"), 1, 0));
    assert_eq!(at(&rows, 2, 1), at(&sample("0,3"), 1, 0));
    place.json(&format!("{interpolate} --label 0,1 --steps 1"));
    let one = picture(&place, "i.png");
    let side = SIDE as u32;
    assert_eq!(one.dimensions(), (side + 2 * GAP, side + 2 * GAP));
    assert_eq!(at(&one, 0, 0), at(&rows, 0, 0));
}
