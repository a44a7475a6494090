//! PyTorch's zip archives: a pickle and the numbers of each tensor.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use pixelcnn_system::guarded;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::ImportError;

/// Limit on the bytes of a pickle.
const LONGEST_PICKLE: u64 = 16 << 20;
/// The end of a zip archive without a comment, with its number of entries at 10.
const END: usize = 22;

/// An open archive.
pub(crate) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// The folder that all entries are in.
    folder: String,
    /// Bytes of the file.
    pub length: u64,
}

/// Whether a file begins like an archive of PyTorch.
pub(crate) fn is_archive(first: &[u8]) -> bool {
    first.starts_with(b"PK\x03\x04")
}

impl Archive {
    pub(crate) fn open(path: &Path) -> Result<Self, ImportError> {
        let mut file = pixelcnn_system::open_file(path).map_err(ImportError::io(path))?;
        let length = file.metadata().map_err(ImportError::io(path))?.len();
        let wrong = |why: String| ImportError::file(path, why);
        check_end(&mut file, length).map_err(wrong)?;
        let opened = guarded(|| ZipArchive::new(BufReader::new(file)).map_err(|it| words(&it)));
        let zip = opened.unwrap_or_else(Err).map_err(wrong)?;
        let folder = folder(&zip).map_err(wrong)?;
        let mut archive = Self {
            zip,
            folder,
            length,
        };
        let byte_order = archive.entry("byteorder", 16);
        match byte_order {
            Ok(order) if order != b"little" => {
                let order = String::from_utf8_lossy(&order).into_owned();
                Err(wrong(format!("numbers in {order} order, little expected")))
            }
            _ => Ok(archive),
        }
    }

    pub(crate) fn pickle(&mut self) -> Result<Vec<u8>, String> {
        self.entry("data.pkl", LONGEST_PICKLE)
    }

    /// The bytes of the numbers of a storage.
    pub(crate) fn numbers(&mut self, key: &str, bytes: u64) -> Result<Vec<u8>, String> {
        let name = format!("data/{key}");
        let found = self.entry(&name, bytes)?;
        match found.len() as u64 == bytes {
            true => Ok(found),
            false => {
                let found = found.len();
                Err(format!("{name}: {bytes} bytes expected, found {found}"))
            }
        }
    }

    /// An entry of at most `limit` bytes. PyTorch does not compress, so a short file cannot
    /// become a long one.
    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, String> {
        let (zip, most) = (&mut self.zip, self.length);
        let path = format!("{}/{name}", self.folder);
        let read = guarded(|| {
            let entry = zip.by_name(&path).map_err(|error| words(&error))?;
            if entry.compression() != CompressionMethod::Stored {
                return Err("it is compressed, which torch.save never does".to_string());
            }
            let length = entry.size();
            if length > limit.min(most) {
                let limit = limit.min(most);
                return Err(format!("it has {length} bytes, at most {limit} expected"));
            }
            let mut bytes = Vec::with_capacity(length as usize);
            let mut part = entry.take(length + 1);
            part.read_to_end(&mut bytes)
                .map_err(|_| "it is damaged: its checksum is wrong".to_string())?;
            match bytes.len() as u64 == length {
                true => Ok(bytes),
                false => Err("it is truncated or damaged".to_string()),
            }
        });
        read.unwrap_or_else(Err)
            .map_err(|why| format!("{name}: {why}"))
    }
}

/// Checks that the file ends as an archive of PyTorch does, without a comment, before the
/// list of its entries is read: the list takes memory for each entry that it announces.
fn check_end(file: &mut File, length: u64) -> Result<(), String> {
    let mut end = [0; END];
    let read = file
        .seek(SeekFrom::Start(length.saturating_sub(END as u64)))
        .and_then(|_| file.read_exact(&mut end))
        .and_then(|()| file.rewind());
    let entries = u16::from_le_bytes([end[10], end[11]]);
    if read.is_err() || !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
        return Err("its end is not that of a zip archive: it is truncated or damaged".into());
    }
    match entries {
        u16::MAX => Err(format!("it has {entries} entries or more")),
        _ => Ok(()),
    }
}

/// The folder of the pickle.
fn folder(zip: &ZipArchive<BufReader<File>>) -> Result<String, String> {
    if zip.has_duplicate_names() {
        return Err("two entries of one name".to_string());
    }
    let mut names = zip.file_names().filter_map(|name| {
        let name = name.ok()?;
        let folder = name.strip_suffix("/data.pkl")?;
        (!folder.contains('/')).then(|| folder.to_string())
    });
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err("a zip archive, but not one of torch.save: it has no data.pkl".into()),
        (Some(_), Some(_)) => Err("two entries data.pkl".to_string()),
    }
}

/// A description of an error in an archive.
fn words(error: &ZipError) -> String {
    match error {
        ZipError::FileNotFound => "it is not in the archive",
        _ => "it is not a zip archive, or it is damaged",
    }
    .to_string()
}
