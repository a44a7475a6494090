//! The JSON of every command is what docs/json.md says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::test_folder::{DATA, TestFolder, beside};

/// The fields of each command and their types.
fn documented() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut all = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
    let mut command = String::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            command = name.to_string();
            all.entry(command.clone()).or_default();
        }
        if let Some((field, rest)) = line
            .strip_prefix("| `")
            .and_then(|it| it.split_once("` | "))
        {
            let kind = rest.split(" | ").next().unwrap().to_string();
            let fields = all.get_mut(&command).unwrap();
            fields.entry(field.to_string()).or_default().insert(kind);
        }
    }
    let same = all["reconstruct"].clone();
    all.insert("interpolate".to_string(), same);
    all
}

/// Checks a value and its content, and records its fields.
fn check(
    value: &Value,
    name: &str,
    fields: &BTreeMap<String, BTreeSet<String>>,
    seen: &mut BTreeSet<String>,
) {
    for (field, value) in value.as_object().unwrap() {
        let full = match name {
            "" => field.clone(),
            _ => format!("{name}.{field}"),
        };
        let kinds = fields
            .get(&full)
            .unwrap_or_else(|| panic!("{full} is not documented"));
        assert!(
            kinds.iter().any(|kind| is(value, kind)),
            "{full}: {value} is no {kinds:?}"
        );
        seen.insert(full.clone());
        let inner = fields
            .keys()
            .any(|key| key.starts_with(&format!("{full}.")));
        match value {
            Value::Object(_) if inner => check(value, &full, fields, seen),
            Value::Array(all) if inner => all.iter().for_each(|it| check(it, &full, fields, seen)),
            _ => {}
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match (kind.strip_prefix("list of "), value) {
        (_, Value::Null) => true,
        (Some(kind), Value::Array(all)) => all.iter().all(|value| is(value, kind)),
        (Some(_), _) => false,
        (None, _) => match kind {
            "text" => value.is_string(),
            "whole" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "true or false" => value.is_boolean(),
            "object" => value.is_object(),
            _ => panic!("{kind} is no type"),
        },
    }
}

/// The fields that each command has printed.
struct Seen {
    documented: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    fields: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Seen {
    fn run(&mut self, place: &TestFolder, command: &'static str, flags: &str) {
        let output = place.run(&format!("{command} {flags} --json"));
        let result = serde_json::from_slice(&output.stdout);
        let result: Value = result.unwrap_or_else(|_| panic!("{command} {flags}: {output:?}"));
        let seen = self.fields.entry(command).or_default();
        check(&result, "", &self.documented[command], seen);
    }
}

#[test]
fn every_field_is_documented_and_every_documented_field_is_there() {
    let mut seen = Seen {
        documented: documented(),
        fields: BTreeMap::new(),
    };
    conditional(&mut seen);
    beside_pixels(&mut seen);
    archives(&mut seen);
    benches(&mut seen);
    for (command, fields) in &seen.documented {
        let printed = seen.fields.get(command.as_str());
        let missing = |field: &&String| !printed.is_some_and(|printed| printed.contains(*field));
        let missing: Vec<_> = fields.keys().filter(missing).collect();
        assert!(missing.is_empty(), "{command}: {missing:?} are not printed");
    }
}

/// Conditional models.
fn conditional(seen: &mut Seen) {
    let gaussian = r#"{ kind = "code", length = 3, encoder_maps = [2], bottleneck = { kind = "gaussian", weight = 1.0, free_bits = 0.0 } }"#;
    let code = TestFolder::with_condition(gaussian, "");
    for (command, flags) in [
        ("train", "--config model.toml --out run"),
        ("eval", "--model run --shuffled"),
        ("info", "--model run"),
        ("info --versions", ""),
        ("reconstruct", "--model run --index 0 --count 1 --out r.png"),
        (
            "interpolate",
            "--model run --index 0,1 --steps 2 --out i.png",
        ),
        ("embed", "--model run --out h.npy"),
    ] {
        seen.run(&code, command, flags);
    }
    seen.run(&code, "data", DATA);
    code.json("sample --model run --index 0 --count 1 --out-dir each --json");
    seen.run(&code, "score", "each none.png --model run");
    let class = TestFolder::with_condition(r#"{ kind = "class", classes = 10 }"#, "");
    seen.run(
        &class,
        "sample",
        "--model run --label 1 --count 1 --out a.png",
    );
    seen.run(&class, "export", "--model run --out model");
    seen.run(&class, "models", "--runs .");
    seen.run(&class, "classify", "--model run");
    class.json("sample --model run --label 1 --count 1 --out-dir drawn --json");
    seen.run(
        &class,
        "complete",
        "--model run --label 1 --image drawn/0.png --rows 3 --best 2 --out b.png",
    );
    seen.run(
        &crate::import::place(),
        "import",
        "--from uvadlc theirs.safetensors --set dilations=1 --out model",
    );
    seen.run(&class, "audit", "--model run");
    // A model that sees nothing has findings.
    let path = class.path("run/best/model.safetensors");
    let device = candle_core::Device::Cpu;
    let (mut tensors, _) = pixelcnn_models::read_tensors(&path, &device).unwrap();
    let weight = tensors.get_mut("head.logits.weight").unwrap();
    *weight = weight.zeros_like().unwrap();
    pixelcnn_models::write_tensors(&path, &tensors, "").unwrap();
    seen.run(&class, "audit", "--model run");
}

/// Networks without a likelihood.
fn beside_pixels(seen: &mut Seen) {
    let place = TestFolder::new();
    place.train("means", &beside("auto-encoder", "length = 3\nhidden = 2"));
    seen.run(&place, "eval", "--model means");
    place.train("classifier", &beside("classifier", "classes = 10"));
    seen.run(&place, "eval", "--model classifier");
    let network = beside("embedding", "length = 3\nmargin = 0.5")
        .replace("valid=valid.bin", "valid=train.bin")
        .replace("batch = 2", "batch = 4\nimages_per_class = 2");
    place.train("embedding", &network);
    let data = DATA.replace("valid=valid.bin", "valid=train.bin");
    let data = data.replace("test=test.bin", "test=train.bin");
    seen.run(&place, "eval", &format!("--model embedding --data {data}"));
}

/// Archives, and the bench of compression.
fn archives(seen: &mut Seen) {
    let place = TestFolder::with_run();
    place.json("sample --model run --count 2 --out-dir in --json");
    seen.run(&place, "compress", "in --model run --out a.pxc");
    seen.run(&place, "decompress", "a.pxc --model run --out-dir out");
    seen.run(&place, "list", "a.pxc");
    seen.run(&place, "verify", "a.pxc --model run");
    seen.run(&place, "bench codec", "--model run --pictures bench");
}

fn benches(seen: &mut Seen) {
    let place = TestFolder::new();
    for (command, flags) in [
        ("bench train", "--maps 3 --blocks 1 --batch 1 --steps 1"),
        (
            "bench sample",
            "--maps 3 --blocks 1 --batch 1 --repetitions 1",
        ),
        (
            "bench conv",
            "--inputs 1 --outputs 1 --batch 1 --repetitions 1 --alone",
        ),
    ] {
        seen.run(&place, command, flags);
    }
}
