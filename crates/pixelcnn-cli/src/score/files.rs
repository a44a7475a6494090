//! Picture files and their values for a model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Depth, read_picture_as};
use pixelcnn_models::ImageShape;

use crate::picture::{format_of, shade};

/// Extensions of pictures, readable or not.
const PICTURES: [&str; 15] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "webp", "bmp", "tif", "tiff", "avif",
    "heic", "heif", "jxl",
];

/// The given files, and the pictures in the given folders and their subfolders, in
/// the order of their names.
pub(super) fn list(paths: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in paths {
        match path.is_dir() {
            true => {
                let before = found.files.len() + found.unreadable.len();
                found.enter(path);
                if found.files.len() + found.unreadable.len() == before {
                    tracing::warn!("{}: no PNG or JPEG files", path.display());
                }
            }
            false => found.files.push(path.clone()),
        }
    }
    found.say_passed_over();
    if found.files.is_empty() && found.unreadable.is_empty() {
        let names: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!("{}: no PNG or JPEG files", names.join(", "));
    }
    Ok(found)
}

/// The files to score.
#[derive(Default)]
pub(super) struct Found {
    pub files: Vec<PathBuf>,
    /// Folders that cannot be read.
    pub unreadable: Vec<(PathBuf, Error)>,
    passed_over: Vec<PathBuf>,
    /// The folders being read, by their real paths: a link may lead back to one.
    inside: Vec<PathBuf>,
}

impl Found {
    fn say_passed_over(&self) {
        if self.passed_over.is_empty() {
            return;
        }
        let names: Vec<_> = self
            .passed_over
            .iter()
            .take(5)
            .map(|path| path.display().to_string())
            .collect();
        let more = match self.passed_over.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        tracing::info!("ignored, not pictures: {}{more}", names.join(", "));
    }

    /// Ignores hidden files, and links that lead back to a parent folder.
    fn enter(&mut self, folder: &Path) {
        let found = folder.canonicalize().map_err(Error::from);
        let (real, paths) = match found.and_then(|real| Ok((real, entries(folder)?))) {
            Ok(found) => found,
            Err(error) => return self.unreadable.push((folder.to_path_buf(), error)),
        };
        if self.inside.contains(&real) {
            return;
        }
        self.inside.push(real);
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match path.is_dir() {
                _ if name.starts_with('.') => {}
                true => self.enter(&path),
                false if is_picture(&path) => self.files.push(path),
                false => self.passed_over.push(path),
            }
        }
        self.inside.pop();
    }
}

/// The content of a folder, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        paths.push(entry.with_context(unreadable)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let end = path.extension().unwrap_or_default().to_string_lossy();
    PICTURES.iter().any(|known| end.eq_ignore_ascii_case(known))
}

/// The values `[1, c, h, w]` of a picture, unchanged. A picture that cannot
/// be an image of the model is refused.
pub(super) fn read(path: &Path, image: ImageShape) -> Result<Tensor> {
    let format = format_of(image);
    let values = read_picture_as(path, &format);
    let values = match format.depth {
        Depth::Sixteen => {
            values.context("the model has 65536 levels and needs 16-bit PNG files")?
        }
        _ => values?,
    };
    let values = match image.channels {
        1 => grey(&values)?,
        _ => values,
    };
    levels(values, image.levels)
}

fn grey(values: &Tensor) -> Result<Tensor> {
    let planes = values.get(0)?.flatten_from(1)?.to_dtype(DType::U32)?;
    let planes = planes.to_vec2::<u32>()?;
    if planes[0] != planes[1] || planes[0] != planes[2] {
        bail!(
            "the picture is in colour, but the model's images are grey: convert it to grey first"
        );
    }
    Ok(values.narrow(1, 0, 1)?)
}

/// Converts shades back to the values that are drawn with these shades.
fn levels(values: Tensor, levels: usize) -> Result<Tensor> {
    if levels == 1 << 8 || levels == 1 << 16 {
        return Ok(values);
    }
    if levels > 1 << 8 {
        bail!(
            "a picture has 256 or 65536 levels, but the model's images have {levels}, so it \
             cannot be scored: use `pixelcnn eval` with a data set"
        );
    }
    let mut table = [None; 256];
    for value in 0..levels as u32 {
        table[usize::from(shade(value, levels))] = Some(value);
    }
    let shades = values.flatten_all()?.to_vec1::<u8>()?;
    let mut found = Vec::with_capacity(shades.len());
    for shade in shades {
        let Some(value) = table[usize::from(shade)] else {
            bail!(
                "the picture has the shade {shade}, which is not one of the {levels} shades of the \
                 model's images: reduce the picture to these first (for a model of codes, use \
                 `pixelcnn eval` with a data set)"
            );
        };
        found.push(value);
    }
    let found = Tensor::from_vec(found, values.shape(), &Device::Cpu)?;
    Ok(found.to_dtype(DType::U8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_become_the_values_they_were_drawn_from() {
        for count in [2, 3, 4, 7, 100, 255, 256] {
            let shades: Vec<u8> = (0..count as u32).map(|value| shade(value, count)).collect();
            let tensor = Tensor::from_vec(shades, (1, 1, 1, count), &Device::Cpu).unwrap();
            let found = levels(tensor, count).unwrap().flatten_all().unwrap();
            let expected: Vec<u8> = (0..count).map(|value| value as u8).collect();
            assert_eq!(found.to_vec1::<u8>().unwrap(), expected);
        }
        let tensor = Tensor::new(&[[[[7u8]]]], &Device::Cpu).unwrap();
        assert!(
            levels(tensor, 4)
                .unwrap_err()
                .to_string()
                .contains("the shade 7")
        );
    }

    #[test]
    fn folders_are_walked_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("b/c")).unwrap();
        for name in [
            "z.png",
            "a.JPG",
            "notes.txt",
            ".hidden.png",
            "b/c/d.png",
            "b/e.gif",
        ] {
            std::fs::write(path(name), b"").unwrap();
        }
        let found = list(&[folder.path().to_path_buf(), path("notes.txt")]).unwrap();
        let expected = ["a.JPG", "b/c/d.png", "b/e.gif", "z.png", "notes.txt"];
        assert_eq!(found.files, expected.map(path));
        // An unreadable folder does not prevent reading the others.
        let mut found = Found::default();
        found.enter(&path("none"));
        found.enter(&path("b"));
        assert_eq!(found.files, ["b/c/d.png", "b/e.gif"].map(path));
        assert_eq!(found.unreadable[0].0, path("none"));
        std::fs::create_dir(path("empty")).unwrap();
        assert!(list(&[path("empty")]).is_err());
    }
}
