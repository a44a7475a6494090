//! Names of repositories.

use std::fmt;

use crate::HubError;

/// What a repository has.
///
/// ```
/// use pixelcnn_hub::{Kind, Repository};
///
/// assert_eq!(Repository::dataset("ylecun/mnist")?.kind(), Kind::Dataset);
/// # Ok::<(), pixelcnn_hub::HubError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

/// A repository of the hub, and a branch, tag or commit of it.
///
/// The text is `OWNER/NAME`, or `OWNER/NAME@REVISION`; a revision may contain slashes
/// (`refs/pr/1`).
///
/// ```
/// use pixelcnn_hub::Repository;
///
/// let repository = Repository::model("owner/name@refs/pr/1")?;
/// assert_eq!(repository.name(), "owner/name");
/// assert_eq!(repository.revision(), "refs/pr/1");
/// assert_eq!(repository.to_string(), "hf:owner/name@refs/pr/1");
/// assert_eq!(Repository::model("owner/name")?.revision(), "main");
/// # Ok::<(), pixelcnn_hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    kind: Kind,
    name: String,
    revision: String,
}

/// The branch of a name without `@REVISION`.
const MAIN: &str = "main";
/// Longest name of an owner, a repository, or a part of a revision.
const LONGEST: usize = 96;

impl Repository {
    /// The model `OWNER/NAME[@REVISION]`.
    ///
    /// # Errors
    ///
    /// If the text is not such a name.
    pub fn model(text: &str) -> Result<Self, HubError> {
        Self::parse(Kind::Model, text)
    }

    /// The data set `OWNER/NAME[@REVISION]`.
    ///
    /// # Errors
    ///
    /// If the text is not such a name.
    ///
    /// ```
    /// use pixelcnn_hub::Repository;
    ///
    /// assert_eq!(Repository::dataset("ylecun/mnist")?.to_string(), "hf:ylecun/mnist");
    /// # Ok::<(), pixelcnn_hub::HubError>(())
    /// ```
    pub fn dataset(text: &str) -> Result<Self, HubError> {
        Self::parse(Kind::Dataset, text)
    }

    fn parse(kind: Kind, text: &str) -> Result<Self, HubError> {
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, revision),
            None => (text, MAIN),
        };
        let wrong = |why: String| HubError::Name {
            text: text.into(),
            why,
        };
        match name.split_once('/') {
            Some((owner, rest)) if is_name(owner) && is_name(rest) => {}
            _ => {
                let why =
                    "OWNER/NAME or OWNER/NAME@REVISION expected, of letters, digits and . _ -";
                return Err(wrong(why.into()));
            }
        }
        if !revision.split('/').all(is_revision_part) {
            let why = format!("{revision:?} is not a branch, a tag or a commit");
            return Err(wrong(why));
        }
        Ok(Self {
            kind,
            name: name.into(),
            revision: revision.into(),
        })
    }

    /// What the repository has.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `OWNER/NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The same repository at another revision.
    ///
    /// # Errors
    ///
    /// If the revision is not a possible one.
    ///
    /// ```
    /// use pixelcnn_hub::Repository;
    ///
    /// let converted = Repository::dataset("a/b")?.at("refs/convert/parquet")?;
    /// assert_eq!(converted.to_string(), "hf:a/b@refs/convert/parquet");
    /// # Ok::<(), pixelcnn_hub::HubError>(())
    /// ```
    pub fn at(&self, revision: &str) -> Result<Self, HubError> {
        Self::parse(self.kind, &format!("{}@{revision}", self.name))
    }

    /// The revision if it is a full commit, which never changes.
    pub(crate) fn commit(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(&self.revision)
    }
}

/// `hf:OWNER/NAME`, with `@REVISION` unless it is `main`.
impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "hf:{}", self.name)?;
        match self.revision.as_str() {
            MAIN => Ok(()),
            revision => write!(formatter, "@{revision}"),
        }
    }
}

/// A name that cannot leave the folder of the cache, and that the cache can tell from
/// others: it joins owner and name by two hyphens.
fn is_name(text: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    (1..=LONGEST).contains(&text.len())
        && text.chars().all(known)
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
        && !text.contains("--")
        && !text.contains("..")
}

fn is_revision_part(text: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || "._-+".contains(character);
    (1..=LONGEST).contains(&text.len())
        && text.chars().all(known)
        && !text.starts_with('.')
        && !text.contains("..")
}

/// Whether a text is a full commit.
pub(crate) fn is_commit(text: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(text.len(), 40 | 64) && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_cache_are_refused() {
        for text in [
            "",
            "name",
            "a/b/c",
            "/b",
            "a/",
            "../b",
            "a/..",
            "a/b--c",
            ".a/b",
            "a/b c",
            "a/b\u{e9}",
            "a/b@",
            "a/b@/x",
            "a/b@x/",
            "a/b@../../x",
            "a/b@x/../y",
            "a/b@.x",
            "a/b@x y",
            "a/b@x@y",
            "a\\b/c",
            "a/b@x\\y",
            "C:/b",
        ] {
            let error = Repository::model(text).unwrap_err().to_string();
            assert!(error.starts_with("hf:"), "{error}");
        }
    }

    #[test]
    fn names_are_printed_as_they_are_parsed() {
        for text in ["a/b", "uoft-cs/cifar10", "A.1/b_2@v1.0", "a/b@refs/pr/12"] {
            let repository = Repository::dataset(text).unwrap();
            assert_eq!(repository.to_string(), format!("hf:{text}"));
        }
        assert_eq!(Repository::model("a/b@main").unwrap().to_string(), "hf:a/b");
    }
}
