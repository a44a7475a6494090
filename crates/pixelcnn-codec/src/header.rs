//! The first bytes of an archive.

use xxhash_rust::xxh3::xxh3_64;

use crate::bytes::Bytes;
use crate::{CodecError, ModelIdentity};

/// The version of the format that this crate writes.
pub const VERSION: u16 = 1;

/// The version of the arithmetic: that of the engine, and of the tables for the range coder.
pub const ARITHMETIC: u16 = 1;

/// A byte that is no text, the name, and line ends that a transfer as text would change.
const MAGIC: [u8; 8] = *b"\x89PXC\r\n\x1a\n";

/// What is true for a whole archive.
///
/// # Example
///
/// See [`Archive`](crate::Archive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the format.
    pub version: u16,
    /// The version of the arithmetic.
    pub arithmetic: u16,
    /// The model that compressed the tiles.
    pub model: ModelIdentity,
}

impl Header {
    pub(crate) fn new(model: ModelIdentity) -> Self {
        Self {
            version: VERSION,
            arithmetic: ARITHMETIC,
            model,
        }
    }

    /// The bytes, and the checksum at their end, which is the seed of all others.
    pub(crate) fn to_bytes(&self) -> (Vec<u8>, u64) {
        let model = &self.model;
        let name = model.name.as_deref().unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.arithmetic.to_le_bytes());
        bytes.extend(model.hash);
        bytes.push(model.channels as u8);
        bytes.extend(((model.levels - 1) as u16).to_le_bytes());
        bytes.push(name.len() as u8);
        bytes.extend(name.as_bytes());
        let checksum = xxh3_64(&bytes);
        bytes.extend(checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Reads the header; also returns its length and the checksum.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, usize, u64), CodecError> {
        let wrong = |why: &str| Err(CodecError::Archive(why.to_string()));
        if bytes.is_empty() {
            return wrong("it is empty");
        }
        let begins = &MAGIC[..bytes.len().min(MAGIC.len())];
        if !bytes.starts_with(begins) {
            return wrong("it is not an archive of pixelcnn: it begins differently");
        }
        let Some((header, length, checksum)) = parse(bytes) else {
            return wrong(
                "its first bytes are damaged or incomplete; they say which model it needs",
            );
        };
        if header.version != VERSION {
            let found = header.version;
            return wrong(&format!(
                "version {found} of the format, but this program reads version {VERSION}: use a \
                 newer program"
            ));
        }
        if header.arithmetic != ARITHMETIC {
            let found = header.arithmetic;
            return wrong(&format!(
                "it was made with version {found} of the engine's arithmetic, but this program \
                 has version {ARITHMETIC}: use the program that made it"
            ));
        }
        Ok((header, length, checksum))
    }
}

fn parse(bytes: &[u8]) -> Option<(Header, usize, u64)> {
    let mut rest = Bytes(bytes);
    rest.take(MAGIC.len())?;
    let version = u16::from_le_bytes(rest.array()?);
    let arithmetic = u16::from_le_bytes(rest.array()?);
    let hash = rest.array()?;
    let [channels] = rest.array()?;
    let levels = usize::from(u16::from_le_bytes(rest.array()?)) + 1;
    let [name] = rest.array()?;
    let name = String::from_utf8(rest.take(name.into())?.to_vec()).ok()?;
    let checked = bytes.len() - rest.0.len();
    let checksum = u64::from_le_bytes(rest.array()?);
    let model = ModelIdentity {
        hash,
        channels: channels.into(),
        levels,
        name: (!name.is_empty()).then_some(name),
    };
    let header = Header {
        version,
        arithmetic,
        model,
    };
    let sound = xxh3_64(&bytes[..checked]) == checksum && channels > 0 && levels > 1;
    sound.then_some((header, checked + 8, checksum))
}
