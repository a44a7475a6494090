//! The commands on each kind of conditional model.

use std::fmt::Write;

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::place::{DATA, Place, TEST_IMAGES, beside};

/// A place with a model of each kind, which the first test image suits.
fn places() -> Vec<(&'static str, Place)> {
    let code = |bottleneck: &str| {
        format!(
            "{{ kind = \"code\", length = 3, encoder = [2], bottleneck = {bottleneck}, \
             spatial = {{ maps = 2, hidden = 2 }} }}"
        )
    };
    let gaussian = code(r#"{ kind = "gaussian", weight = 1.0, free_bits = 0.0 }"#);
    let small = r#"{ kind = "image", given = { kind = "shrunk", factor = 2 }, spatial = { maps = 1, hidden = 2 } }"#;
    let plain = |conditioning: &str| Place::with_condition(conditioning, "");
    vec![
        ("class", plain(r#"{ kind = "class", classes = 10 }"#)),
        ("small image", plain(small)),
        ("code", plain(&code(r#"{ kind = "plain" }"#))),
        ("variational code", plain(&gaussian)),
        (
            "vector",
            vectors(r#"{ kind = "vector", length = 3 }"#, &[3]),
        ),
        ("map", vectors(r#"{ kind = "map", maps = 1 }"#, &[1, 8, 8])),
        ("caption", captions()),
        ("embedding", embedding()),
    ]
}

/// With files of vectors or maps of a shape.
fn vectors(conditioning: &str, shape: &[usize]) -> Place {
    let place = Place::new();
    for (split, count) in [("train", 40), ("valid", 3), ("test", TEST_IMAGES)] {
        let size = count * shape.iter().product::<usize>();
        let numbers: Vec<f32> = (0..size).map(|index| (index as f32).sin()).collect();
        let shape = [&[count], shape].concat();
        let numbers = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        numbers
            .write_npy(place.path(&format!("{split}.npy")))
            .unwrap();
    }
    let given = r#"given = { train = "train.npy", valid = "valid.npy", test = "test.npy" }"#;
    place.train("run", &crate::place::conditional(conditioning, given));
    place
}

fn captions() -> Place {
    let place = Place::new();
    for (split, count) in [("train", 40), ("valid", 3), ("test", TEST_IMAGES)] {
        let mut table = "number\ttext\n".to_string();
        for image in 0..count {
            writeln!(table, "{image}\timage {}", image % 3).unwrap();
        }
        place.write(&format!("{split}.tsv"), &table);
    }
    let conditioning = r#"{ kind = "caption", vocabulary = 60, embedding = 2, length = 2 }"#;
    let config = crate::place::conditional(conditioning, "");
    place.train(
        "run",
        &config.replace(DATA, &format!("{DATA},captions=text")),
    );
    place
}

fn embedding() -> Place {
    let place = Place::new();
    // The three validation images have three labels.
    let network = beside("embedding", "length = 3\nmargin = 0.5")
        .replace("valid=valid.bin", "valid=train.bin")
        .replace("batch = 2", "batch = 4\neach = 2");
    place.train("encoder", &network);
    let conditioning = r#"{ kind = "embedding", length = 3, encoder = [2] }"#;
    place.train(
        "run",
        &crate::place::conditional(conditioning, "encoder = \"encoder\""),
    );
    place
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_kind_is_described_audited_and_measured() {
    for (name, place) in places() {
        let info = place.json("info --model run --json");
        assert!(
            info["config"]["conditioning"]["kind"].is_string(),
            "{name}: {info}"
        );
        let report = place.json("audit --model run --json");
        assert_eq!(report["sound"], true, "{name}: {report}");
        let result = place.json("eval --model run --shuffled --json");
        let (bits, shuffled) = (number(&result["bits_per_dim"]), &result["shuffled"]);
        let difference = number(&shuffled["bits_per_dim"]) - bits;
        assert!(
            (difference - number(&shuffled["difference"])).abs() < 1e-9,
            "{name}: {result}"
        );
        assert!(number(&shuffled["std_err"]) > 0.0, "{name}: {result}");
        assert_ne!(difference, 0.0, "{name}");
        let divergence = result.get("divergence_bits_per_dim").map(number);
        assert_eq!(divergence.is_some(), name == "variational code", "{result}");
        assert!(divergence.is_none_or(|bits| bits > 0.0), "{result}");
        place.json("sample --model run --images 0,1 --count 2 --out a.png --json");
    }
}

#[test]
fn vectors_of_other_images_are_refused() {
    let place = vectors(r#"{ kind = "vector", length = 3 }"#, &[3]);
    let bits = |flags: &str| {
        let result = place.json(&format!("eval --model run --json {flags}"));
        number(&result["bits_per_dim"])
    };
    assert_eq!(bits("--given test.npy --limit 2"), bits("--limit 2"));
    let more = "eval --model run --given train.npy";
    place.fails(more, &["[5, 3], expected", "found [40, 3]"]);
    place.fails("eval --model run --given valid.npy", &["found [3, 3]"]);
}
