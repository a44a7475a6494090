//! `pixelcnn eval`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{read_tensors, write_tensors};
use serde_json::Value;

use crate::test_folder::{DATA, SIDE, TEST_IMAGES, TestFolder, smoke};

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn the_numbers_agree_with_each_other() {
    let place = TestFolder::with_run();
    let result = place.json(&format!("eval --model run --data {DATA} --json"));
    let bits = number(&result["bits_per_dim"]);
    let per_channel = numbers(&result["per_channel"]);
    assert_eq!(per_channel.len(), 3);
    assert!(
        (per_channel.iter().sum::<f64>() / 3.0 - bits).abs() < 1e-9,
        "{result}"
    );
    let dimensions = (3 * SIDE * SIDE) as f64;
    let from_nats = number(&result["nats_per_image"]) / dimensions / std::f64::consts::LN_2;
    assert!((from_nats - bits).abs() < 1e-9, "{result}");
    assert!(number(&result["std_err"]) > 0.0, "{result}");
    assert_eq!(result["images"], TEST_IMAGES);
    assert_eq!(
        (&result["data"], &result["split"]),
        (&DATA.into(), &"test".into())
    );
}

/// The rows of a table by column, without the first, which has the names.
fn columns(table: &str, names: &str) -> Vec<Vec<f64>> {
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(names));
    let rows: Vec<Vec<f64>> = lines
        .map(|line| line.split(',').map(|it| it.parse().unwrap()).collect())
        .collect();
    (0..rows[0].len())
        .map(|at| rows.iter().map(|row| row[at]).collect())
        .collect()
}

#[test]
fn the_table_has_the_score_of_each_image() {
    let place = TestFolder::with_run();
    let eval = format!("eval --model run --data {DATA} --json");
    let result = place.json(&format!("{eval} --csv each.csv --batch 2"));
    let table = String::from_utf8(place.bytes("each.csv")).unwrap();
    let table = columns(&table, "image,bits_per_dim,nats");
    assert_eq!(table[0], [0.0, 1.0, 2.0, 3.0, 4.0]);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / TEST_IMAGES as f64;
    assert!((mean(&table[1]) - number(&result["bits_per_dim"])).abs() < 1e-12);
    assert!((mean(&table[2]) - number(&result["nats_per_image"])).abs() < 1e-9);
    // The rows are in the order of the images.
    for count in 1..=2 {
        let first = place.json(&format!("{eval} --limit {count}"));
        let nats = table[2][..count].iter().sum::<f64>() / count as f64;
        assert!((nats - number(&first["nats_per_image"])).abs() < 1e-2);
    }
    assert!(table[2][0] != table[2][1]);
    let output = place.run(&format!("eval --model run --data {DATA} --csv - --batch 2"));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.into_bytes(), place.bytes("each.csv"));
    place.fails("eval --model run --csv each.png", &["each.csv"]);
}

#[test]
fn the_score_does_not_depend_on_the_batch() {
    let place = TestFolder::with_run();
    let bits = |batch| {
        let result = place.json(&format!(
            "eval --model run --data {DATA} --json --batch {batch}"
        ));
        number(&result["bits_per_dim"])
    };
    let whole = bits(16);
    for batch in [1, 2] {
        assert!((bits(batch) - whole).abs() < 1e-6, "{batch}");
    }
}

#[test]
fn the_validation_score_is_that_of_the_training() {
    let place = TestFolder::with_run();
    let summary = place.json("train --config tiny.toml --out run --json");
    let result = place.json(&format!(
        "eval --model run --data {DATA} --split valid --json"
    ));
    let difference = number(&result["bits_per_dim"]) - number(&summary["valid_score"]);
    assert!(difference.abs() < 1e-6, "{result} {summary}");
    assert_eq!(result["images"], 3);
}

#[test]
fn the_uniform_distribution_takes_eight_bits_on_the_photographs() {
    let place = TestFolder::new();
    place.json(&format!(
        "train --config {} --out run --json",
        smoke("uniform")
    ));
    let result = place.json("eval --model run --json");
    assert_eq!(result["images"], 512);
    assert!(
        (number(&result["bits_per_dim"]) - 8.0).abs() < 1e-12,
        "{result}"
    );
    assert!(
        numbers(&result["per_channel"])
            .iter()
            .all(|bits| (bits - 8.0).abs() < 1e-12)
    );
    assert!(number(&result["std_err"]) < 1e-12, "{result}");
    let line = String::from_utf8(place.run("eval --model run").stdout).unwrap();
    assert!(
        line.starts_with("8.0000 bits/dim on 512 test images of photos32"),
        "{line}"
    );
}

