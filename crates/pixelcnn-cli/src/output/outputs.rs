//! All that a command writes, checked together before the work.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pixelcnn_system::destination;

use super::{Channel, Format, Target};

/// What a command is asked to write, each with its flag.
///
/// Long work whose results could not be written fails before it starts.
#[derive(Default)]
pub struct Outputs<'a> {
    files: Vec<(&'static str, &'a Target, Format)>,
    folders: Vec<(&'static str, &'a Path)>,
    inputs: Vec<(&'static str, &'a Path)>,
}

impl<'a> Outputs<'a> {
    /// Adds a file, if there is to be one.
    pub fn file(
        mut self,
        flag: &'static str,
        target: impl Into<Option<&'a Target>>,
        format: Format,
    ) -> Self {
        let target = target.into().map(|target| (flag, target, format));
        self.files.extend(target);
        self
    }

    /// Adds a folder of files, numbered pictures, if there is to be one.
    pub fn folder(mut self, flag: &'static str, path: Option<&'a Path>) -> Self {
        self.folders.extend(path.map(|path| (flag, path)));
        self
    }

    /// Adds a file that the command reads.
    pub fn input(mut self, flag: &'static str, path: Option<&'a Path>) -> Self {
        self.inputs.extend(path.map(|path| (flag, path)));
        self
    }

    /// Refuses what cannot be written, and one file for two things; where the
    /// words of the command go.
    pub fn check(&self, json: bool) -> Result<Channel> {
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
                bail!("{flag} - and --json: both would be on standard output")
            }
            Some(_) => Ok(Channel::Error),
            None => Ok(Channel::Output),
        }
    }

    fn check_differ(&self) -> Result<()> {
        let mut seen: Vec<(&str, Option<PathBuf>)> = Vec::new();
        for (flag, path) in &self.inputs {
            // What cannot be found will be said when it is read.
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
                bail!("{other} and {flag} name the same file, {target}: two files expected");
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

    /// Removes what a command that was killed has left of these files.
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
            // One that cannot be removed is in nobody's way.
            if let Err(error) = pixelcnn_system::remove_abandoned(&folder, is_own) {
                tracing::debug!("{}: {error}", folder.display());
            }
        }
    }

    /// The numbered pictures of a folder would replace a file so named.
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
                "{flag} and {other}: {name} is the name of a picture in {}: another name expected",
                folder.display()
            ),
            None => Ok(()),
        }
    }
}

/// Whether a name is one that a command gives to one of many files: a numbered
/// picture, a page of the manual.
fn is_one_of_many(name: &str) -> bool {
    let page = name.starts_with("pixelcnn") && name.ends_with(".1");
    let number = name.strip_suffix(".png").unwrap_or_default();
    page || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// That a folder can be made or written to. Nothing is made: the command may
/// still be refused for another reason.
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
        bail!("{} is no folder, a folder expected", existing.display());
    }
    pixelcnn_system::check_writable(existing.join("0.png"))
        .map_err(|error| anyhow!("cannot write into {}: {error}", existing.display()))
}
