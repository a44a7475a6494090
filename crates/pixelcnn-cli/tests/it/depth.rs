//! Images without 256 levels: codes, fewer bits, 16 bits.

use candle_core::{DType, Device, Tensor};
use image::{ImageBuffer, Rgb};
use pixelcnn_data::read_npy;
use serde_json::Value;

use crate::test_folder::{DATA, TestFolder, config};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// The configuration of [`config`] with other images.
fn other(image: &str, head: &str) -> String {
    let text = config(4, 2);
    let data = format!("data = \"{DATA}\"");
    assert!(text.contains(&data), "{text}");
    let shape = "image = { channels = 3, height = 8, width = 8, levels = 256 }";
    assert!(text.contains(shape), "{text}");
    text.replace(&data, head).replace(shape, image)
}

/// Grids of 4 x 5 codes below 40, with labels.
fn write_codes(place: &TestFolder) {
    let codes: Vec<u32> = (0..20 * 20).map(|index| index * 7 % 40).collect();
    let codes = Tensor::from_vec(codes, (20, 4, 5), &Device::Cpu).unwrap();
    codes.write_npy(place.path("codes.npy")).unwrap();
    let labels: Vec<i64> = (0..20).map(|index| index % 2).collect();
    let labels = Tensor::from_vec(labels, 20, &Device::Cpu).unwrap();
    labels.write_npy(place.path("codes.labels.npy")).unwrap();
}

#[test]
fn a_prior_over_codes_gives_codes_back() {
    let place = TestFolder::new();
    write_codes(&place);
    let image = "image = { channels = 1, height = 4, width = 5, levels = 40 }\n\
                 conditioning = { kind = \"class\", classes = 2 }";
    let spec = "data = \"tokens:codes.npy\"";
    place.train("run", &other(image, spec));
    let answer = place.json("eval --model run --split valid --json");
    assert!(
        number(&answer["bits_per_dim"]) < 40f64.log2() + 0.5,
        "{answer}"
    );
    place.json("sample --model run --label 0,1 --count 2 --npy drawn.npy --json");
    let drawn = read_npy(&place.path("drawn.npy")).unwrap();
    assert_eq!(drawn.dims(), [4, 1, 4, 5]);
    // Samples can be used as data.
    let first = drawn.squeeze(1).unwrap();
    first.write_npy(place.path("again.npy")).unwrap();
    let again = "eval --model run --data tokens:codes.npy,test=again.npy,levels=40 --json";
    assert!(number(&place.json(again)["bits_per_dim"]).is_finite());
    let more = "eval --model run --data tokens:codes.npy,levels=41 --split valid";
    place.fails(more, &["images of 40 levels expected, found 41"]);
}

#[test]
fn models_of_fewer_bits_are_trained_and_used() {
    let place = TestFolder::new();
    let image = "image = { channels = 3, height = 8, width = 8, levels = 32 }";
    let data = format!("data = \"{DATA}\"\nbits = 5");
    place.train("run", &other(image, &data));
    let own = number(&place.json("eval --model run --json")["bits_per_dim"]);
    assert!(own < 5.5, "{own}");
    let given = format!("eval --model run --data {DATA} --bits 5 --json");
    assert_eq!(number(&place.json(&given)["bits_per_dim"]), own);
    let other_bits = format!("eval --model run --data {DATA} --bits 4");
    place.fails(&other_bits, &["--bits 4", "the run keeps 5 bits"]);
    std::fs::rename(place.path("run/best"), place.path("alone")).unwrap();
    let whole = format!("eval --model alone --data {DATA}");
    place.fails(&whole, &["32 levels expected, found 256: use --bits 5"]);
    let many = format!("eval --model alone --data {DATA} --bits 9");
    place.fails(&many, &["2^bits must divide the 256 levels", "found 9"]);
}

#[test]
fn sixteen_bits_go_from_files_to_bits_and_are_refused_elsewhere() {
    let place = TestFolder::with_run();
    std::fs::create_dir(place.path("scans")).unwrap();
    for index in 0..40u16 {
        let picture = ImageBuffer::from_fn(4, 4, |x, y| {
            Rgb([index * 1_000 + x as u16, 7 * y as u16, 65_535 - index])
        });
        let path = place.path(&format!("scans/{index:02}.png"));
        picture.save(path).unwrap();
    }
    let image = "image = { channels = 3, height = 4, width = 4, levels = 65536 }\n\
                 distribution = { kind = \"logistic-mixture\", components = 2 }";
    let spec = "data = \"folder:scans,side=4,depth=16\"";
    place.train("deep", &other(image, spec));
    let answer = place.json("eval --model deep --split valid --json");
    assert!(number(&answer["bits_per_dim"]).is_finite(), "{answer}");
    let score = place.json("score scans/07.png --model deep --json");
    assert!(number(&score["bits_per_dim"]).is_finite(), "{score}");
    // A drawn picture has the values, with all their bits.
    place.json("sample --model deep --count 1 --out-dir drawn --npy drawn.npy --json");
    let values = read_npy(&place.path("drawn.npy")).unwrap();
    let values = values.flatten_all().unwrap().to_dtype(DType::U32).unwrap();
    let picture = image::open(place.path("drawn/0.png")).unwrap();
    let picture = picture.as_rgb16().unwrap();
    let expected = values.to_vec1::<u32>().unwrap();
    for (channel, plane) in expected.chunks(16).enumerate() {
        for (pixel, value) in picture.pixels().zip(plane) {
            assert_eq!(u32::from(pixel.0[channel]), *value);
        }
    }
    place.json("score drawn/0.png --model deep --json");
    let inside = "train --config deep/run.toml --out scans/run";
    place.fails(inside, &["scans/run", "inside", "choose another folder"]);
    assert!(!place.path("scans/run").exists());
    let shallow = place.run("eval --model run --data folder:scans,side=4");
    let error = String::from_utf8(shallow.stderr).unwrap();
    assert!(
        error.contains("16 bits per channel") && error.contains("depth=16"),
        "{error}"
    );
    let deep = "eval --model run --data folder:scans,side=4,depth=16";
    place.fails(deep, &["256 levels expected, found 65536: use --bits 8"]);
    place
        .json("eval --model run --data folder:scans,side=4,depth=16 --bits 8 --split valid --json");
}
