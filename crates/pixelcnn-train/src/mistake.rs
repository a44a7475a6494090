//! Finds the place of a mistake in a configuration.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

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
    if is_value_of(text, &span, "flips") {
        message = message.replace(A_TEXT, "expected `none` or `horizontal` in quotation marks");
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

/// The place of a key of an earlier version, and its present name.
pub(crate) fn old_name(text: &str) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    OLD_NAMES.iter().find_map(|(path, new)| {
        let (old, tables) = path.split_last()?;
        let mut table = table.get_ref();
        for name in tables {
            table = match table
                .iter()
                .find(|(key, _)| key.get_ref() == name)?
                .1
                .get_ref()
            {
                DeValue::Table(inner) => inner,
                _ => return None,
            };
        }
        let (key, _) = table.iter().find(|(key, _)| key.get_ref() == old)?;
        Some(placed(
            text,
            &key.span(),
            format!("`{old}` is now called `{new}`"),
        ))
    })
}

/// The key or value within `span` that the message names. For a table that is
/// read by its `kind`, the error only knows the table.
fn narrowed(text: &str, span: &Range<usize>, message: &str) -> Option<Range<usize>> {
    let named = |before: &str, end: char| {
        let rest = message.strip_prefix(before)?;
        rest.split_once(end).map(|(name, _)| name.to_string())
    };
    let kinds = ["invalid type: ", "invalid value: "];
    let wanted = if let Some(key) = named("unknown field `", '`') {
        Wanted::Key(key)
    } else if let Some(value) = named("unknown variant `", '`') {
        Wanted::Text(value)
    } else if let Some(rest) = kinds.iter().find_map(|kind| message.strip_prefix(kind)) {
        match (rest.split_once('"'), rest.split_once('`')) {
            (Some((_, value)), _) => Wanted::Text(value.split_once("\", expected")?.0.to_string()),
            (None, Some((_, value))) => Wanted::Number(value.split_once('`')?.0.to_string()),
            _ => return None,
        }
    } else {
        return None;
    };
    let table = DeTable::parse(text).ok()?;
    // The span of a table with a header is that of the header.
    let spans = [span.clone(), span.start..text.len()];
    let mut spans = spans.iter();
    spans.find_map(|span| in_table(table.get_ref(), span, &wanted))
}

enum Wanted {
    Key(String),
    /// A text.
    Text(String),
    /// A number or a boolean, as printed.
    Number(String),
}

fn in_table(table: &DeTable, span: &Range<usize>, wanted: &Wanted) -> Option<Range<usize>> {
    let found = table.iter().filter_map(|(key, value)| {
        let inside = span.start <= key.span().start && key.span().end <= span.end;
        match wanted {
            Wanted::Key(name) if inside && key.get_ref() == name.as_str() => Some(key.span()),
            _ => in_value(value.get_ref(), &value.span(), span, wanted),
        }
    });
    found.min_by_key(|found| found.start)
}

fn in_value(
    value: &DeValue,
    place: &Range<usize>,
    span: &Range<usize>,
    wanted: &Wanted,
) -> Option<Range<usize>> {
    let inside = span.start <= place.start && place.end <= span.end;
    let found = match (value, wanted) {
        (DeValue::Table(table), _) => return in_table(table, span, wanted),
        (DeValue::Array(array), _) => {
            let mut values = array.iter();
            return values.find_map(|value| in_value(value.get_ref(), &value.span(), span, wanted));
        }
        (DeValue::String(text), Wanted::Text(wanted)) => text == wanted.as_str(),
        (DeValue::Integer(number), Wanted::Number(wanted)) => number.as_str() == wanted,
        (DeValue::Float(number), Wanted::Number(wanted)) => {
            let number = number.as_str().parse::<f64>();
            number.is_ok_and(|number| wanted.parse() == Ok(number))
        }
        (DeValue::Boolean(truth), Wanted::Number(wanted)) => truth.to_string() == *wanted,
        _ => false,
    };
    (found && inside).then(|| place.clone())
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
        (
            "head = 6",
            "[model.conditioning]\nkind = \"class\"",
            "line 4, column 1",
            "missing field `classes`",
        ),
        (
            "width = 32",
            "wide = 32",
            "line 6, column 38",
            "expected one of `channels`",
        ),
        (
            "gated-pixelcnn",
            "pixelrnn",
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
