//! All outputs of a command, checked together before the work.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pixelcnn_system::destination;

use super::{Channel, Format, Target};

/// The outputs of a command, each with its flag.
///
/// If an output cannot be written, the command fails before the long work.
#[derive(Default)]
pub(crate) struct Outputs<'a> {
    files: Vec<(&'static str, &'a Target, Format)>,
    folders: Vec<(&'static str, &'a Path)>,
    inputs: Vec<(&'static str, &'a Path)>,
}

impl<'a> Outputs<'a> {
    /// Adds an output file, if requested.
    pub(crate) fn file(
        mut self,
        flag: &'static str,
        target: impl Into<Option<&'a Target>>,
        format: Format,
    ) -> Self {
        let target = target.into().map(|target| (flag, target, format));
        self.files.extend(target);
        self
    }

    /// Adds an output folder of numbered pictures, if requested.
    pub(crate) fn folder(mut self, flag: &'static str, path: Option<&'a Path>) -> Self {
        self.folders.extend(path.map(|path| (flag, path)));
        self
    }

    /// Adds a file that the command reads.
    pub(crate) fn input(mut self, flag: &'static str, path: Option<&'a Path>) -> Self {
        self.inputs.extend(path.map(|path| (flag, path)));
        self
    }

    /// Refuses outputs that cannot be written, and one file for two outputs. Returns
    /// the channel for messages.
    pub(crate) fn check(&self, json: bool) -> Result<Channel> {
        for (flag, target, format) in &self.files {
            target.check(*format).context(*flag)?;
        }
        for (flag, path) in &self.folders {
            check_folder(path).context(*flag)?;
        }
        self.check_differ()?;
        self.remove_abandoned();
        let output = |(_, target, _): &&(_, &Target, _)| **target == Target::StandardOutput;
        match self.files.iter().find(output) {
            Some((flag, ..)) if json => {
                bail!("{flag} - and --json: both would write to standard output")
            }
            Some(_) => Ok(Channel::Error),
            None => Ok(Channel::Output),
        }
    }

    fn check_differ(&self) -> Result<()> {
        let mut seen: Vec<(&str, Option<PathBuf>)> = Vec::new();
        for (flag, path) in &self.inputs {
            // A missing file is reported when it is read.
            if let Ok(path) = destination(path) {
                seen.push((flag, Some(path)));
            }
        }
        for (flag, target, _) in &self.files {
            let place = match target {
                Target::File(path) => Some(destination(path).context(*flag)?),
                Target::StandardOutput => None,
            };
            if let Some((other, _)) = seen.iter().find(|(_, seen)| *seen == place) {
                bail!("{other} and {flag} name the same file, {target}: different files expected");
            }
            if let Some(path) = &place {
                self.check_outside_folders(flag, path)?;
            }
            seen.push((flag, place));
        }
        let mut folders: Vec<(&str, PathBuf)> = Vec::new();
        for (flag, path) in &self.folders {
            let place = destination(path).unwrap_or_else(|_| path.to_path_buf());
            if let Some((other, _)) = folders.iter().find(|(_, seen)| *seen == place) {
                bail!(
                    "{other} and {flag} name the same folder, {}",
                    path.display()
                );
            }
            folders.push((flag, place));
        }
        Ok(())
    }

    /// Removes partial files that a killed command left of these outputs.
    fn remove_abandoned(&self) {
        let folders = self.folders.iter();
        let folders = folders.map(|(_, folder)| (folder.to_path_buf(), None));
        let files = self.files.iter().filter_map(|(_, target, _)| {
            let Target::File(path) = target else {
                return None;
            };
            let path = destination(path).ok()?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((path.parent()?.to_path_buf(), Some(name)))
        });
        for (folder, file) in files.chain(folders).filter(|(folder, _)| folder.exists()) {
            let is_own = |name: &str| match &file {
                Some(file) => name == file,
                None => is_one_of_many(name),
            };
            // A file that cannot be removed does no harm.
            if let Err(error) = pixelcnn_system::remove_abandoned(&folder, is_own) {
                tracing::debug!("{}: {error}", folder.display());
            }
        }
    }

    /// Refuses a file with the name of a numbered picture, which would replace it.
    fn check_outside_folders(&self, flag: &str, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_one_of_many(&name) {
            return Ok(());
        }
        let inside = |(_, folder): &&(_, &Path)| {
            destination(folder).is_ok_and(|folder| path.parent() == Some(&folder))
        };
        match self.folders.iter().find(inside) {
            Some((other, folder)) => bail!(
                "{flag} and {other}: {name} is also the name of a picture in {}: choose another name",
                folder.display()
            ),
            None => Ok(()),
        }
    }
}

/// Whether a command uses this name for one of many files: a numbered
/// picture, a manual page.
fn is_one_of_many(name: &str) -> bool {
    let page = name.starts_with("pixelcnn") && name.ends_with(".1");
    let number = name.strip_suffix(".png").unwrap_or_default();
    page || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Checks that a folder can be created or written to. Nothing is created, because
/// the command may still fail for another reason.
fn check_folder(path: &Path) -> Result<()> {
    let named = |path: &Path| match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.to_path_buf(),
    };
    let mut existing = named(path);
    while !existing.exists() && !existing.is_symlink() {
        let Some(parent) = existing.parent() else {
            break;
        };
        existing = named(parent);
    }
    if !existing.is_dir() {
        bail!("{} is not a folder", existing.display());
    }
    pixelcnn_system::check_writable(existing.join("0.png"))
        .map_err(|error| anyhow!("cannot write into {}: {error}", existing.display()))
}