/// Nats of all values, from their logits.
fn nats(tensors: &BTreeMap<String, Tensor>) -> f64 {
    let logits = &tensors["logits"];
    let values = tensors["values"].to_dtype(DType::U32).unwrap();
    let levels = logits.dims()[2];
    // One row of levels for each value.
    let rows = logits
        .permute([0, 1, 3, 4, 2])
        .unwrap()
        .contiguous()
        .unwrap();
    let rows = rows
        .reshape(((), levels))
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap();
    let values = values.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let rows = rows.to_vec2::<f64>().unwrap();
    assert_eq!(rows.len(), values.len());
    let nats = rows.iter().zip(values).map(|(row, value)| {
        let total: f64 = row.iter().map(|logit| logit.exp()).sum();
        total.ln() - row[value as usize]
    });
    nats.sum()
}

/// Makes the logits of different images very different.
fn strengthen(place: &TestFolder, factor: f64) {
    let path = place.path("run/best/model.safetensors");
    let (mut tensors, _) = read_tensors(&path, &Device::Cpu).unwrap();
    for (name, tensor) in &mut tensors {
        if name.ends_with(".weight") {
            *tensor = (&*tensor * factor).unwrap();
        }
    }
    write_tensors(&path, &tensors, "").unwrap();
}

#[test]
fn dumped_logits_give_the_reported_nats() {
    let place = TestFolder::with_run();
    strengthen(&place, 4.0);
    let result = place.json(&format!(
        "eval --model run --data {DATA} --limit 2 --batch 1 --dump-logits logits.safetensors --json"
    ));
    let (tensors, _) = read_tensors(place.path("logits.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["logits", "values"]);
    assert_eq!(tensors["logits"].dims(), [2, 3, 256, SIDE, SIDE]);
    assert_eq!(tensors["values"].dims(), [2, 3, SIDE, SIDE]);
    let record = 1 + 3 * SIDE * SIDE;
    let file = place.bytes("test.bin");
    let expected = [&file[1..record], &file[record + 1..2 * record]].concat();
    assert_eq!(
        tensors["values"]
            .flatten_all()
            .unwrap()
            .to_vec1::<u8>()
            .unwrap(),
        expected
    );
    let (found, reported) = (nats(&tensors) / 2.0, number(&result["nats_per_image"]));
    assert!(
        (found / reported - 1.0).abs() < 1e-5,
        "{found} is not {reported}"
    );
    assert_eq!(result["images"], 2);
}

#[test]
fn maps_are_next_to_their_images() {
    let place = TestFolder::with_run();
    place.json(&format!(
        "eval --model run --data {DATA} --limit 2 --nll-maps maps --zoom 16 --json"
    ));
    let files = std::fs::read_dir(place.path("maps")).unwrap();
    assert_eq!(files.count(), 2);
    let map = image::open(place.path("maps/1.png")).unwrap().to_rgb8();
    // An image of 8 x 8 and its map, each enlarged to 128.
    assert_eq!(map.dimensions(), (2 * 128 + 4, 128));
    // Somewhere an untrained network needs nearly the bits of a uniform distribution.
    let right = (0..128).flat_map(|y| (132..260).map(move |x| (x, y)));
    assert!(
        right
            .into_iter()
            .any(|(x, y)| map.get_pixel(x, y).0[0] > 200)
    );
}

#[test]
fn numbers_that_overflow_are_an_error() {
    let place = TestFolder::with_run();
    strengthen(&place, 1e30);
    let eval = format!("eval --model run --data {DATA}");
    place.fails(&eval, &["run", "overflow"]);
}

#[test]
fn the_data_are_the_runs_own_or_must_be_named() {
    let place = TestFolder::with_run();
    let result = place.json("eval --model run --json");
    assert_eq!(result["data"], DATA);
    // The program finds the run of its best model, but not of a model that was moved.
    let best = place.json("eval --model run/best --json");
    assert_eq!(best["bits_per_dim"], result["bits_per_dim"]);
    std::fs::rename(place.path("run/best"), place.path("alone")).unwrap();
    place.fails("eval --model alone", &["alone", "--data"]);
}
