//! The formats of other programs.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use pixelcnn_models::Model;

use crate::converter::Converter;
use crate::formats::{anordertoreclaim, pytorch_generative, pytorch_vqvae, uvadlc};
use crate::{Checkpoint, ImportError, Settings};

/// A program whose checkpoints can be read.
///
/// # Example
///
/// ```
/// use pixelcnn_import::Format;
///
/// let format: Format = "pytorch-vqvae".parse()?;
/// assert_eq!(format, Format::PytorchVqvae);
/// assert_eq!(format.settings()[0], ("height", "8"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Tutorial 12 of the UvA deep-learning course: grey images, dilated kernels.
    Uvadlc,
    /// The class-conditional prior of a VQ-VAE, over a grid of codes.
    PytorchVqvae,
    /// RGB images with colour masks, skip connections and labels.
    Anordertoreclaim,
    /// Factorised kernels and skip connections, for binary or grey images.
    PytorchGenerative,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [
        Self::Uvadlc,
        Self::PytorchVqvae,
        Self::Anordertoreclaim,
        Self::PytorchGenerative,
    ];

    /// Its name, also the `kind` of its models.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uvadlc => "uvadlc",
            Self::PytorchVqvae => "pytorch-vqvae",
            Self::Anordertoreclaim => "anordertoreclaim",
            Self::PytorchGenerative => "pytorch-generative",
        }
    }

    /// What its files do not store: the name of each setting and its default.
    pub fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Uvadlc => &uvadlc::SETTINGS,
            Self::PytorchVqvae => &pytorch_vqvae::SETTINGS,
            Self::Anordertoreclaim => &anordertoreclaim::SETTINGS,
            Self::PytorchGenerative => &pytorch_generative::SETTINGS,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("one of {names} expected")
        })
    }
}

/// A model of another program.
#[derive(Debug)]
pub struct Import {
    /// The model. It can be trained, sampled, audited and saved like any other.
    pub model: Model,
    /// What was passed over.
    pub notes: Vec<String>,
    /// What a user should know: numbers that were not as the format says, colours that leak.
    pub warnings: Vec<String>,
}

/// Reads a checkpoint of another program: an archive of `torch.save`, or safetensors. Sizes
/// are those of its tensors; `settings` has what is not stored. Nothing is executed.
///
/// Entries of masked kernels are zero in the model. If they are not zero in the file, a
/// warning says how large they are.
///
/// # Errors
///
/// If the file cannot be read or is not of this format, or a setting is wrong.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_import::{Format, Settings, import};
///
/// let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
/// let mut tensors = BTreeMap::new();
/// for (name, shape) in [
///     ("conv_vstack.conv", [2, 1, 3, 3]),
///     ("conv_hstack.conv", [2, 1, 1, 3]),
///     ("conv_layers.0.conv_vert.conv", [4, 2, 3, 3]),
///     ("conv_layers.0.conv_horiz.conv", [4, 2, 1, 3]),
///     ("conv_layers.0.conv_vert_to_horiz", [4, 4, 1, 1]),
///     ("conv_layers.0.conv_horiz_1x1", [2, 2, 1, 1]),
///     ("conv_out", [256, 2, 1, 1]),
/// ] {
///     tensors.insert(format!("{name}.weight"), zeros(&shape)?);
///     tensors.insert(format!("{name}.bias"), zeros(&shape[..1])?);
/// }
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("theirs.safetensors");
/// pixelcnn_models::write_tensors(&path, &tensors, "")?;
///
/// let settings = Settings::parse(["dilations=2"])?;
/// let import = import(Format::Uvadlc, &path, &settings)?;
/// assert_eq!(import.model.config().image().levels, 256);
/// assert!(import.warnings.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import(
    format: Format,
    path: impl AsRef<Path>,
    settings: &Settings,
) -> Result<Import, ImportError> {
    let known: Vec<_> = format.settings().iter().map(|(name, _)| *name).collect();
    settings.check(&known)?;
    let mut converter = Converter::new(Checkpoint::open(path)?);
    let path = converter.path().to_path_buf();
    let config = match format {
        Format::Uvadlc => uvadlc::convert(&mut converter, settings),
        Format::PytorchVqvae => pytorch_vqvae::convert(&mut converter, settings),
        Format::Anordertoreclaim => anordertoreclaim::convert(&mut converter, settings),
        Format::PytorchGenerative => pytorch_generative::convert(&mut converter, settings),
    };
    let import = config.and_then(|config| converter.finish(&config));
    import.map_err(|error| error.of_file(&path))
}
