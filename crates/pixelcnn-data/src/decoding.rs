//! Decoding of many pictures on all cores, a block at a time.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cache::{Index, Sink};
use crate::error::several;
use crate::store::{Coding, Part, Store, Width};
use crate::{DataError, Depth, Images, Loading, OnError, Progress, Split, Values, memory};
use pixelcnn_system::{counted, shown};

/// Bytes of decoded pictures per block: enough work for all cores, and little memory
/// compared with the decoders.
const AT_ONCE: usize = 1 << 24;
/// Maximum number of pictures per block, for frequent progress reports.
const MOST: usize = 1 << 12;

/// A file to decode.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) path: PathBuf,
    pub(crate) label: u32,
    pub(crate) split: Split,
}

/// The shape of decoded images.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Channels, height and width.
    pub(crate) image: (usize, usize, usize),
    pub(crate) depth: Depth,
}

impl Shape {
    fn size(&self) -> usize {
        let (channels, height, width) = self.image;
        channels.saturating_mul(height).saturating_mul(width)
    }

    fn width(&self) -> Width {
        match self.depth {
            Depth::Eight => Width::Byte,
            Depth::Sixteen => Width::Two,
        }
    }

    fn coding(&self) -> Coding {
        Coding::plain(self.width())
    }

    pub(crate) fn image_bytes(&self) -> usize {
        self.size().saturating_mul(self.coding().bytes)
    }
}

/// The pictures of a folder, and how to treat unusable ones.
pub(crate) struct Decoding<'a, F> {
    pub(crate) folder: &'a Path,
    pub(crate) pictures: &'a [Picture],
    pub(crate) shape: Shape,
    pub(crate) on_error: OnError,
    pub(crate) decode: F,
}

impl<F: Fn(&Path) -> Result<Values, DataError> + Sync> Decoding<'_, F> {
    /// Decodes all files and writes the images to `sink` in order. It does not stop at the
    /// first unusable file, so that the error can list all of them.
    pub(crate) fn run(&self, sink: &mut Sink, loading: &Loading) -> Result<(), DataError> {
        let at_once = AT_ONCE / self.shape.image_bytes().max(1);
        let at_once = at_once.clamp(rayon::current_num_threads(), MOST);
        self.reserve(at_once, sink)?;
        let mut unusable: Vec<(&Path, DataError)> = Vec::new();
        let mut done = 0;
        for pictures in self.pictures.chunks(at_once) {
            let decoded: Vec<_> = pictures.par_iter().map(|it| self.decoded(it)).collect();
            for (picture, decoded) in pictures.iter().zip(decoded) {
                match decoded {
                    Ok(values) => sink.push(&values, picture.label, mark(picture.split))?,
                    Err(error) => unusable.push((&picture.path, error)),
                }
            }
            done += pictures.len();
            (loading.progress)(Progress {
                what: "decoding",
                unit: "pictures",
                done,
                of: self.pictures.len(),
            });
        }
        self.say(unusable, sink)
    }

    /// Checks the memory for one block, and for all images if they stay in memory.
    fn reserve(&self, at_once: usize, sink: &mut Sink) -> Result<(), DataError> {
        let (_, height, width) = self.shape.image;
        let image = (self.shape.image_bytes() as u64).saturating_add(4);
        let needed = |count: usize| {
            let what = format!("{} of {height}x{width}", counted(count, "image"));
            (what, image.saturating_mul(count as u64))
        };
        let count = self.pictures.len();
        let (what, bytes) = needed(count.min(at_once));
        memory::check_for(self.folder, what, bytes)?;
        let (what, bytes) = needed(count);
        sink.reserve(self.folder, what, bytes)
    }

    fn decoded(&self, picture: &Picture) -> Result<Values, DataError> {
        let values = (self.decode)(&picture.path)?;
        let kind = matches!(
            (&values, self.shape.width()),
            (Values::U8(_), Width::Byte) | (Values::U16(_), Width::Two)
        );
        match kind && values.len() == self.shape.size() {
            true => Ok(values),
            false => Err(DataError::Picture {
                path: picture.path.clone(),
                reason: "the decoder returned a wrong number or type of values".into(),
            }),
        }
    }

    /// The error for unusable files, or the warning that they are skipped.
    fn say(&self, mut unusable: Vec<(&Path, DataError)>, sink: &mut Sink) -> Result<(), DataError> {
        if unusable.is_empty() {
            return Ok(());
        }
        unusable.sort_by(|one, other| one.0.cmp(other.0));
        let unusable: Vec<DataError> = unusable.into_iter().map(|(_, error)| error).collect();
        if self.on_error == OnError::Refuse || unusable.len() == self.pictures.len() {
            return Err(DataError::Unusable {
                path: self.folder.into(),
                pictures: self.pictures.len(),
                unusable,
            });
        }
        sink.warn(passed_over(self.folder, &unusable));
        Ok(())
    }
}

/// The images of a split among all decoded images.
pub(crate) fn images_of(
    split: Split,
    shape: &Shape,
    kept: &crate::cache::Kept,
) -> Result<Images, DataError> {
    let Index { labels, marks, .. } = &kept.index;
    let own = |index: &usize| marks.get(*index) == Some(&mark(split));
    let indices: Vec<usize> = (0..labels.len()).filter(own).collect();
    let part = Part {
        bytes: kept.bytes.clone(),
        first: 0,
        stride: shape.image_bytes() as u64,
        images: labels.len(),
    };
    let store = Store::new(vec![part], shape.size(), shape.coding());
    let images = Images::from_store(shape.image, store, labels.clone())?;
    Ok(images.subset(&indices))
}

pub(crate) fn mark(split: Split) -> u8 {
    match split {
        Split::Train => 0,
        Split::Valid => 1,
        Split::Test => 2,
    }
}

fn passed_over(folder: &Path, errors: &[DataError]) -> String {
    let verb = match errors.len() {
        1 => "cannot be used and is",
        _ => "cannot be used and are",
    };
    format!(
        "{}: {} {verb} left out:{}",
        shown(folder),
        counted(errors.len(), "picture"),
        several(errors)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_files_are_listed() {
        let error = |index: usize| DataError::Picture {
            path: format!("{index}.png").into(),
            reason: "it is empty".into(),
        };
        let errors: Vec<DataError> = (0..22).map(error).collect();
        let text = passed_over("some".as_ref(), &errors);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 22);
        assert_eq!(
            lines[0],
            "some: 22 pictures cannot be used and are left out:"
        );
        assert!(lines[20].contains("19.png"), "{text}");
        assert_eq!(lines[21], "  and 2 more");
        let text = passed_over("some".as_ref(), &errors[..1]);
        assert!(text.starts_with("some: 1 picture cannot be used and is left out:\n"));
    }
}
