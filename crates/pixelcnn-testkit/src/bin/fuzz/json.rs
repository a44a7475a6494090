//! Mutates JSON as a tree, so that the result is valid JSON and passes the parser.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// A tree with one to three nodes replaced or removed; `parts` are values that the format
/// knows.
pub(crate) fn mutate(random: &mut ChaCha8Rng, seed: &Value, parts: &[Value]) -> Value {
    loop {
        let mut value = seed.clone();
        let changes = [1, 1, 2, 3].choose(random).copied().unwrap_or(1);
        for _ in 0..changes {
            change(random, &mut value, parts);
        }
        if value != *seed {
            return value;
        }
    }
}

fn change(random: &mut ChaCha8Rng, value: &mut Value, parts: &[Value]) {
    let count = nodes(value);
    let mut copied = value.clone();
    let copied = node(&mut copied, random.random_range(0..count)).cloned();
    let Some(target) = node(value, random.random_range(0..count)) else {
        return;
    };
    match random.random_range(0..6) {
        0 | 1 => *target = extreme(random),
        2 | 3 => *target = parts.choose(random).cloned().unwrap_or_default(),
        4 => *target = copied.unwrap_or_default(),
        _ => remove(random, target),
    }
}

fn extreme(random: &mut ChaCha8Rng) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(0.5),
        json!(1e308),
        json!(-0.0),
        json!(u32::MAX),
        json!(1_u64 << 32),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(65_536),
        json!(""),
        json!("a"),
        json!("é\0"),
        json!([]),
        json!({}),
        json!([[]]),
        json!("x".repeat(300)),
    ];
    values.choose(random).cloned().unwrap_or_default()
}

fn remove(random: &mut ChaCha8Rng, value: &mut Value) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.remove(random.random_range(0..items.len()));
        }
        Value::Object(items) if !items.is_empty() => {
            let keys: Vec<String> = items.keys().cloned().collect();
            if let Some(key) = keys.choose(random) {
                items.remove(key);
            }
        }
        other => *other = Value::Null,
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(items) => items.values().map(nodes).sum(),
        _ => 0,
    }
}

fn node(value: &mut Value, mut number: usize) -> Option<&mut Value> {
    if number == 0 {
        return Some(value);
    }
    number -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(items) => items.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let within = nodes(child);
        if number < within {
            return node(child, number);
        }
        number -= within;
    }
    None
}
