//! Finds the place of a mistake in a configuration.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::RunConfig;

/// Replaces words of the library by those that users know.
const WORDS: [(&str, &str); 8] = [
    (" as i128", ""),
    ("expected usize", "expected a whole number, at least 0"),
    ("expected u64", "expected a whole number from 0 to 2^64 - 1"),
    ("expected f64", "expected a number"),
    (
        "expected internally tagged enum",
        "expected a table with `kind`, of",
    ),
    ("expected dyn Definition", "expected a table with `kind`"),
    ("expected struct", "expected a table, of"),
    ("expected variant identifier", "expected a text"),
];

/// What the library wants where an enum of texts is read.
const A_TEXT: &str = "wanted string or table";

/// Whether the value at `span` is that of this key.
fn is_value_of(text: &str, span: &Range<usize>, key: &str) -> bool {
    let before = text.get(..span.start).unwrap_or_default().trim_end();
    let before = before.strip_suffix('=').unwrap_or_default().trim_end();
    before.ends_with(key)
}

/// The mistake, with its line and column, counted from 1.
pub(crate) fn described(text: &str, error: &toml::de::Error) -> String {
    let lines = error.message().lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let mut message = lines.join(", ");
    for (ours, plain) in WORDS {
        message = message.replace(ours, plain);
    }
    let Some(span) = error.span() else {
        return message;
    };
    let span = narrowed(text, &span, error.message()).unwrap_or(span);
    for (key, words) in [
        ("flips", "`none` or `horizontal`"),
        ("precision", "`f32`, `tf32` or `bf16`"),
    ] {
        if is_value_of(text, &span, key) {
            message = message.replace(A_TEXT, &format!("expected {words} in quotation marks"));
        }
    }
    let message = message.replace(A_TEXT, "expected a text in quotation marks");
    placed(text, &span, message)
}

/// The message, after the line and column of the start of the span.
fn placed(text: &str, span: &Range<usize>, message: String) -> String {
    let Some(before) = text.get(..span.start) else {
        return message;
    };
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[start..].chars().count() + 1;
    format!("line {line}, column {column}: {message}")
}

/// Keys of earlier versions, and their names now.
const OLD_NAMES: [(&[&str], &str); 10] = [
    (&["encoder"], "pretrained_encoder"),
    (&["given"], "condition_files"),
    (&["training", "each"], "images_per_class"),
    (&["training", "rate"], "learning_rate"),
    (&["training", "rates"], "learning_rate_multipliers"),
    (&["training", "clip"], "max_grad_norm"),
    (&["training", "average"], "ema_decay"),
    (&["model", "encoder"], "encoder_maps"),
    (&["model", "conditioning", "encoder"], "encoder_maps"),
    (&["model", "conditioning", "given"], "reduction"),
];

/// The places of all keys of earlier versions, and their present names.
pub(crate) fn old_names(text: &str) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let mut places = Vec::new();
    collect(table.get_ref(), &[], &mut places);
    let said = places.iter().filter_map(|place| {
        let (path, new) = OLD_NAMES.iter().find(|(path, _)| place.path == *path)?;
        let old = path.last()?;
        let message = format!("`{old}` is now called `{new}`");
        Some(placed(text, &place.key, message))
    });
    let said: Vec<_> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// A key of a configuration, with the tables that it is in.
struct Place<'a> {
    path: Vec<&'a str>,
    key: Range<usize>,
    value: &'a DeValue<'a>,
    value_span: Range<usize>,
}

/// Collects the keys of a table and of the tables in it, in the order of the text.
fn collect<'a>(table: &'a DeTable<'a>, path: &[&'a str], places: &mut Vec<Place<'a>>) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let path = [path, &[key.get_ref()]].concat();
        places.push(Place {
            path: path.clone(),
            key: key.span(),
            value: value.get_ref(),
            value_span: value.span(),
        });
        if let DeValue::Table(inner) = value.get_ref() {
            collect(inner, &path, places);
        }
    }
}

/// What a message names.
enum Wanted {
    /// A key that a table must not have.
    Key(String),
    /// A key that a table lacks.
    Missing(String),
    /// A text.
    Text(String),
    /// A number or a boolean, as printed.
    Number(String),
}

