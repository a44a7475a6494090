//! The sets of configs.

use std::fmt;

/// A set of configs, one a run. Not every experiment has each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Seconds: shows that everything runs; its numbers mean nothing
    Smoke,
    /// Small networks, trained briefly
    Quick,
    /// Table 1: the longest runs meant for a computer without an accelerator
    Cpu,
    /// Figures 4 and 5: small networks for grey portraits of 28 x 23, named by --data
    Faces,
    /// Figure 3: Fashion-MNIST, twenty minutes on two cores
    Fashion,
    /// Figure 7: small networks for photographs of 64 x 64 in ten classes, named by --data
    Photos64,
    /// Meant for the paper's data and sizes, on an accelerator
    Paper,
}

impl Preset {
    /// How many images there are of something, where smoke wants the least.
    pub fn count(self, smoke: usize, otherwise: usize) -> usize {
        match self {
            Self::Smoke => smoke,
            _ => otherwise,
        }
    }

    /// What a reader must know of its numbers.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Smoke => Some(
                "**Preset `smoke` only shows that everything runs: its numbers mean nothing.**",
            ),
            Self::Quick | Self::Cpu | Self::Faces | Self::Fashion | Self::Photos64 => Some(
                "**This preset trains networks smaller than the paper's, and for less time: its \
                 numbers are not what the models reach.**",
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
