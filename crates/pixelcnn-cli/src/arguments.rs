//! Flags that several commands share, so that a name means the same everywhere.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::Device;
use pixelcnn_data::{DataError, DataSpec, Split};
use pixelcnn_models::Model;

use crate::{device, model, values};

/// The model that a command uses.
#[derive(clap::Args)]
pub(crate) struct ModelFlag {
    #[arg(long, value_name = "MODEL", help = model::HELP)]
    pub model: PathBuf,
}

impl ModelFlag {
    /// The model directory.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        model::find(&self.model)
    }

    /// The model and the device of its tensors.
    pub(crate) fn load(&self, device: &DeviceFlag) -> Result<(Model, Device)> {
        let device = device::parse(&device.device)?;
        Ok((model::load(&self.model, &device)?, device))
    }
}

/// The device that computes the model.
#[derive(clap::Args)]
pub(crate) struct DeviceFlag {
    /// auto, cpu, cuda:N or metal; sampling always runs on the CPU
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
}

/// The data set and the split.
#[derive(clap::Args)]
pub(crate) struct DataFlags {
    /// The data set [default: that of the run]
    #[arg(long, value_name = "SPEC", value_parser = spec,
        long_help = data_help("The data set [default: that of the run]"))]
    pub data: Option<DataSpec>,
    /// The split: train, valid or test [default: test]
    #[arg(long, value_name = "SPLIT", hide_possible_values = true)]
    split: Option<Split>,
}

impl DataFlags {
    pub(crate) fn split(&self) -> Split {
        self.split.unwrap_or(Split::Test)
    }

    /// The first of these flags that is set.
    pub(crate) fn given(&self) -> Option<&'static str> {
        match (&self.data, &self.split) {
            (Some(_), _) => Some("--data"),
            (None, Some(_)) => Some("--split"),
            (None, None) => None,
        }
    }
}

/// Parses a data spec; the error lists the known forms, wrapped for the terminal.
pub(crate) fn spec(text: &str) -> Result<DataSpec, String> {
    text.parse().map_err(|error| match error {
        DataError::UnknownSpec { .. } => {
            format!("unknown data set\nKnown forms:\n{}", forms().trim_end())
        }
        error => error.to_string(),
    })
}

/// The help of `--data`: a first line, then the forms of a data spec.
pub(crate) fn data_help(first: &str) -> String {
    format!("{first}:\n{}", forms())
}

fn forms() -> String {
    let mut text = String::new();
    for (form, what) in DataSpec::FORMS {
        // Longer forms are wrapped before an option.
        let mut length = 0;
        for (index, part) in form.split("[,").enumerate() {
            let part = match index {
                0 => part.to_string(),
                _ => format!("[,{part}"),
            };
            if length + part.len() > FORM {
                text.push_str("\n  ");
                length = 2;
            }
            length += part.len();
            text.push_str(&part);
        }
        text.push('\n');
        let mut line = String::from(" ");
        for word in what.split(' ') {
            if line.len() + 1 + word.len() > FORM {
                text.push_str(&line);
                line = String::from("\n ");
            }
            line = format!("{line} {word}");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Columns for a form, without clap's margin.
const FORM: usize = 68;

/// The random numbers of sampling.
#[derive(clap::Args)]
pub(crate) struct SeedFlag {
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::seed)]
    pub seed: u64,
}

/// The temperature of sampling.
#[derive(clap::Args)]
pub(crate) struct TemperatureFlag {
    /// Divide the logits by this: below 1 gives likelier images
    #[arg(long, default_value_t = 1.0, value_name = "T", value_parser = values::temperature)]
    pub temperature: f32,
}

/// How a command prints its result.
#[derive(clap::Args)]
pub(crate) struct JsonFlag {
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// The size of the pixels in a picture.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct ZoomFlag {
    /// Draw each pixel as a square of this side [default: as large as fits into
    /// 800 pixels]
    #[arg(long, value_name = "N", value_parser = values::zoom)]
    pub zoom: Option<u32>,
}

/// Longest side of a picture that fits on a screen.
const SIDE: u64 = 800;

impl ZoomFlag {
    /// The requested zoom, or the largest integer that keeps both sides of
    /// the picture within 800 pixels. `size` gives the sides at a zoom.
    pub(crate) fn fit(self, size: impl Fn(u32) -> (u64, u64)) -> u32 {
        let fits = |zoom: &u32| {
            let (width, height) = size(*zoom);
            width.max(height) <= SIDE
        };
        let asked = self.zoom;
        asked.unwrap_or_else(|| (1..=64).rev().find(fits).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fill_the_sides_by_whole_multiples() {
        let side = |pixels: u64| move |zoom: u32| (pixels * u64::from(zoom), u64::from(zoom));
        let (free, asked) = (ZoomFlag { zoom: None }, ZoomFlag { zoom: Some(3) });
        assert_eq!(free.fit(side(134)), 5);
        assert_eq!(free.fit(side(800)), 1);
        assert_eq!(free.fit(side(4000)), 1);
        assert_eq!(free.fit(side(1)), 64);
        assert_eq!(asked.fit(side(4000)), 3);
    }
}
