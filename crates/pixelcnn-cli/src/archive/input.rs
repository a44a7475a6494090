//! The pictures that are compressed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use image::metadata::Orientation;
use pixelcnn_codec::{Metadata, Picture, check_name};
use pixelcnn_data::{Alpha, Depth, PictureFormat, read_picture_as};
use pixelcnn_models::ImageShape;
use pixelcnn_system::{available_memory, counted, escaped, read_file, shown};

use super::png_chunks;
use crate::picture::format_of;

/// What is kept of a file.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Kept {
    /// Also accept JPEG files, pictures that their Exif rotates, and the first picture of
    /// animations: the archive keeps the upright pixels and not the file
    #[arg(long)]
    pixels: bool,
    /// Keep colour profile, gamma and Exif of PNG files
    #[arg(long)]
    keep_metadata: bool,
}

/// A file, and its name in the archive.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Input {
    pub name: String,
    pub path: PathBuf,
}

/// The pictures among some files and folders, each with its name; those of a folder are sorted
/// and have their path in the folder as name.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut all = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => {
                let mut inside = Vec::new();
                let mut others = Vec::new();
                walk(path, "", &mut inside, &mut others)?;
                if let Some(other) = others.first() {
                    let count = counted(others.len(), "file");
                    tracing::warn!(
                        "not compressed, because of other endings than PNG and JPEG: {count}, such \
                         as {other}"
                    );
                }
                if inside.is_empty() {
                    bail!("{}: a folder without PNG or JPEG files", path.display());
                }
                inside.sort();
                all.extend(inside);
            }
            false => all.push(Input {
                name: text(path.file_name().map(Path::new), path)?,
                path: path.clone(),
            }),
        }
    }
    let mut seen = BTreeMap::new();
    for input in &all {
        check_name(&input.name).with_context(|| shown(&input.path))?;
        if let Some(other) = seen.insert(&input.name, &input.path) {
            bail!(
                "{} and {} would both be named {} in the archive: compress a folder that \
                 contains both, or each into its own archive",
                shown(other),
                shown(&input.path),
                escaped(&input.name)
            );
        }
    }
    Ok(all)
}

fn walk(folder: &Path, prefix: &str, all: &mut Vec<Input>, others: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = text(path.file_name().map(Path::new), &path)?;
        let name = format!("{prefix}{name}");
        if path.is_dir() && !path.is_symlink() {
            walk(&path, &format!("{name}/"), all, others)?;
            continue;
        }
        let ending = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        match ["png", "jpg", "jpeg"].contains(&&*ending) {
            true => all.push(Input { name, path }),
            false => others.push(name),
        }
    }
    Ok(())
}

fn text(name: Option<&Path>, path: &Path) -> Result<String> {
    let name = name.and_then(Path::to_str).map(str::to_string);
    name.with_context(|| format!("{}: a name in UTF-8 expected", shown(path)))
}

/// Refuses a model whose images are not those of PNG files.
pub(crate) fn check_model(image: ImageShape) -> Result<()> {
    let levels = [Depth::Eight, Depth::Sixteen].map(Depth::levels);
    if ![1, 3].contains(&image.channels) || !levels.contains(&image.levels) {
        bail!(
            "PNG files have 1 or 3 channels of 256 or 65536 levels, but the model has {} of {}; \
             the crate pixelcnn-codec compresses any values",
            image.channels,
            image.levels
        );
    }
    Ok(())
}

impl Input {
    /// Reads the picture for a model of these images.
    pub(crate) fn read(&self, image: ImageShape, kept: Kept) -> Result<Picture> {
        let metadata = self.metadata(image, kept)?;
        let format = PictureFormat {
            alpha: Alpha::Refused,
            ..format_of(image)
        };
        let values = read_picture_as(&self.path, &format)?;
        let (_, _, height, width) = values.dims4()?;
        Ok(Picture {
            name: self.name.clone(),
            height,
            width,
            values: self.values(&values, image.channels)?,
            metadata,
        })
    }

