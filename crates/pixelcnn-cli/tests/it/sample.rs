//! `pixelcnn sample`.

use image::{Rgb, RgbImage, SubImage};

use crate::test_folder::{SIDE, TestFolder};

/// Pixels between and around images.
pub(crate) const GAP: u32 = 2;

fn sample(place: &TestFolder, out: &str, flags: &str) -> RgbImage {
    let result = place.json(&format!(
        "sample --model run --out {out} --zoom 1 --json {flags}"
    ));
    assert_eq!(result["out"], out);
    image::open(place.path(out)).unwrap().to_rgb8()
}

/// The image at a position of the grid.
pub(crate) fn at(picture: &RgbImage, column: u32, row: u32) -> RgbImage {
    let step = SIDE as u32 + GAP;
    let (x, y, side) = (GAP + column * step, GAP + row * step, SIDE as u32);
    SubImage::new(picture, x, y, side, side).to_image()
}

#[test]
fn a_seed_always_gives_the_same_picture() {
    let place = TestFolder::with_run();
    let picture = sample(&place, "a.png", "--count 2 --seed 3");
    let side = SIDE as u32;
    assert_eq!(
        picture.dimensions(),
        (2 * (side + GAP) + GAP, side + 2 * GAP)
    );
    assert_eq!(*picture.get_pixel(0, 0), Rgb([255, 255, 255]));
    assert_ne!(at(&picture, 0, 0), at(&picture, 1, 0));
    sample(&place, "b.png", "--count 2 --seed 3");
    sample(&place, "c.png", "--count 2 --seed 4");
    assert_eq!(place.bytes("a.png"), place.bytes("b.png"));
    assert_ne!(place.bytes("a.png"), place.bytes("c.png"));
}

#[test]
fn an_image_does_not_depend_on_those_drawn_with_it() {
    let place = TestFolder::with_run();
    let one = sample(&place, "one.png", "--count 1");
    let five = sample(&place, "five.png", "--count 5 --columns 2");
    let side = SIDE as u32;
    assert_eq!(
        five.dimensions(),
        (2 * (side + GAP) + GAP, 3 * (side + GAP) + GAP)
    );
    assert_eq!(at(&one, 0, 0), at(&five, 0, 0));
    let three = sample(&place, "three.png", "--count 3");
    assert_eq!(at(&three, 2, 0), at(&five, 0, 1));
}

#[test]
fn the_size_may_be_another() {
    let place = TestFolder::with_run();
    let picture = sample(&place, "a.png", "--count 1 --size 3x5");
    assert_eq!(picture.dimensions(), (5 + 2 * GAP, 3 + 2 * GAP));
}

#[test]
fn threads_change_nothing_and_temperature_does() {
    let place = TestFolder::with_run();
    sample(&place, "a.png", "--count 2 --threads 1");
    sample(&place, "b.png", "--count 2 --threads 3");
    sample(&place, "c.png", "--count 2 --temperature 0.3 --top-p 0.9");
    assert_eq!(place.bytes("a.png"), place.bytes("b.png"));
    assert_ne!(place.bytes("a.png"), place.bytes("c.png"));
}

#[test]
fn values_and_single_images_are_those_of_the_picture() {
    let place = TestFolder::with_run();
    let flags = "--count 11 --columns 4 --out-dir each --npy values.npy --animate growing.png";
    let picture = sample(&place, "a.png", flags);
    let last = image::open(place.path("each/10.png")).unwrap().to_rgb8();
    assert_eq!(last, at(&picture, 2, 2));
    assert!(place.path("each/00.png").exists());
    let values = candle_core::Tensor::read_npy(place.path("values.npy")).unwrap();
    assert_eq!(values.dims(), [11, 3, SIDE, SIDE]);
    let values = values.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    let first = at(&picture, 0, 0);
    assert_eq!(first.get_pixel(1, 2).0[1], values[(SIDE + 2) * SIDE + 1]);
    let growing = place.bytes("growing.png");
    assert!(growing.windows(4).any(|bytes| bytes == b"acTL"));
}

#[test]
fn a_preview_needs_a_terminal() {
    let place = TestFolder::with_run();
    let preview = "sample --model run --out a.png --preview";
    place.fails(preview, &["--preview", "not a terminal"]);
}
