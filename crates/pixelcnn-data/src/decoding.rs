//! Decodes many pictures on all cores into one block of memory.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::several;
use crate::{DataError, Depth, Images, Values};
use pixelcnn_system::{counted, shown};

/// The pictures of a split.
pub(crate) struct Decoding {
    /// The path of each picture.
    paths: Vec<PathBuf>,
    /// The planes of all pictures, concatenated.
    values: Values,
    /// Channels, height and width.
    shape: (usize, usize, usize),
    /// The unusable pictures, with their errors.
    unusable: Vec<(usize, DataError)>,
}

impl Decoding {
    /// Decodes each file into the planes of an image of `shape`. The caller must have
    /// checked the memory.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        shape: (usize, usize, usize),
        depth: Depth,
        decode: impl Fn(&Path) -> Result<Values, DataError> + Sync,
    ) -> Self {
        let (channels, height, width) = shape;
        let size = channels * height * width;
        let count = paths.len() * size;
        let (values, unusable) = match depth {
            Depth::Eight => {
                let mut all = vec![0u8; count];
                let unusable = into_places(&mut all, size, &paths, |path, place| {
                    copied(place, decode(path)?.as_bytes(), path)
                });
                (Values::U8(all), unusable)
            }
            Depth::Sixteen => {
                let mut all = vec![0u16; count];
                let unusable = into_places(&mut all, size, &paths, |path, place| {
                    let values = decode(path)?;
                    let values = match &values {
                        Values::U16(values) => Some(&values[..]),
                        Values::U8(_) => None,
                    };
                    copied(place, values, path)
                });
                (Values::U16(all), unusable)
            }
        };
        Self {
            paths,
            values,
            shape,
            unusable,
        }
    }

    /// Number of unusable files.
    pub(crate) fn unusable(&self) -> usize {
        self.unusable.len()
    }

    /// Number of usable files.
    pub(crate) fn usable(&self) -> usize {
        self.paths.len() - self.unusable.len()
    }

    /// The usable pictures, with a label for each file.
    pub(crate) fn images(self, labels: Vec<u32>) -> Result<Images, DataError> {
        let mut images = Images::from_values(self.shape, self.values, labels)?;
        if !self.unusable.is_empty() {
            let mut unusable = self.unusable.iter().map(|&(index, _)| index).peekable();
            let is_usable = |index: &usize| unusable.next_if_eq(index).is_none();
            let usable: Vec<usize> = (0..self.paths.len()).filter(is_usable).collect();
            images.keep(&usable);
        }
        Ok(images)
    }
}

/// Decodes each file into its place; returns the errors of unusable files.
fn into_places<T: Send>(
    all: &mut [T],
    size: usize,
    paths: &[PathBuf],
    decode: impl Fn(&Path, &mut [T]) -> Result<(), DataError> + Sync,
) -> Vec<(usize, DataError)> {
    let places = all.par_chunks_mut(size).zip(paths).enumerate();
    places
        .filter_map(|(index, (place, path))| Some((index, decode(path, place).err()?)))
        .collect()
}

fn copied<T: Copy>(place: &mut [T], values: Option<&[T]>, path: &Path) -> Result<(), DataError> {
    match values {
        Some(values) if values.len() == place.len() => {
            place.copy_from_slice(values);
            Ok(())
        }
        _ => Err(DataError::Picture {
            path: path.into(),
            reason: "the decoder returned a wrong number or type of values".into(),
        }),
    }
}

/// The error that names all unusable files of a folder.
pub(crate) fn unusable(folder: &Path, splits: &mut [Decoding]) -> DataError {
    let pictures = splits.iter().map(|split| split.paths.len()).sum();
    let mut unusable: Vec<(PathBuf, DataError)> = Vec::new();
    for split in splits {
        let errors = std::mem::take(&mut split.unusable);
        unusable.extend(
            errors
                .into_iter()
                .map(|(index, error)| (split.paths[index].clone(), error)),
        );
    }
    unusable.sort_by(|one, other| one.0.cmp(&other.0));
    DataError::Unusable {
        path: folder.into(),
        pictures,
        unusable: unusable.into_iter().map(|(_, error)| error).collect(),
    }
}

/// Refuses a folder with unusable files.
pub(crate) fn refuse_unusable(folder: &Path, splits: &mut [Decoding]) -> Result<(), DataError> {
    match splits.iter().all(|split| split.unusable() == 0) {
        true => Ok(()),
        false => Err(unusable(folder, splits)),
    }
}

fn passed_over(folder: &Path, errors: &[&DataError]) -> String {
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

/// Leaves out unusable files with a warning that names them; refuses a
/// folder without usable files.
pub(crate) fn skip_unusable(folder: &Path, splits: &mut [Decoding]) -> Result<(), DataError> {
    if splits.iter().all(|split| split.usable() == 0) {
        return Err(unusable(folder, splits));
    }
    let mut errors: Vec<(&PathBuf, &DataError)> = Vec::new();
    for split in &*splits {
        let own = split.unusable.iter();
        errors.extend(own.map(|(index, error)| (&split.paths[*index], error)));
    }
    errors.sort_by_key(|&(path, _)| path);
    let errors: Vec<&DataError> = errors.into_iter().map(|(_, error)| error).collect();
    if !errors.is_empty() {
        tracing::warn!("{}", passed_over(folder, &errors));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_listed() {
        let error = |index: usize| DataError::Picture {
            path: format!("{index}.png").into(),
            reason: "it is empty".into(),
        };
        let errors: Vec<DataError> = (0..22).map(error).collect();
        let errors: Vec<&DataError> = errors.iter().collect();
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