impl Wanted {
    fn of(message: &str) -> Option<Self> {
        let named = |before: &str| {
            let (name, _) = message.strip_prefix(before)?.split_once('`')?;
            Some(name.to_string())
        };
        if let Some(key) = named("unknown field `") {
            return Some(Self::Key(key));
        }
        if let Some(key) = named("missing field `") {
            return Some(Self::Missing(key));
        }
        if let Some(value) = named("unknown variant `") {
            return Some(Self::Text(value));
        }
        let mut kinds = ["invalid type: ", "invalid value: "].iter();
        let rest = kinds.find_map(|kind| message.strip_prefix(kind))?;
        match (rest.split_once('"'), rest.split_once('`')) {
            (Some((_, value)), _) => {
                let (value, _) = value.split_once("\", expected")?;
                Some(Self::Text(value.to_string()))
            }
            (None, Some((_, value))) => {
                let (value, _) = value.split_once('`')?;
                Some(Self::Number(value.to_string()))
            }
            _ => None,
        }
    }

    /// Whether a place may be that of the mistake.
    fn fits(&self, place: &Place<'_>) -> bool {
        match (self, place.value) {
            (Self::Key(key), _) => place.path.last() == Some(&key.as_str()),
            (Self::Missing(key), DeValue::Table(table)) => {
                !table.keys().any(|it| it.get_ref() == key.as_str())
            }
            (_, DeValue::Array(array)) => array.iter().any(|it| self.is_value(it.get_ref())),
            (_, value) => self.is_value(value),
        }
    }

    fn is_value(&self, value: &DeValue<'_>) -> bool {
        match (self, value) {
            (Self::Text(wanted), DeValue::String(text)) => text == wanted.as_str(),
            (Self::Number(wanted), DeValue::Integer(number)) => number.as_str() == wanted,
            (Self::Number(wanted), DeValue::Float(number)) => {
                let number = number.as_str().parse::<f64>();
                number.is_ok_and(|number| wanted.parse() == Ok(number))
            }
            (Self::Number(wanted), DeValue::Boolean(truth)) => truth.to_string() == *wanted,
            _ => false,
        }
    }

    /// The key or value to point at.
    fn span(&self, place: &Place<'_>) -> Range<usize> {
        match (self, place.value) {
            (Self::Key(_), _) => place.key.clone(),
            (Self::Text(_) | Self::Number(_), DeValue::Array(array)) => {
                let found = array.iter().find(|it| self.is_value(it.get_ref()));
                found.map_or(place.value_span.clone(), |it| it.span())
            }
            _ => place.value_span.clone(),
        }
    }

    /// Whether the messages before and after a repair show that it was made at the place of the
    /// mistake.
    fn is_mended(&self, before: &str, after: Option<&str>) -> bool {
        let Some(after) = after else {
            return true;
        };
        // A key that was right before it was taken out, or is wrong where it was put in.
        let is_new = match self {
            Self::Key(key) => after.contains(&format!("missing field `{key}`")),
            Self::Missing(key) => after.contains(&format!("unknown field `{key}`")),
            // Another text is as wrong as the first, but only the message on it names it.
            Self::Text(text) => {
                let mut expected = before.to_string();
                for mark in ['"', '`'] {
                    let marked = |text: &str| format!("{mark}{text}{mark}");
                    expected = expected.replace(&marked(text), &marked(&other(text)));
                }
                return after == expected;
            }
            Self::Number(_) => false,
        };
        after != before && !is_new
    }

    /// The configuration without the mistake, if it is at this place: without the key, with
    /// the one that is missing, or with another text.
    fn mended(&self, mut config: Table, path: &[&str]) -> Option<Table> {
        let (last, tables) = path.split_last()?;
        let mut table = &mut config;
        for name in tables {
            table = table.get_mut(*name)?.as_table_mut()?;
        }
        match self {
            Self::Missing(key) => {
                let table = table.get_mut(*last)?.as_table_mut()?;
                table.insert(key.clone(), Value::Table(Table::new()));
            }
            Self::Text(text) => {
                let wrong = match table.get_mut(*last)? {
                    Value::Array(values) => {
                        values.iter_mut().find(|it| it.as_str() == Some(text))?
                    }
                    value => value,
                };
                *wrong = Value::String(other(text));
            }
            _ => {
                table.remove(*last)?;
            }
        }
        Some(config)
    }
}

