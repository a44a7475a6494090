//! Tensors in files, written so that a file is either old or new, never half written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::ModelError;
use crate::tensor_file::TensorFile;

/// The only metadata key of our files, because several keys would be written
/// in random order.
const METADATA: &str = "pixelcnn";

/// Writes `bytes` to `path`, through a temporary file that is synced and
/// renamed.
///
/// # Errors
///
/// If the file cannot be written, or `path` is not a regular file; the old
/// content is then unchanged.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// pixelcnn_models::write_file(&path, b"whole or not at all")?;
/// assert_eq!(std::fs::read(&path)?, b"whole or not at all");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), ModelError> {
    let path = path.as_ref();
    pixelcnn_system::write_file(path, bytes).map_err(io_error(path))
}

/// Writes named tensors and a note to a safetensors file; the same content gives
/// the same bytes.
///
/// # Errors
///
/// If a tensor cannot be read or the file cannot be written.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Tensor};
/// use pixelcnn_models::{read_tensors, write_tensors};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// let bias = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// write_tensors(&path, &BTreeMap::from([("bias".to_string(), bias)]), "a note")?;
/// let (tensors, note) = read_tensors(&path, &Device::Cpu)?;
/// assert_eq!(tensors["bias"].to_vec1::<f32>()?, [1.0, 2.0]);
/// assert_eq!(note.as_deref(), Some("a note"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_tensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, Tensor>,
    note: &str,
) -> Result<(), ModelError> {
    let metadata = HashMap::from([(METADATA.to_string(), note.to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| file_error(path.as_ref(), error))?;
    write_file(path, &bytes)
}

/// Reads the tensors of a safetensors file and the note of [`write_tensors`];
/// files of other programs have no note.
///
/// # Errors
///
/// If the file cannot be read, is damaged or too large for memory, or has number
/// types other than BF16, F16, F32, F64, I64, U32 and U8.
///
/// # Example
///
/// ```
/// use candle_core::Device;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("broken.safetensors");
/// std::fs::write(&path, b"not tensors")?;
/// let error = pixelcnn_models::read_tensors(&path, &Device::Cpu).unwrap_err();
/// assert!(error.to_string().contains("broken.safetensors"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(clippy::type_complexity)]
pub fn read_tensors(
    path: impl AsRef<Path>,
    device: &Device,
) -> Result<(BTreeMap<String, Tensor>, Option<String>), ModelError> {
    let file = TensorFile::open(path.as_ref())?;
    let note = file.note(METADATA);
    Ok((file.tensors(device)?, note))
}

/// The note of [`write_tensors`], without the tensors.
///
/// # Errors
///
/// If the file cannot be read, or its header is damaged or does not match its length.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use pixelcnn_models::{read_note, write_tensors};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// write_tensors(&path, &BTreeMap::new(), "a note")?;
/// assert_eq!(read_note(&path)?.as_deref(), Some("a note"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_note(path: impl AsRef<Path>) -> Result<Option<String>, ModelError> {
    Ok(TensorFile::open(path.as_ref())?.note(METADATA))
}

/// The message for a number type that weights cannot have.
pub(crate) fn wrong_type(found: &str) -> String {
    format!("numbers of type {found}, not BF16, F16, F32 or F64: save them as F32")
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> ModelError {
    move |source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// The text of a small file in UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, ModelError> {
    let bytes = pixelcnn_system::read_file(path, limit).map_err(io_error(path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        file_error(path, format!("byte {at}: not UTF-8"))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}

/// Replaces words of the library by those that users know.
const WORDS: [(&str, &str); 9] = [
    ("expected usize", "expected a whole number, at least 0"),
    ("expected u64", "expected a whole number, at least 0"),
    ("expected f64", "expected a number"),
    (
        "expected internally tagged enum",
        "expected an object with `kind`, of",
    ),
    ("expected dyn Definition", "expected an object with `kind`"),
    ("expected struct", "expected an object, of"),
    ("expected variant identifier", "expected a text"),
    ("a sequence", "a list"),
    ("a map", "an object"),
];

/// An error of a JSON file with its line. If serde has buffered a whole object
/// before the check, it knows only the last line of the object, or none. The line is
/// then that of the quoted text, if the text occurs only once in the file.
pub(crate) fn json_error(path: &Path, text: &str, error: &serde_json::Error) -> ModelError {
    // A syntax error may have been reported as an error of the content.
    let syntax = serde_json::from_str::<IgnoredAny>(text).err();
    let error = syntax.as_ref().unwrap_or(error);
    let message = error.to_string();
    let (what, _) = message.rsplit_once(" at line ").unwrap_or((&message, ""));
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Eof => return file_error(path, "not a valid JSON file: it is incomplete"),
        Category::Syntax => {
            let why = format!("not a valid JSON file: line {line}, column {column}: {what}");
            return file_error(path, why);
        }
        Category::Io | Category::Data => {}
    }
    let quoted = ['`', '"'].into_iter().find_map(|mark| {
        let (_, after) = what.split_once(mark)?;
        after.split_once(mark).map(|(quoted, _)| quoted)
    });
    let line = quoted
        .and_then(|quoted| line_of(text, quoted))
        .unwrap_or(line);
    let mut plain = what.to_string();
    for (theirs, ours) in WORDS {
        plain = plain.replace(theirs, ours);
    }
    match line {
        0 => file_error(path, plain),
        _ => file_error(path, format!("line {line}: {plain}")),
    }
}

/// The line of a word or number, if it occurs only once.
fn line_of(text: &str, word: &str) -> Option<usize> {
    let ends = |byte: Option<&u8>| !byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let whole = |(start, _): &(usize, &str)| {
        let before = start.checked_sub(1).and_then(|at| text.as_bytes().get(at));
        ends(before) && ends(text.as_bytes().get(start + word.len()))
    };
    let mut places = text.match_indices(word).filter(whole);
    match (places.next(), places.next()) {
        (Some((start, _)), None) => Some(1 + text[..start].matches('\n').count()),
        _ => None,
    }
}

pub(crate) fn file_error(path: &Path, why: impl std::fmt::Display) -> ModelError {
    let why = why.to_string();
    // candle appends a backtrace if RUST_BACKTRACE is set.
    let why = why.split("\n   0: ").next().unwrap_or_default();
    ModelError::File {
        path: path.to_path_buf(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_other_types_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        for (name, bytes) in [("F8_E4M3", 1), ("I16", 2), ("F8_E5M2", 1), ("BOOL", 1)] {
            let header = format!(
                r#"{{"a":{{"dtype":"{name}","shape":[2],"data_offsets":[0,{}]}}}}"#,
                2 * bytes
            );
            let mut file = (header.len() as u64).to_le_bytes().to_vec();
            file.extend(header.as_bytes());
            file.resize(file.len() + 2 * bytes, 0);
            std::fs::write(&path, file).unwrap();
            let error = read_tensors(&path, &Device::Cpu).unwrap_err().to_string();
            let expected = format!("tensor a: numbers of type {name}, not BF16, F16, F32 or F64");
            assert!(error.contains(&expected), "{error}");
        }
        let name = |index: usize| {
            format!(r#""t{index}":{{"dtype":"I32","shape":[0],"data_offsets":[0,0]}}"#)
        };
        let header = format!("{{{}}}", (1..10).map(name).collect::<Vec<_>>().join(","));
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        for _ in 0..5 {
            std::fs::write(&path, &file).unwrap();
            let error = read_tensors(&path, &Device::Cpu).unwrap_err().to_string();
            assert!(error.contains("tensor t1: numbers of type I32"), "{error}");
        }
        for (bytes, part) in [
            (file[..file.len() - 1].to_vec(), "or it is damaged"),
            ([&file[..], &[0]].concat(), "does not match its header"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read_tensors(&path, &Device::Cpu).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("JSON"), "{error}");
        }
        std::fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        let error = read_tensors(&path, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("its header has"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_not_read() {
        let error = read_tensors("/dev/zero", &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[test]
    fn errors_of_json_name_the_line_of_their_quote() {
        let line = |text: &str| {
            let error = serde_json::from_str::<crate::ModelConfig>(text).unwrap_err();
            json_error(Path::new("config.json"), text, &error).to_string()
        };
        let image = r#""image": {"channels": 1, "height": 2, "width": 2, "levels": 2}"#;
        for (fields, expected) in [
            (
                "\"blocks\": 1,\n\"mapz\": 2,\n\"head\": 3",
                "line 4: unknown field `mapz`",
            ),
            (
                "\"blocks\": 1,\n\"maps\": \"two\"",
                "line 4: invalid type: string \"two\"",
            ),
            (
                "\"blocks\": -12,\n\"maps\": 2",
                "line 3: invalid value: integer `-12`",
            ),
        ] {
            let text = format!("{{\"kind\": \"pixelcnn\",\n{image},\n{fields}\n}}\n");
            assert!(line(&text).contains(expected), "{}", line(&text));
        }
        for (text, expected) in [
            (
                "{\n\"kind\": \"pixelcnn\"\n\"image\"",
                "config.json: not a valid JSON file: line 3, column 1: expected",
            ),
            (
                "{\"kind\": \"pix",
                "not a valid JSON file: it is incomplete",
            ),
            (
                "{\"kind\": \"pixelcnn\"}",
                "config.json: line 1: missing field `image`",
            ),
            (
                "{\"kind\": \"uniform\", \"image\": {\"channels\": 1.5}}",
                "line 1: invalid type: floating point `1.5`, expected a whole number",
            ),
            (
                "7",
                "line 1: invalid type: integer `7`, expected an object with `kind`",
            ),
        ] {
            assert!(line(text).contains(expected), "{}", line(text));
        }
    }
}
