//! The checksums by which the hub names contents.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The checksum of a content, as the hub gives it in an ETag.
#[derive(Clone, Debug)]
pub(crate) enum Checksum {
    /// Of large files: the SHA-256 of the content.
    Sha256(Sha256),
    /// Of files in Git: the SHA-1 of a header with the length, and the content.
    Git(Sha1),
    /// Of other servers: unknown.
    None,
}

impl Checksum {
    /// The checksum that an ETag is, of a content of `size` bytes.
    pub(crate) fn of(etag: &str, size: Option<u64>) -> Self {
        let hexadecimal = etag
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match (hexadecimal, etag.len(), size) {
            (true, 64, _) => Self::Sha256(Sha256::new()),
            (true, 40, Some(size)) => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {size}\0"));
                Self::Git(hash)
            }
            _ => Self::None,
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        !matches!(self, Self::None)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
            Self::None => {}
        }
    }

    /// The checksum of all bytes, in the form of an ETag; None if it is unknown.
    pub(crate) fn finish(self) -> Option<String> {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hash) => Some(text(&hash.finalize())),
            Self::Git(hash) => Some(text(&hash.finalize())),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `git hash-object` and `sha256sum`.
    #[test]
    fn checksums_are_those_of_git_and_of_the_content() {
        for (expected, size) in [
            ("5626abf0f72e58d7a153368ba57db4c673c0e171", Some(4)),
            (
                "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806",
                None,
            ),
        ] {
            let mut checksum = Checksum::of(expected, size);
            assert!(checksum.is_known());
            checksum.update(b"on");
            checksum.update(b"e\n");
            assert_eq!(checksum.finish().unwrap(), expected);
        }
    }

    #[test]
    fn other_etags_are_no_checksums() {
        for (etag, size) in [
            ("5626abf0f72e58d7a153368ba57db4c673c0e171", None),
            ("5d41", Some(4)),
            ("", Some(0)),
        ] {
            assert!(!Checksum::of(etag, size).is_known(), "{etag}");
        }
    }
}
