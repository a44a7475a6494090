//! `pixelcnn complete`.

use candle_core::{DType, IndexOp, Tensor};
use image::{Rgb, RgbImage, Rgba, RgbaImage};
use pixelcnn_data::read_npy;

use crate::sample::{GAP, at};
use crate::test_folder::{SIDE, TestFolder};

fn original() -> RgbImage {
    let side = SIDE as u32;
    RgbImage::from_fn(side, side, |x, y| Rgb([10 * x as u8, 20 * y as u8, 99]))
}

fn with_picture() -> TestFolder {
    let place = TestFolder::with_run();
    original().save(place.path("in.png")).unwrap();
    place
}

fn rows(values: &Tensor, rows: std::ops::Range<usize>) -> Vec<u8> {
    let rows = values
        .i((.., .., rows))
        .unwrap()
        .to_dtype(DType::U8)
        .unwrap();
    rows.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_picture_shows_the_original_the_mask_and_the_completions() {
    let place = with_picture();
    let answer = place.json(
        "complete --model run --image in.png --rows 5 --count 3 --seed 2 --zoom 1 \
         --out all.png --out-dir each --npy all.npy --json",
    );
    assert_eq!(answer["drawn_pixels"], 3 * SIDE);
    assert!(answer["bits"].is_null());
    let picture = image::open(place.path("all.png")).unwrap().to_rgb8();
    assert_eq!(picture.width(), 5 * (SIDE as u32 + GAP) + GAP);
    assert_eq!(at(&picture, 0, 0), original());
    let masked = at(&picture, 1, 0);
    assert_eq!(*masked.get_pixel(3, 4), *original().get_pixel(3, 4));
    assert_eq!(*masked.get_pixel(3, 5), Rgb([128; 3]));
    let values = read_npy(&place.path("all.npy")).unwrap();
    assert_eq!(values.dims(), [3, 3, SIDE, SIDE]);
    for number in 0..3 {
        let completion = at(&picture, 2 + number, 0);
        let alone = image::open(place.path(&format!("each/{number}.png")))
            .unwrap()
            .to_rgb8();
        assert_eq!(completion, alone);
        for (x, y, pixel) in completion.enumerate_pixels().filter(|(_, y, _)| *y < 5) {
            assert_eq!(pixel, original().get_pixel(x, y));
        }
        for channel in 0..3 {
            let value = values.i((number as usize, channel, 6, 2)).unwrap();
            let value = value.to_scalar::<u8>().unwrap();
            assert_eq!(value, completion.get_pixel(2, 6).0[channel]);
        }
    }
    assert_ne!(at(&picture, 2, 0), at(&picture, 3, 0));
}

/// A box and a mask with the same pixels give the same completions; nothing known is sampling.
#[test]
fn a_box_a_mask_and_rows_say_the_same() {
    let place = with_picture();
    let mask = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        match (2..5).contains(&x) && (1..8).contains(&y) {
            false => Rgb([0; 3]),
            // Its grey value is rounded to 0, but it is not black.
            true if x == 3 => Rgb([0, 0, 4]),
            true => Rgb([255; 3]),
        }
    });
    mask.save(place.path("mask.png")).unwrap();
    let draw = |flags: &str, out: &str| {
        place.json(&format!(
            "complete --model run --image in.png {flags} --count 2 --npy {out} --json"
        ));
        read_npy(&place.path(out)).unwrap()
    };
    let (by_box, by_mask) = (
        draw("--box 2,1,3,7", "a.npy"),
        draw("--mask mask.png", "b.npy"),
    );
    assert_eq!(rows(&by_box, 0..SIDE), rows(&by_mask, 0..SIDE));
    let all = draw("--rows 0", "c.npy");
    place.json("sample --model run --count 2 --npy d.npy --json");
    let drawn = read_npy(&place.path("d.npy")).unwrap();
    assert_eq!(rows(&all, 0..SIDE), rows(&drawn, 0..SIDE));
}