/// A text that is as wrong as this one.
fn other(text: &str) -> String {
    format!("{text}?")
}

/// The key, value or table within `span` that the message is about. For a table that is
/// read by its `kind`, the error only knows the table, and several places in it may have the
/// key or the value: the place is the one at which another key makes another message.
fn narrowed(text: &str, span: &Range<usize>, message: &str) -> Option<Range<usize>> {
    let wanted = Wanted::of(message)?;
    let config: Table = toml::from_str(text).ok()?;
    let said = |config: Table| {
        RunConfig::deserialize(config)
            .err()
            .map(|it| it.to_string())
    };
    let before = said(config.clone())?;
    let table = DeTable::parse(text).ok()?;
    let mut places = Vec::new();
    collect(table.get_ref(), &[], &mut places);
    let within = |span: &Range<usize>| -> Vec<&Place<'_>> {
        let inside = |place: &&Place<'_>| {
            let found = wanted.span(place);
            wanted.fits(place) && span.start <= found.start && found.end <= span.end
        };
        places.iter().filter(inside).collect()
    };
    let is_cause = |place: &&Place<'_>| {
        let mended = wanted.mended(config.clone(), &place.path);
        mended.is_some_and(|mended| wanted.is_mended(&before, said(mended).as_deref()))
    };
    // The span of a table with a header is that of the header.
    let found = [span.clone(), span.start..text.len()].map(|span| within(&span));
    let cause = found.iter().flatten().find(|place| is_cause(place));
    let likely = match wanted {
        Wanted::Missing(_) => None,
        _ => found.iter().flatten().next(),
    };
    cause.or(likely).map(|place| wanted.span(place))
}

#[cfg(test)]
mod tests {
    use super::OLD_NAMES;
    use crate::RunConfig;

    #[test]
    fn keys_of_earlier_versions_are_refused_with_their_new_names() {
        for (path, new) in OLD_NAMES {
            let key = path.join(".");
            let old = path.last().unwrap();
            let error = said(&format!("seed = 1\n{key} = 1"));
            assert!(error.contains("line 2"), "{error}");
            assert!(
                error.contains(&format!("`{old}` is now called `{new}`")),
                "{error}"
            );
        }
        let error = said("seed = 1\n[training]\nsteps = 3\n  rate = 1e-3");
        assert!(error.contains("line 4, column 3: `rate` is now"), "{error}");
    }

    #[test]
    fn all_keys_of_earlier_versions_are_named_at_once() {
        let error = said("encoder = \"x\"\nseed = 1\n[training]\nclip = 1.0\nrate = 1e-3");
        let expected = "invalid configuration: line 1, column 1: `encoder` is now called \
            `pretrained_encoder`; line 4, column 1: `clip` is now called `max_grad_norm`; \
            line 5, column 1: `rate` is now called `learning_rate`";
        assert_eq!(error, expected);
    }

    fn said(text: &str) -> String {
        RunConfig::parse(text).unwrap_err().to_string()
    }

    const TEXT: &str = r#"seed = 1
data = "photos32"

[model]
kind = "gated-pixelcnn"
image = { channels = 3, height = 32, width = 32, levels = 256 }
first_kernel = 7
kernel = 3
blocks = 2
maps = 6
head = 6

[training]
steps = 10
batch = 2
learning_rate = 1e-3
flips = "none"
optimiser = { kind = "adam" }
max_grad_norm = 1.0
ema_decay = 0.9
validate_every = 5
log_every = 1
"#;

