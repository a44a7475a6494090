//! What a checkpoint does not store, as the user gives it.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::ImportError;

/// Settings `key=value` for what a format does not store, such as the size of the images.
///
/// # Example
///
/// ```
/// use pixelcnn_import::Settings;
///
/// let settings = Settings::parse(["height=32", "dilations=1,2"])?;
/// assert!(Settings::parse(["height"]).is_err());
/// assert!(Settings::parse(["height=1", "height=2"]).is_err());
/// # let _ = settings;
/// # Ok::<(), pixelcnn_import::ImportError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Settings from texts `key=value`.
    ///
    /// # Errors
    ///
    /// If a text has no `=`, or a key occurs twice.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, ImportError> {
        let mut all = BTreeMap::new();
        for text in texts {
            let text = text.as_ref();
            let Some((key, value)) = text.split_once('=') else {
                return Err(ImportError::setting(text, "key=value expected"));
            };
            if all.insert(key.to_string(), value.to_string()).is_some() {
                return Err(ImportError::setting(key, "it is set twice"));
            }
        }
        Ok(Self(all))
    }

    /// Refuses keys that a format does not have.
    pub(crate) fn check(&self, known: &[&str]) -> Result<(), ImportError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let why = format!("this format has the settings {}", known.join(", "));
                Err(ImportError::setting(key, why))
            }
        }
    }

    /// A whole number, or its default.
    pub(crate) fn number(&self, key: &str, default: usize) -> Result<usize, ImportError> {
        let Some(text) = self.0.get(key) else {
            return Ok(default);
        };
        parsed(key, text)
    }

    /// A list of whole numbers with commas between them, if it is set.
    pub(crate) fn list(&self, key: &str) -> Result<Option<Vec<usize>>, ImportError> {
        let Some(text) = self.0.get(key) else {
            return Ok(None);
        };
        let parts = text.split(',').map(|part| parsed(key, part));
        parts.collect::<Result<_, _>>().map(Some)
    }
}

fn parsed<T: FromStr>(key: &str, text: &str) -> Result<T, ImportError> {
    text.trim().parse().map_err(|_| {
        let text = pixelcnn_system::escaped(text);
        ImportError::setting(key, format!("a whole number expected, found {text}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_are_read_and_mistakes_are_named() {
        let settings = Settings::parse(["height=7", "dilations=1, 2,4", "width=x"]).unwrap();
        assert_eq!(settings.number("height", 28).unwrap(), 7);
        assert_eq!(settings.number("levels", 2).unwrap(), 2);
        assert_eq!(settings.list("dilations").unwrap(), Some(vec![1, 2, 4]));
        let error = settings.number("width", 1).unwrap_err().to_string();
        assert_eq!(error, "--set width: a whole number expected, found x");
        let error = settings
            .check(&["height", "width"])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "--set dilations: this format has the settings height, width"
        );
        let error = Settings::parse(["width=1", "width=1"]).unwrap_err();
        assert_eq!(error.to_string(), "--set width: it is set twice");
        assert!(Settings::parse(["width"]).is_err());
    }
}
