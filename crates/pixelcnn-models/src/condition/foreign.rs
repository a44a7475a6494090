//! A tokenizer.json of another program: which settings apply, and their limits.

use serde_json::Value;

/// Limit on the number of tokens, as in [`CaptionConfig`](super::CaptionConfig).
const MOST_TOKENS: u64 = 1 << 24;
/// Limit on the bytes of a text around tokens or for an unknown token.
const MOST_AROUND: usize = 1024;
/// Limit on the bytes of a text after normalisation.
const MOST_NORMALISED: usize = 32 << 20;
/// Most bytes that NFKD and similar forms make from one byte.
const DECOMPOSED: usize = 18;

/// Removes settings of a tokenizer that would change the tokens of a text, so that
/// the result is always the tokens of the whole text and nothing
/// else.
///
/// Removed are truncation, padding, special tokens around texts
/// (`post_processor`), the `decoder`, and the probability of leaving out merges
/// in a BPE model (`dropout`).
pub(super) fn without_additions(mut settings: Value) -> Result<Value, String> {
    let Some(parts) = settings.as_object_mut() else {
        return Err("an object expected".to_string());
    };
    for name in ["truncation", "padding", "post_processor", "decoder"] {
        if let Some(part) = parts.get_mut(name) {
            *part = Value::Null;
        }
    }
    let model = parts.get_mut("model").and_then(Value::as_object_mut);
    let Some(model) = model else {
        return Err("model: an object expected".to_string());
    };
    model.remove("dropout");
    for name in [
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
    ] {
        let length = model.get(name).and_then(Value::as_str).map_or(0, str::len);
        if length > MOST_AROUND {
            let what = format!("{length} bytes, at most {MOST_AROUND} expected");
            return Err(format!("model.{name}: {what}"));
        }
    }
    if let Some(Value::Object(vocabulary)) = model.get("vocab") {
        let beyond = |id: &Value| id.as_u64().is_none_or(|id| id >= MOST_TOKENS);
        if let Some((token, id)) = vocabulary.iter().find(|(_, id)| beyond(id)) {
            let what = format!("a number below {MOST_TOKENS} expected, found {id}");
            return Err(format!("model.vocab, {}: {what}", shortened(token)));
        }
    }
    Ok(settings)
}

/// The longest allowed text, so that the normalised text stays below its limit: each
/// byte can become several bytes.
pub(super) fn longest_text(settings: &Value, most: usize) -> usize {
    let parts = [settings.get("normalizer"), settings.get("pre_tokenizer")];
    let growth = parts.into_iter().flatten().map(growth);
    let growth = growth.fold(DECOMPOSED, usize::saturating_mul);
    most.min(MOST_NORMALISED / growth)
}

/// By which factor a step, or the steps in it, can lengthen a text.
fn growth(step: &Value) -> usize {
    match step {
        Value::Array(steps) => steps.iter().map(growth).fold(1, usize::saturating_mul),
        Value::Object(settings) => {
            let of = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("content" | "prepend" | "replacement", Value::String(text)) => 1 + text.len(),
                ("precompiled_charsmap", Value::String(text)) => 1 + longest_replacement(text),
                ("pattern", _) => 1,
                (_, within) => growth(within),
            };
            settings.iter().map(of).fold(1, usize::saturating_mul)
        }
        _ => 1,
    }
}

/// The longest replacement text in a precompiled table of characters, in base64.
/// The table has the number of bytes of its trie (four bytes), the
/// trie, and the texts, each ended by a zero.
fn longest_replacement(table: &str) -> usize {
    let bytes = base64(table);
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return 0;
    };
    let texts = rest.get(u32::from_le_bytes(*length) as usize..);
    let texts = texts.unwrap_or(rest).split(|byte| *byte == 0);
    texts.map(<[u8]>::len).max().unwrap_or(0)
}

/// Decodes base64; invalid digits are ignored, because the library refuses them
/// later.
fn base64(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter_map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    });
    let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0u32, 0);
    for digit in digits {
        buffer = (buffer << 6) | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    bytes
}

/// The beginning of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    let mut beginning: String = text.chars().take(60).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    format!("{beginning:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn base64_is_that_of_its_definition() {
        assert_eq!(base64("TWFu"), b"Man");
        assert_eq!(base64("TWE="), b"Ma");
        assert_eq!(base64(""), b"");
    }

    #[test]
    fn growth_is_that_of_all_steps_together() {
        let replace = |content: &str| json!({"type": "Replace", "content": content});
        let sequence =
            json!({"normalizers": [replace("abc"), {"type": "Lowercase"}, replace("d")]});
        assert_eq!(growth(&sequence), 8);
        // An empty trie, then "ab" and "abc".
        let table = json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAGFiAGFiYwA="});
        assert_eq!(growth(&table), 4);
        let huge = json!({"normalizer": replace(&"x".repeat(1 << 20)), "model": {}});
        assert_eq!(longest_text(&huge, 1000), 1);
        assert_eq!(longest_text(&json!({"normalizer": null}), 1000), 1000);
    }

    #[test]
    fn settings_that_act_are_removed_and_large_numbers_are_refused() {
        let settings = json!({
            "truncation": {"max_length": 2}, "padding": {"pad_id": 7},
            "post_processor": {"type": "TemplateProcessing"},
            "model": {"dropout": 0.5, "vocab": {"a": 1}}
        });
        let clean = without_additions(settings).unwrap();
        let expected = json!({
            "truncation": null, "padding": null, "post_processor": null,
            "model": {"vocab": {"a": 1}}
        });
        assert_eq!(clean, expected);
        for (model, part) in [
            (
                json!({"vocab": {"a": 4_000_000_000u64}}),
                "model.vocab, \"a\"",
            ),
            (json!({"vocab": {"a": -1}}), "model.vocab, \"a\""),
            (
                json!({"continuing_subword_prefix": "#".repeat(2000)}),
                "2000 bytes",
            ),
            (json!(7), "model: an object"),
        ] {
            let error = without_additions(json!({"model": model})).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
