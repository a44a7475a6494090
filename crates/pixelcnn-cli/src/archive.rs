//! What the commands for archives share: the archive, its model, and pictures of it.

pub(crate) mod input;
pub(crate) mod output;
mod png_chunks;

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use pixelcnn_codec::{Archive, Codec};
use pixelcnn_system::{available_memory, check_memory, read_file};

use crate::arguments::ModelFlag;
use crate::model;
use crate::sample::draw::at_most_processors;
use crate::values::from_one;

/// The archive that a command reads.
#[derive(clap::Args)]
pub(crate) struct ArchiveArgument {
    /// The archive; - for standard input
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
}

impl ArchiveArgument {
    /// The name of the archive in messages.
    pub(crate) fn name(&self) -> String {
        match self.path() {
            None => "standard input".into(),
            Some(path) => path.display().to_string(),
        }
    }

    /// The file; `None` for standard input.
    fn path(&self) -> Option<&Path> {
        (self.archive != Path::new("-")).then_some(&*self.archive)
    }

    /// Reads the archive, and finds its pictures.
    pub(crate) fn read(&self) -> Result<Archive> {
        let bytes = match self.path() {
            Some(path) => file(path),
            None => standard_input(),
        };
        let bytes = bytes.with_context(|| format!("cannot read {}", self.name()))?;
        Archive::read(bytes).with_context(|| self.name())
    }
}

fn file(path: &Path) -> Result<Vec<u8>> {
    let length = path.metadata()?.len();
    check_memory("the archive", length)?;
    Ok(read_file(path, length)?)
}

fn standard_input() -> Result<Vec<u8>> {
    // Half of the memory: a growing buffer is copied.
    let most = available_memory().unwrap_or(u64::MAX / 4) / 2;
    let mut bytes = Vec::new();
    stdin().lock().take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        bail!("it has more than {most} bytes, which do not fit into memory");
    }
    Ok(bytes)
}

/// The model that compresses or decompresses.
#[derive(clap::Args)]
pub(crate) struct CodecFlags {
    #[command(flatten)]
    model: ModelFlag,
    /// Number of threads; no byte depends on it [default: number of processors]
    #[arg(long, value_name = "N", value_parser = from_one)]
    threads: Option<usize>,
}

impl CodecFlags {
    /// The folder of the model.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        self.model.folder()
    }

    pub(crate) fn codec(&self) -> Result<Codec> {
        let path = &self.model.model;
        let model = model::load(path, &Device::Cpu)?;
        model::in_order(&model)?;
        let codec = Codec::new(&model).with_context(|| path.display().to_string())?;
        Ok(match self.threads {
            None => codec,
            Some(threads) => codec.with_threads(at_most_processors(threads)),
        })
    }
}
