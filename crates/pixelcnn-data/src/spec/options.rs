//! The part after the colon of a spec: a path, then `key=value` after commas.

use std::path::PathBuf;

use super::SplitBy;

/// The path and the options of a spec. Every error is only the reason; the
/// caller adds the spec.
pub(super) struct Options<'a> {
    path: &'a str,
    /// Each option: its text, its key and its value; without a value, the key
    /// again.
    given: Vec<(&'a str, &'a str, &'a str)>,
}

impl<'a> Options<'a> {
    /// Parses `text`; `known` are the possible options, such as
    /// `side=N`, and `needs` is the error for a missing path.
    pub(super) fn read(text: &'a str, needs: &str, known: &[&str]) -> Result<Self, String> {
        let mut parts = text.split(',');
        let path = parts.next().filter(|path| !path.is_empty()).ok_or(needs)?;
        let mut given: Vec<(&str, &str, &str)> = Vec::new();
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, part));
            if value.is_empty() && part != key {
                return Err(format!("{part:?} has no value"));
            }
            // An option without a value if the form has none.
            let is_known = |form: &&str| match form.split_once('=') {
                Some((name, _)) => part != key && name == key,
                None => *form == part,
            };
            if !known.iter().any(is_known) {
                return Err(unknown(part, known));
            }
            if given.iter().any(|&(_, other, _)| other == key) {
                return Err(format!("{part:?} sets an option twice"));
            }
            given.push((part, key, value));
        }
        Ok(Self { path, given })
    }

    /// The path before the options.
    pub(super) fn path(&self) -> PathBuf {
        self.path.into()
    }

    /// The value of an option, if it is given.
    pub(super) fn value(&self, key: &str) -> Option<&'a str> {
        let option = self.given.iter().find(|&&(_, other, _)| other == key);
        option.map(|&(_, _, value)| value)
    }

    /// Whether an option with a single possible value is given.
    pub(super) fn only(&self, key: &str, value: &str) -> Result<Option<()>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(found) if found == value => Ok(Some(())),
            Some(other) => Err(format!("{key}={value} expected, found {key}={other}")),
        }
    }

    /// The option `split=class`.
    pub(super) fn split(&self) -> Result<SplitBy, String> {
        let classes = self.only("split", "class")?;
        Ok(classes.map_or(SplitBy::Image, |()| SplitBy::Class))
    }

    /// The option `side=N`, a number of pixels.
    pub(super) fn side(&self) -> Result<Option<usize>, String> {
        let Some(text) = self.value("side") else {
            return Ok(None);
        };
        let side = text.parse().ok().filter(|&side: &usize| side >= 1);
        let side = side.ok_or_else(|| format!("side={text} is not a number of pixels, 1 or more"));
        side.map(Some)
    }
}

fn unknown(part: &str, known: &[&str]) -> String {
    let what = match known {
        [only] => format!("not {only}"),
        [others @ .., last] => format!("none of {} and {last}", others.join(", ")),
        [] => "no option".into(),
    };
    format!("{part:?} is {what} (a path cannot contain a comma)")
}
