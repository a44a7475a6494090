//! The targets: what is read, and the allowed results.

mod archives;
mod captions;
mod cifar;
mod configs;
mod expected;
mod import;
mod mnist;
mod models;
mod npy;
mod npz;
mod parquet_files;
mod pictures;
mod png_seeds;
mod records;
mod sharded;
mod states;
mod tokenizers;

use std::path::Path;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;

/// The folder of the hub's cache in the folder of the inputs.
pub(crate) const HUB: &str = "hub";

/// The result of one input.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was read, with an allowed result.
    Accepted,
    /// It was refused, with this message.
    Refused(String),
    /// It was read, with a wrong result.
    Changed(String),
}

/// Makes inputs and reads them.
pub(crate) trait Target {
    /// Writes one input into the folder and reads it.
    ///
    /// # Errors
    /// When the input cannot be written; then there is no result.
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict>;
}

/// Every target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Models,
    Tokenizers,
    FolderPng,
    FolderJpeg,
    Records,
    Mnist,
    Npz,
    Npy,
    CifarTar,
    Captions,
    Configs,
    TrainingStates,
    Archive,
    Import,
    Sharded,
    Parquet,
}

impl Name {
    pub(crate) const ALL: [Self; 16] = [
        Self::Models,
        Self::Tokenizers,
        Self::FolderPng,
        Self::FolderJpeg,
        Self::Records,
        Self::Mnist,
        Self::Npz,
        Self::Npy,
        Self::CifarTar,
        Self::Captions,
        Self::Configs,
        Self::TrainingStates,
        Self::Archive,
        Self::Import,
        Self::Sharded,
        Self::Parquet,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Tokenizers => "tokenizers",
            Self::FolderPng => "folder-png",
            Self::FolderJpeg => "folder-jpeg",
            Self::Records => "records",
            Self::Mnist => "mnist",
            Self::Npz => "npz",
            Self::Npy => "npy",
            Self::CifarTar => "cifar-tar",
            Self::Captions => "captions",
            Self::Configs => "configs",
            Self::TrainingStates => "training-states",
            Self::Archive => "archive",
            Self::Import => "import",
            Self::Sharded => "sharded-models",
            Self::Parquet => "parquet",
        }
    }

    /// Creates the target and writes its other files into the folder.
    ///
    /// # Errors
    /// When a seed cannot be made.
    pub(crate) fn target(self, folder: &Path) -> Result<Box<dyn Target>> {
        Ok(match self {
            Self::Models => Box::new(models::Models::new(folder)?),
            Self::Tokenizers => Box::new(tokenizers::Tokenizers::new(folder)?),
            Self::FolderPng => Box::new(pictures::Pictures::png(folder)?),
            Self::FolderJpeg => Box::new(pictures::Pictures::jpeg(folder)?),
            Self::Records => Box::new(records::Records::new(folder)?),
            Self::Mnist => Box::new(mnist::Mnist::new(folder)?),
            Self::Npz => Box::new(npz::Npz::new(folder)?),
            Self::Npy => Box::new(npy::Npy::new()?),
            Self::CifarTar => Box::new(cifar::Cifar::new()?),
            Self::Captions => Box::new(captions::Captions::new(folder)?),
            Self::Configs => Box::new(configs::Configs::new(folder)?),
            Self::TrainingStates => Box::new(states::States::new(folder)?),
            Self::Archive => Box::new(archives::Archives::new()?),
            Self::Import => Box::new(import::Imports::new(folder)?),
            Self::Sharded => Box::new(sharded::Sharded::new(folder)?),
            Self::Parquet => Box::new(parquet_files::Parquet::new(folder)?),
        })
    }
}