    /// The old text, the new text, the place of the mistake, and a part of the message.
    const MISTAKES: &[(&str, &str, &str, &str)] = &[
        (
            "seed = 1",
            "sed = 1",
            "line 1, column 1",
            "expected one of `seed`, `data`",
        ),
        (
            "steps = 10",
            "  step = 10",
            "line 14, column 3",
            "expected one of `steps`",
        ),
        (
            "steps = 10",
            "steps = \"10\"",
            "line 14, column 9",
            "string \"10\", expected a whole number, at least 0",
        ),
        ("steps = 10", "steps = -10", "line 14, column 9", "-10"),
        // Mistakes in tables that are read by their kind.
        (
            "optimiser = { kind = \"adam\" }",
            "optimiser = \"adam\"",
            "line 18, column 13",
            "expected a table with `kind`",
        ),
        (
            "blocks = 2",
            "block = 2",
            "line 9, column 1",
            "expected one of `image`",
        ),
        (
            "maps = 6",
            "maps = \"six\"",
            "line 10, column 8",
            "string \"six\"",
        ),
        ("maps = 6", "maps = 6.5", "line 10, column 8", "6.5"),
        ("maps = 6", "maps = true", "line 10, column 8", "true"),
        // The table with the mistake, not the one around it.
        (
            "head = 6",
            "head = 6\n[model.conditioning]\nkind = \"class\"",
            "line 12, column 1",
            "missing field `classes`",
        ),
        (
            "head = 6",
            "head = 6\nconditioning = { kind = \"class\" }",
            "line 12, column 16",
            "missing field `classes`",
        ),
        ("head = 6\n", "", "line 4, column 1", "missing field `head`"),
        (
            ", levels = 256",
            "",
            "line 6, column 9",
            "missing field `levels`",
        ),
        (
            "head = 6",
            "head = 6\nconditioning = { kind = \"class\", classes = 3, maps = 6 }",
            "line 12, column 47",
            "unknown field `maps`",
        ),
        (
            "maps = 6",
            "maps = 6\nconditioning = { kind = \"class\", classes = \"gated-pixelcnn\" }",
            "line 11, column 44",
            "string \"gated-pixelcnn\"",
        ),
        (
            "maps = 6",
            "maps = 6\nconditioning = { kind = \"class\", classes = \"class\" }",
            "line 11, column 44",
            "string \"class\"",
        ),
        (
            "width = 32",
            "wide = 32",
            "line 6, column 38",
            "expected one of `channels`",
        ),
        (
            "gated-pixelcnn",
            "pixelmlp",
            "line 5, column 8",
            "`pixelcnn`",
        ),
        (
            "\"adam\"",
            "\"sgd\"",
            "line 18, column 22",
            "expected one of `adam`, `rms-prop`, `muon`",
        ),
        (
            "\"none\"",
            "\"both\"",
            "line 17, column 9",
            "expected `none` or `horizontal`",
        ),
        (
            "\"none\"",
            "true",
            "line 17, column 9",
            "expected `none` or `horizontal` in quotation marks",
        ),
        (
            "batch = 2",
            "batch = 2\nprecision = \"fp16\"",
            "line 16, column 13",
            "unknown variant `fp16`, expected one of `f32`, `tf32`, `bf16`",
        ),
        (
            "batch = 2",
            "batch = 2\nprecision = 16",
            "line 16, column 13",
            "expected `f32`, `tf32` or `bf16` in quotation marks",
        ),
        (
            "kernel = 3\n",
            "kernel = 3\nkernel = 5\n",
            "line 9, column ",
            "duplicate key",
        ),
        ("maps = 6", "maps = ", "line 10, column ", ""),
    ];

    #[test]
    fn mistakes_point_at_their_place() {
        for (from, to, place, part) in MISTAKES {
            assert!(TEXT.contains(*from));
            let error = said(&TEXT.replacen(from, to, 1));
            let start = format!("invalid configuration: {place}");
            assert!(error.starts_with(&start), "{to}: {error}");
            assert!(error.contains(*part), "{to}: {error}");
            assert!(
                !error.contains('\n') && !error.trim_end().ends_with(','),
                "{error}"
            );
        }
    }

    /// A key that is missing at the top is not looked for in [model], which would refuse it.
    #[test]
    fn a_missing_key_at_the_top_is_not_one_of_a_table() {
        let error = said(&TEXT.replace("data = \"photos32\"\n", ""));
        assert!(error.contains("missing field `data`"), "{error}");
        assert!(!error.contains("line 3"), "{error}");
    }

    #[test]
    fn columns_count_characters() {
        let error = said("seed = 1\ndata = \"ä\", \n");
        assert!(error.contains("line 2, column 11"), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        assert!(RunConfig::parse(&format!("\u{feff}{TEXT}")).is_ok());
        let error = said(&format!("\u{feff}{}", TEXT.replace("seed", "sed")));
        assert!(error.contains("line 1, column 1: "), "{error}");
    }
}