    /// Refuses files whose pixels are not all that they have, unless the pixels are meant.
    fn metadata(&self, image: ImageShape, kept: Kept) -> Result<Vec<Metadata>> {
        let path = self.path.display();
        let most = available_memory().unwrap_or(u64::MAX);
        let file = read_file(&self.path, most).with_context(|| format!("cannot read {path}"))?;
        let is_jpeg = file.starts_with(&[0xff, 0xd8, 0xff]);
        let chunks = match is_jpeg {
            true => Vec::new(),
            false => png_chunks::kept(&file),
        };
        let rotated = chunks.iter().any(|chunk| {
            let orientation = Orientation::from_exif_chunk(&chunk.bytes);
            chunk.tag == *b"eXIf"
                && orientation.is_some_and(|turn| turn != Orientation::NoTransforms)
        });
        if !kept.pixels {
            if is_jpeg {
                bail!(
                    "{path}: a JPEG file; its pixels without loss need more bytes than the file: \
                     use --pixels if only its pixels matter"
                );
            }
            if rotated {
                bail!(
                    "{path}: its Exif says that the picture is rotated: use --pixels to compress \
                     the upright pixels"
                );
            }
            if png_chunks::has_more_pictures(&file) {
                bail!(
                    "{path}: an animation; an archive keeps one picture of a file: use --pixels \
                     to compress the first one"
                );
            }
        }
        if !kept.keep_metadata {
            return Ok(Vec::new());
        }
        if is_jpeg || rotated {
            bail!("{path}: --keep-metadata keeps those of upright PNG files only");
        }
        let has_profile = chunks.iter().any(|chunk| chunk.tag == *b"iCCP");
        let (of, made) = match (png_chunks::is_grey(&file), image.channels) {
            (true, 3) => ("grey", "RGB"),
            (false, 1) => ("RGB", "grey"),
            _ => return Ok(chunks),
        };
        if has_profile {
            bail!(
                "{path}: its colour profile is for {of} pixels, but this model makes them {made}: \
                 omit --keep-metadata"
            );
        }
        Ok(chunks)
    }

    /// `[row, column, channel]` from red, green and blue planes.
    fn values(&self, planes: &Tensor, channels: usize) -> Result<Vec<u16>> {
        let pixels = planes.permute((0, 2, 3, 1))?.to_dtype(DType::U32)?;
        let pixels = pixels.flatten_all()?.to_vec1::<u32>()?;
        let pixels = pixels.into_iter().map(|value| value as u16);
        let values: Vec<u16> = pixels.collect();
        if channels == 3 {
            return Ok(values);
        }
        let (colours, _) = values.as_chunks::<3>();
        if colours
            .iter()
            .any(|[red, green, blue]| red != green || green != blue)
        {
            bail!(
                "{}: it has colours, but the model is grey",
                self.path.display()
            );
        }
        Ok(colours.iter().map(|[grey, ..]| *grey).collect())
    }
}

#[cfg(test)]
mod tests {
    use png::ColorType;
    use png::chunk::ChunkType;

    use super::*;

    /// What is kept of a PNG file with this many pictures and a colour profile, for a model of
    /// this many channels.
    fn kept(
        colour: ColorType,
        pictures: u32,
        channels: usize,
        kept: Kept,
    ) -> Result<Vec<Metadata>> {
        let mut file = tempfile::NamedTempFile::new()?;
        let mut encoder = png::Encoder::new(&mut file, 2, 1);
        encoder.set_color(colour);
        if pictures > 1 {
            encoder.set_animated(pictures, 0)?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_chunk(ChunkType(*b"iCCP"), b"profile")?;
        for _ in 0..pictures {
            writer.write_image_data(&[0; 6][..2 * colour.samples()])?;
        }
        writer.finish()?;
        let input = Input {
            name: "a.png".into(),
            path: file.path().into(),
        };
        let image = ImageShape {
            channels,
            height: 1,
            width: 1,
            levels: 256,
        };
        input.metadata(image, kept)
    }

    #[test]
    fn animations_are_refused_unless_their_first_picture_is_meant() {
        let found = |pictures, pixels| {
            let flags = Kept {
                pixels,
                keep_metadata: false,
            };
            kept(ColorType::Rgb, pictures, 3, flags)
        };
        assert!(found(1, false).is_ok() && found(2, true).is_ok());
        let error = found(2, false).unwrap_err().to_string();
        assert!(error.contains("an animation") && error.contains("--pixels"));
    }

    #[test]
    fn profiles_for_other_colours_than_those_of_the_model_are_refused() {
        let flags = Kept {
            pixels: false,
            keep_metadata: true,
        };
        let (grey, rgb) = (ColorType::Grayscale, ColorType::Rgb);
        for (colour, channels) in [(grey, 1), (rgb, 3)] {
            let chunks = kept(colour, 1, channels, flags).unwrap();
            assert_eq!(chunks.len(), 1);
        }
        for (colour, channels, part) in [
            (grey, 3, "is for grey pixels, but this model makes them RGB"),
            (rgb, 1, "is for RGB pixels, but this model makes them grey"),
        ] {
            let error = kept(colour, 1, channels, flags).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
