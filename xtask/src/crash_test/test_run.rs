//! The training run that is killed, and how it must end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::experiment::program::Program;

/// The compared files.
const WEIGHTS: [&str; 2] = ["best/model.safetensors", "last/model.safetensors"];

/// The run, and the result of an undisturbed run.
pub(super) struct TestRun<'a> {
    root: PathBuf,
    program: &'a Program,
    scratch: PathBuf,
    expected: End,
}

/// The file names of a run, and its weights.
#[derive(PartialEq)]
struct End {
    files: Vec<String>,
    weights: BTreeMap<&'static str, Vec<u8>>,
}

impl<'a> TestRun<'a> {
    /// Trains once without a kill.
    ///
    /// # Errors
    /// When the training fails.
    pub(super) fn new(root: &Path, program: &'a Program) -> Result<Self> {
        let mut test_run = Self {
            root: root.to_path_buf(),
            program,
            scratch: root.join("target/crash-test"),
            expected: End {
                files: Vec::new(),
                weights: BTreeMap::new(),
            },
        };
        test_run.empty()?;
        let output = test_run
            .train()
            .output()
            .context("cannot start the program")?;
        if !output.status.success() {
            bail!(
                "the run itself fails: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        test_run.expected = test_run.end()?;
        Ok(test_run)
    }

    /// The folder of the run.
    pub(super) fn out(&self) -> PathBuf {
        self.scratch.join("run")
    }

    /// A file next to the run.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Removes the run.
    ///
    /// # Errors
    /// When its files cannot be removed.
    pub(super) fn empty(&self) -> Result<()> {
        self.clean()?;
        Ok(fs::create_dir_all(&self.scratch)?)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub(super) fn clean(&self) -> Result<()> {
        match self.scratch.exists() {
            true => Ok(fs::remove_dir_all(&self.scratch)?),
            false => Ok(()),
        }
    }

    /// The command that starts or resumes the run.
    pub(super) fn train(&self) -> Command {
        self.with(self.program.command())
    }

    /// The same command, started by another program.
    pub(super) fn under(&self, mut command: Command) -> Command {
        command.arg(self.program.command().get_program());
        self.with(command)
    }

    fn with(&self, mut command: Command) -> Command {
        command.arg("train").arg("--config");
        command.arg(self.root.join("xtask/fixtures/crash-test.toml"));
        command.arg("--out").arg(self.out());
        command.current_dir(&self.root);
        command.env_remove("RUST_BACKTRACE");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Resumes the run to its end, and returns what is wrong with it.
    ///
    /// # Errors
    /// When the program cannot be started or the files cannot be read.
    pub(super) fn finish(&self) -> Result<Option<String>> {
        let mut command = self.train();
        let output = command.stderr(Stdio::piped()).output();
        let output = output.context("cannot start the program")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Ok(Some(format!("it does not resume: {}", why.trim())));
        }
        let found = self.end()?;
        if found.files != self.expected.files {
            let (found, expected) = (found.files.join(", "), self.expected.files.join(", "));
            return Ok(Some(format!("other files: {found}; not {expected}")));
        }
        let differs = found != self.expected;
        Ok(differs.then(|| "other weights".to_owned()))
    }

    fn end(&self) -> Result<End> {
        let mut files = Vec::new();
        list(&self.out(), "", &mut files)?;
        let read = |name: &'static str| Ok((name, fs::read(self.out().join(name))?));
        let weights = WEIGHTS.into_iter().map(read).collect::<Result<_>>()?;
        Ok(End { files, weights })
    }
}

/// The files of a folder and its subfolders, sorted.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), &format!("{name}/"), files)?,
            false => files.push(name),
        }
    }
    Ok(())
}
