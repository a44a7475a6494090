//! The commands on each kind of conditional model.

use std::fmt::Write;

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::test_folder::{DATA, TEST_IMAGES, TestFolder, beside};

/// A folder with a model of each kind that fits the first test image.
fn places() -> Vec<(&'static str, TestFolder)> {
    let code = |bottleneck: &str| {
        format!(
            "{{ kind = \"code\", length = 3, encoder_maps = [2], bottleneck = {bottleneck}, \
             spatial = {{ maps = 2, hidden = 2 }} }}"
        )
    };
    let gaussian = code(r#"{ kind = "gaussian", weight = 1.0, free_bits = 0.0 }"#);
    let small = r#"{ kind = "image", reduction = { kind = "shrunk", factor = 2 }, spatial = { maps = 1, hidden = 2 } }"#;
    let plain = |conditioning: &str| TestFolder::with_condition(conditioning, "");
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

/// With files of vectors or maps of this shape.
fn vectors(conditioning: &str, shape: &[usize]) -> TestFolder {
    let place = TestFolder::new();
    for (split, count) in [("train", 40), ("valid", 3), ("test", TEST_IMAGES)] {
        let size = count * shape.iter().product::<usize>();
        let numbers: Vec<f32> = (0..size).map(|index| (index as f32).sin()).collect();
        let shape = [&[count], shape].concat();
        let numbers = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        numbers
            .write_npy(place.path(&format!("{split}.npy")))
            .unwrap();
    }
    let given =
        r#"condition_files = { train = "train.npy", valid = "valid.npy", test = "test.npy" }"#;
    place.train("run", &crate::test_folder::conditional(conditioning, given));
    place
}

/// Changed files of a run are refused unless the user names them. Files of other splits are
/// not needed.
#[test]
fn files_of_vectors_are_those_that_the_run_began_with() {
    let place = vectors(r#"{ kind = "vector", length = 3 }"#, &[3]);
    std::fs::copy(place.path("valid.npy"), place.path("other.npy")).unwrap();
    Tensor::ones((3, 3), candle_core::DType::F32, &Device::Cpu)
        .unwrap()
        .write_npy(place.path("valid.npy"))
        .unwrap();
    let refused = "eval --model run --split valid";
    place.fails(refused, &["data.json", "condition_files.valid", "--vector"]);
    place.line("eval --model run --split valid --vector valid.npy --json");
    place.line("eval --model run --split test --json");
}

fn captions() -> TestFolder {
    let place = TestFolder::new();
    for (split, count) in [("train", 40), ("valid", 3), ("test", TEST_IMAGES)] {
        let mut table = "number\ttext\n".to_string();
        for image in 0..count {
            writeln!(table, "{image}\timage {}", image % 3).unwrap();
        }
        place.write(&format!("{split}.tsv"), &table);
    }
    let conditioning = r#"{ kind = "caption", vocabulary = 60, embedding = 2, length = 2 }"#;
    let config = crate::test_folder::conditional(conditioning, "");
    place.train(
        "run",
        &config.replace(DATA, &format!("{DATA},captions=text")),
    );
    place
}

fn embedding() -> TestFolder {
    let place = TestFolder::new();
    // The three validation images have three labels.
    let network = beside("embedding", "length = 3\nmargin = 0.5")
        .replace("valid=valid.bin", "valid=train.bin")
        .replace("batch = 2", "batch = 4\nimages_per_class = 2");
    place.train("encoder", &network);
    let conditioning = r#"{ kind = "embedding", length = 3, encoder_maps = [2] }"#;
    place.train(
        "run",
        &crate::test_folder::conditional(conditioning, "pretrained_encoder = \"encoder\""),
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
        place.json("sample --model run --index 0,1 --count 2 --out a.png --json");
    }
}

#[test]
fn captions_are_read_by_another_tokenizer() {
    let place = captions();
    let own = place.bytes("run/tokenizer.json");
    let text = String::from_utf8(own.clone()).unwrap();
    let train = |out: &str, flags: &str| {
        format!("train --config model.toml --out {out} --tokenizer {flags} --json")
    };
    std::fs::write(place.path("same.json"), &own).unwrap();
    place.json(&train("same", "same.json"));
    let model = "best/model.safetensors";
    assert_eq!(place.bytes("same/tokenizer.json"), own);
    // The model files differ only in the mark of their run.
    let weights = |run: &str| {
        let (tensors, _) =
            pixelcnn_models::read_tensors(place.path(run).join(model), &candle_core::Device::Cpu)
                .unwrap();
        tensors
            .into_iter()
            .map(|(name, tensor)| {
                let numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                (name, numbers)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(weights("same"), weights("run"));
    // A tokenizer that training would not give: this one keeps capitals.
    let (before, after) = text.split_once("\"normalizer\": {").unwrap();
    let (_, after) = after.split_once('}').unwrap();
    let capitals = format!("{before}\"normalizer\": null{after}");
    place.write("capitals.json", &capitals);
    place.json(&train("capitals", "capitals.json"));
    let kept = place.bytes("capitals/best/tokenizer.json");
    assert_eq!(String::from_utf8(kept).unwrap(), capitals);
    // The run has its own copy, so the original file is not needed.
    std::fs::remove_file(place.path("same.json")).unwrap();
    place.json("sample --model same --caption image --out a.png --json");
    place.fails(&train("none", "missing.json"), &["missing.json"]);
    place.write("broken.json", "{}");
    place.fails(&train("none", "broken.json"), &["broken.json"]);
    let unpadded = text.replace("[PAD]", "[NONE]");
    place.write("unpadded.json", &unpadded);
    place.fails(
        &train("none", "unpadded.json"),
        &["[PAD] expected as token 0"],
    );
    let few = String::from_utf8(place.bytes("model.toml")).unwrap();
    place.write(
        "few.toml",
        &few.replace("vocabulary = 60", "vocabulary = 9"),
    );
    place.write("own.json", &text);
    let few = "train --config few.toml --out none --tokenizer own.json";
    place.fails(few, &["vocabulary", "tokens of own.json, found 9"]);
    let tiny = "train --config tiny.toml --out none --tokenizer own.json";
    place.fails(tiny, &["tokenizer", "does not read captions"]);
    assert!(!place.path("none").exists());
}

#[test]
fn an_embedding_is_written_as_a_model_takes_it() {
    let place = embedding();
    let vectors = |model: &str| {
        place.json(&format!(
            "embed --model {model} --data {DATA} --out a.npy --json"
        ));
        let vectors = Tensor::read_npy(place.path("a.npy")).unwrap();
        vectors.to_vec2::<f32>().unwrap()
    };
    let by_the_encoder = vectors("encoder");
    assert_eq!(by_the_encoder, vectors("run"));
    let square: f32 = by_the_encoder[0].iter().map(|number| number.powi(2)).sum();
    assert!((square - 3.0).abs() < 1e-5, "{square}");
}

#[test]
fn images_of_one_label_teach_no_classes() {
    let place = TestFolder::new();
    let mut bytes = place.bytes("train.bin");
    let record = 1 + 3 * 8 * 8;
    bytes.chunks_mut(record).for_each(|record| record[0] = 0);
    std::fs::write(place.path("train.bin"), bytes).unwrap();
    let class = crate::test_folder::conditional(r#"{ kind = "class", classes = 10 }"#, "");
    let classifier = beside("classifier", "classes = 10");
    for config in [class, classifier] {
        place.write("same.toml", &config);
        place.fails(
            "train --config same.toml --out same",
            &[
                "labels",
                "10 classes expected",
                "40 training images",
                "label 0",
            ],
        );
        assert!(!place.path("same").exists());
    }
}

#[test]
fn vectors_of_other_images_are_refused() {
    let place = vectors(r#"{ kind = "vector", length = 3 }"#, &[3]);
    let bits = |flags: &str| {
        let result = place.json(&format!("eval --model run --json {flags}"));
        number(&result["bits_per_dim"])
    };
    assert_eq!(bits("--vector test.npy --limit 2"), bits("--limit 2"));
    let more = "eval --model run --vector train.npy";
    place.fails(more, &["[5, 3]) expected", "found [40, 3]"]);
    place.fails("eval --model run --vector valid.npy", &["found [3, 3]"]);
}

#[test]
fn flags_without_effect_are_refused() {
    let place = TestFolder::with_run();
    place.fails("sample --model run --index 0 --out a.png", &["--index"]);
    place.fails(
        &format!("sample --model run --data {DATA} --out a.png"),
        &["--data", "--index"],
    );
    place.fails(
        "sample --model run --split valid --out a.png",
        &["--split", "--index"],
    );
    place.train("means", &beside("auto-encoder", "length = 2\nhidden = 2"));
    place.fails("eval --model means --vector none.npy", &["--vector"]);
    let place = TestFolder::with_condition(r#"{ kind = "class", classes = 10 }"#, "");
    place.fails(
        "sample --model run --label 1 --show-condition --out a.png",
        &["--show-condition", "not an image"],
    );
    place.fails(
        "eval --model run --limit 1 --shuffled",
        &["--shuffled", "found 1"],
    );
    assert!(!place.path("a.png").exists());
}

#[test]
fn numbers_that_are_none_are_refused() {
    let place = vectors(r#"{ kind = "vector", length = 3 }"#, &[3]);
    let write = |name: &str, number: f32| {
        let mut numbers = vec![0.5f32; 3 * TEST_IMAGES];
        numbers[7] = number;
        let numbers = Tensor::from_vec(numbers, (TEST_IMAGES, 3), &Device::Cpu).unwrap();
        numbers.write_npy(place.path(name)).unwrap();
    };
    for number in [f32::NAN, f32::INFINITY] {
        write("none.npy", number);
        let parts = ["none.npy", "row 2", "not finite"];
        place.fails("eval --model run --vector none.npy", &parts);
        place.fails("sample --model run --vector none.npy --out a.png", &parts);
    }
}

#[test]
fn a_run_is_found_by_any_path_and_shrinks_its_images() {
    let place = TestFolder::new();
    let config = crate::test_folder::config(4, 2).replace("seed = 1", "seed = 1\nshrink = 2");
    let config = config.replace("height = 8, width = 8", "height = 4, width = 4");
    place.train("run", &config);
    let bits = |arguments: &str| {
        let answer = place.json(&format!("eval {arguments} --json"));
        number(&answer["bits_per_dim"])
    };
    let right = bits("--model run");
    assert_eq!(bits("--model run/best/../best"), right);
    // The command in the model card is the same, and runs in any folder.
    assert_eq!(
        bits(&format!("--model run --data {DATA} --shrink 2")),
        right
    );
    let other = format!("eval --model run --data {DATA} --shrink 4");
    place.fails(&other, &["--shrink 4", "shrinks its images by 2"]);
    let card = String::from_utf8(place.bytes("run/best/README.md")).unwrap();
    let (_, line) = card.split_once("pixelcnn eval --model DIR").unwrap();
    let (arguments, _) = line.split_once('`').unwrap();
    std::fs::rename(place.path("run/best"), place.path("published")).unwrap();
    assert_eq!(bits(&format!("--model published{arguments}")), right);
}

#[test]
fn rates_of_no_weight_are_refused_before_the_folder_is_claimed() {
    let place = TestFolder::new();
    for (rates, part) in [
        ("{ head.logit = 2.0 }", "head.logit"),
        ("{ head = -1.0 }", "positive"),
    ] {
        let rates = rates.replace("head.logit", "\"head.logit\"");
        let line = format!("learning_rate = 1e-2\nlearning_rate_multipliers = {rates}");
        place.write(
            "rates.toml",
            &crate::test_folder::config(4, 2).replace("learning_rate = 1e-2", &line),
        );
        place.fails(
            "train --config rates.toml --out run",
            &["training.learning_rate_multipliers", part],
        );
        assert!(!place.path("run").exists());
    }
}