#[test]
fn the_best_of_several_is_kept_with_its_bits() {
    let place = with_picture();
    let bits = |best: usize| {
        let answer = place.json(&format!(
            "complete --model run --image in.png --box 2,1,3,2 --count 2 --best {best} --out \
             a{best}.png --json"
        ));
        answer["bits"][0].as_f64().unwrap()
    };
    assert!(bits(6) <= bits(2));
    let line = place.line("complete --model run --image in.png --box 2,1,3,2 --best 2 --out b.png");
    assert!(
        line.contains("4 completions of 6 pixels; known pixels after the first hole: "),
        "{line}"
    );
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let place = with_picture();
    for (flags, parts) in [
        ("--rows 9", &["--rows 9: the image has 8 x 8 pixels"][..]),
        ("--box 6,0,3,1", &["--box 6,0,3,1: not within"]),
        ("--rows 1 --label cat", &["the model is unconditional"]),
        (
            "--rows 1 --given-image in.png",
            &["the model is unconditional"],
        ),
    ] {
        let line = format!("complete --model run --image in.png {flags} --out a.png");
        place.fails(&line, parts);
    }
    RgbImage::new(3, 3).save(place.path("small.png")).unwrap();
    place.fails(
        "complete --model run --image in.png --mask small.png --out a.png",
        &["8 x 8 pixels (width x height) expected, found 3 x 3"],
    );
    place.fails(
        "complete --model run --image in.png --rows 1 --out in.png",
        &["--image and --out name the same file"],
    );
    let output = place.run("complete --model run --image in.png --out a.png");
    assert_eq!(
        output.status.code(),
        Some(2),
        "one of --rows, --box and --mask is required"
    );
}

/// A mask whose black is not exact, or that says with its transparency what is unknown, would
/// draw other pixels than its author means.
#[test]
fn masks_that_are_not_exact_are_refused() {
    let place = with_picture();
    let side = SIDE as u32;
    let mask = RgbImage::from_fn(side, side, |x, _| Rgb([if x < 3 { 255 } else { 0 }; 3]));
    mask.save(place.path("mask.jpg")).unwrap();
    let clear = RgbaImage::from_fn(side, side, |x, _| {
        Rgba([0, 0, 0, if x < 3 { 0 } else { 255 }])
    });
    clear.save(place.path("clear.png")).unwrap();
    for (mask, part) in [
        ("mask.jpg", "save the mask as PNG"),
        ("clear.png", "parts of it are transparent"),
        ("none.png", "cannot read none.png"),
    ] {
        let line = format!("complete --model run --image in.png --mask {mask} --out a.png");
        place.fails(&line, &["--mask", part]);
    }
}

#[test]
fn where_completions_cannot_be_compared_a_warning_says_so() {
    let place = with_picture();
    for (region, warned) in [
        ("--rows 3", true),
        ("--rows 8", true),
        ("--box 0,5,8,3", true),
        ("--box 0,5,7,3", false),
        ("--box 0,0,1,1", false),
    ] {
        let output = place.run(&format!(
            "complete --model run --image in.png {region} --best 2 --count 1 --out a.png"
        ));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{region}: {text}");
        assert_eq!(text.contains("equally good"), warned, "{region}: {text}");
    }
}

/// The condition has the same flags as in `sample`, except that `--image` is the image to
/// complete.
#[test]
fn conditions_are_given_as_for_sampling() {
    let place = TestFolder::with_condition(
        "{ kind = \"image\", reduction = { kind = \"grey\" }, spatial = { maps = 1, hidden = 2 } }",
        "",
    );
    original().save(place.path("in.png")).unwrap();
    place.json(
        "complete --model run --image in.png --given-image in.png --rows 2 --npy a.npy --json",
    );
    place.fails(
        "complete --model run --image in.png --rows 2 --npy a.npy",
        &["the model is conditional: give --given-image or --index"],
    );
    original().save(place.path("given.png")).unwrap();
    place.fails(
        "complete --model run --image in.png --given-image given.png --rows 2 --out given.png",
        &["--given-image and --out name the same file"],
    );
}
