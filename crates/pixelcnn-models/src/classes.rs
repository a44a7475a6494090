//! The classes of a model.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ModelError;
use pixelcnn_system::escaped;

/// The classes of a class-conditional model or a classifier: their number, or their
/// names in the order of the labels. In a configuration: `classes = 3` or
/// `classes = ["bird", "cat", "dog"]`.
///
/// # Example
///
/// ```
/// use pixelcnn_models::Classes;
///
/// let classes: Classes = serde_json::from_str(r#"["bird", "cat", "dog"]"#)?;
/// assert_eq!(classes.count(), 3);
/// assert_eq!(classes.label("dog")?, 2);
/// assert_eq!(classes.name(1), "cat");
/// let unnamed = Classes::from(3);
/// assert_eq!((unnamed.label("2")?, unnamed.name(2)), (2, "2".to_string()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Classes {
    /// A number of classes without names.
    Count(usize),
    /// The name of each, in the order of the labels.
    Names(Vec<String>),
}

impl Classes {
    /// Number of classes.
    pub fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Names(names) => names.len(),
        }
    }

    /// Their names in the order of the labels; empty if they have no names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Count(_) => &[],
            Self::Names(names) => names,
        }
    }

    /// The name of a label, or its number if it has no name.
    pub fn name(&self, label: u32) -> String {
        let name = self.names().get(label as usize);
        name.cloned().unwrap_or_else(|| label.to_string())
    }

    /// The label for a user's text: the name of a class, or its number from
    /// 0. If a class has a number as its name, numbers are only names.
    ///
    /// # Errors
    ///
    /// If there is no such class; the message lists the classes.
    pub fn label(&self, text: &str) -> Result<u32, ModelError> {
        let named = self.names().iter().position(|name| name == text);
        let numbers = self
            .names()
            .iter()
            .any(|name| name.parse::<usize>().is_ok());
        let number = || match numbers {
            // "0" beside classes "1" to "12" is a mistake, not the first class.
            true => None,
            false => text.parse().ok().filter(|label| *label < self.count()),
        };
        match named
            .or_else(number)
            .and_then(|label| u32::try_from(label).ok())
        {
            Some(label) => Ok(label),
            None => Err(ModelError::invalid(
                "label",
                format!("{self} expected, found {text:?}"),
            )),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        let mut seen = BTreeSet::new();
        for name in self.names() {
            if name.trim().is_empty() || !seen.insert(name) {
                let why = format!("different names that are not blank expected, found {name:?}");
                return Err(ModelError::invalid("classes", why));
            }
        }
        Ok(())
    }
}

impl From<usize> for Classes {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

/// The expected labels, for error messages; only the first of very many names.
impl fmt::Display for Classes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "a number below {count}"),
            Self::Names(names) => write!(formatter, "one of {}", listed(names)),
        }
    }
}

/// A list of names for messages.
pub(crate) fn listed(names: &[String]) -> String {
    const MOST: usize = 30;
    let first = escaped(&names[..names.len().min(MOST)].join(", "));
    match names.len().checked_sub(MOST) {
        Some(more @ 1..) => format!("{first} and {more} more"),
        _ => first,
    }
}

impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClassesVisitor)
    }
}

struct ClassesVisitor;

impl<'de> Visitor<'de> for ClassesVisitor {
    type Value = Classes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number of classes or a list of their names")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Classes, E> {
        let count = usize::try_from(count);
        count
            .map(Classes::Count)
            .map_err(|_| E::custom("too many classes"))
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Classes, E> {
        match u64::try_from(count) {
            Ok(count) => self.visit_u64(count),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Classes, A::Error> {
        let mut found = Vec::new();
        while let Some(name) = names.next_element()? {
            found.push(name);
        }
        Ok(Classes::Names(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_before_a_number() {
        let names = ["2", "10", "1"].map(String::from).to_vec();
        let classes = Classes::Names(names);
        assert_eq!(classes.label("2").unwrap(), 0);
        assert_eq!(classes.label("10").unwrap(), 1);
        for other in ["0", "3"] {
            let error = classes.label(other).unwrap_err().to_string();
            let part = format!("one of 2, 10, 1 expected, found {other:?}");
            assert!(error.contains(&part), "{error}");
        }
        let named = Classes::Names(["ant", "bee"].map(String::from).to_vec());
        assert_eq!(named.label("1").unwrap(), 1);
        let error = Classes::from(3).label("3").unwrap_err().to_string();
        assert!(error.contains("a number below 3"), "{error}");
    }

    #[test]
    fn both_forms_are_read_and_written() {
        for text in ["3", r#"["a","b"]"#] {
            let classes: Classes = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&classes).unwrap(), text);
        }
        for text in ["-1", "1.5", "\"a\"", "[1]", "{}"] {
            let error = serde_json::from_str::<Classes>(text).unwrap_err();
            assert!(!error.to_string().contains("variant"), "{error}");
        }
    }

    #[test]
    fn names_cannot_control_the_terminal() {
        let classes = Classes::Names(vec!["a\u{1b}[31m".into(), "b\n".into()]);
        assert_eq!(classes.to_string(), "one of a\\u{1b}[31m, b\\n");
        let error = crate::Model::load("no\u{1b}\n", &candle_core::Device::Cpu).unwrap_err();
        assert!(error.to_string().starts_with("no\\u{1b}\\n/config.json"));
    }

    #[test]
    fn names_differ() {
        for names in [["a", "a"], ["a", " "]] {
            let classes = Classes::Names(names.map(String::from).to_vec());
            assert!(classes.validate().is_err());
        }
    }
}
