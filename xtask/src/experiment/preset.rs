//! The sets of configs of the experiments.

use std::fmt;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A set of configs, one per run. Not every experiment has every preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Takes seconds and shows that everything runs; its numbers mean nothing
    Smoke,
    /// Small networks, trained briefly
    Quick,
    /// The longest runs for a computer without a GPU
    Cpu,
    /// Small networks for grey portraits of 28x23, given with --data
    Faces,
    /// Fashion-MNIST, twenty minutes on two cores
    Fashion,
    /// Small networks for photographs of 64x64 in ten classes, given with --data
    Photos64,
    /// The paper's data and sizes, for a GPU
    Paper,
}

impl Preset {
    /// The presets that every experiment has.
    pub(crate) const COMMON: &'static [Self] = &[Self::Smoke, Self::Quick, Self::Paper];

    /// Parses one of these presets; others are neither accepted nor listed.
    pub(crate) fn parser(presets: &'static [Self]) -> impl TypedValueParser<Value = Self> {
        let values = presets.iter().filter_map(Self::to_possible_value);
        PossibleValuesParser::new(values).try_map(|text| Self::from_str(&text, false))
    }

    /// A number of images, with a smaller one for smoke.
    pub(crate) fn smoke_or(self, smoke: usize, otherwise: usize) -> usize {
        match self {
            Self::Smoke => smoke,
            _ => otherwise,
        }
    }

    /// A warning about its numbers.
    pub(crate) fn warning(self) -> Option<&'static str> {
        match self {
            Self::Smoke => Some(
                "**Preset `smoke` only shows that everything runs: its numbers mean nothing.**",
            ),
            Self::Quick | Self::Cpu | Self::Faces | Self::Fashion | Self::Photos64 => Some(
                "**This preset trains smaller networks than the paper, for less time. The models can \
                 reach better numbers.**",
            ),
            Self::Paper => None,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Cpu => "cpu",
            Self::Faces => "faces",
            Self::Fashion => "fashion",
            Self::Photos64 => "photos64",
            Self::Paper => "paper",
        })
    }
}
