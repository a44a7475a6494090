//! Runs the commands of an experiment, each once: its answer is saved with its inputs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::progress::Progress;
use super::saved_answer::{Inputs, SavedAnswer, read};
use super::{Arguments, Preset, Run, Training, files, program::Program};
use crate::process;

/// Runs the commands of one experiment.
pub(crate) struct ExperimentRunner<'a> {
    root: &'a Path,
    program: &'a Program,
    arguments: &'a Arguments,
    configs: PathBuf,
    out: PathBuf,
    pub(super) answered: Vec<AnsweredCommand>,
    pub(super) trained: Vec<TrainedRun>,
    pub(super) progress: Progress,
}

/// A command and the answer of the program.
#[derive(Debug, Serialize)]
pub(super) struct AnsweredCommand {
    pub name: String,
    pub command: String,
    pub answer: Value,
}

/// The information about a run on the page.
#[derive(Debug, Serialize)]
pub(super) struct TrainedRun {
    pub name: &'static str,
    pub seed: u64,
    pub data: String,
    pub shrink: Option<usize>,
    #[serde(flatten)]
    pub training: Training,
}

impl<'a> ExperimentRunner<'a> {
    /// For the experiments whose configs and runs are in folders of this name.
    ///
    /// # Errors
    /// When the current folder, which `--out` may be relative to, is gone.
    pub(crate) fn new(
        root: &'a Path,
        program: &'a Program,
        arguments: &'a Arguments,
        folder: &str,
    ) -> Result<Self> {
        let preset = arguments.preset;
        let out = arguments.out.clone();
        let out = out.unwrap_or_else(|| root.join(format!("runs/{folder}-{preset}")));
        Ok(Self {
            root,
            program,
            arguments,
            configs: root.join(format!("xtask/experiments/{folder}/{preset}")),
            out: std::path::absolute(out).context("cannot tell the current folder")?,
            answered: Vec::new(),
            trained: Vec::new(),
            progress: Progress::default(),
        })
    }

    /// The folder of the page and the runs.
    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    pub(crate) fn preset(&self) -> Preset {
        self.arguments.preset
    }

    /// The name of the device on the page.
    pub(super) fn device(&self) -> String {
        let device = self.arguments.device;
        device.map_or_else(|| "cpu".to_owned(), |device| device.to_string())
    }

    /// Reads the configs of these runs, with the requested data.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn read_runs<const COUNT: usize>(
        &mut self,
        names: [&'static str; COUNT],
    ) -> Result<[Run; COUNT]> {
        self.read_runs_on(self.arguments.data.as_deref(), names)
    }

    /// As [`read_runs`](Self::read_runs), on other data, or on those of the configs.
    ///
    /// # Errors
    /// As [`read_runs`](Self::read_runs).
    pub(crate) fn read_runs_on<const COUNT: usize>(
        &mut self,
        data: Option<&str>,
        names: [&'static str; COUNT],
    ) -> Result<[Run; COUNT]> {
        let read = names.map(|name| Run::read(&self.configs, &self.out, name, data));
        let runs = read.into_iter().collect::<Result<Vec<_>>>()?;
        self.progress.add_runs(&runs);
        let runs: Result<[Run; COUNT], _> = runs.try_into();
        runs.map_err(|runs| anyhow!("{} runs for {COUNT} names", runs.len()))
    }

    /// `pixelcnn TASK`, before its other arguments.
    pub(crate) fn command(&self, task: &str) -> Command {
        let mut command = self.program.command();
        command.arg(task);
        command
    }

    /// Renames the folder of the first run if its training began with other inputs.
    pub(super) fn set_aside_changed(&self, runs: &[&Run], command: &Command) -> Result<()> {
        if self.arguments.dry_run {
            return Ok(());
        }
        let folder = &runs[0].folder;
        let path = folder.join("inputs.json");
        let inputs = self.inputs(runs, command);
        if read::<Inputs>(&path)?.is_some_and(|saved| saved != inputs) {
            files::set_aside(folder)?;
        }
        // Written before the training, so that the inputs of an interrupted one are known.
        files::write_json(&path, &inputs)
    }

    /// The answer of a command. If its inputs are the same, it is read from
    /// `OUT/RUN/NAME.json`, with RUN the first of the runs it depends on; otherwise the
    /// command runs. A dry run prints the command and gives the default answer.
    ///
    /// # Errors
    /// When it fails, or its answer is not as expected.
    pub(crate) fn run_or_reuse<T: DeserializeOwned + Default>(
        &mut self,
        runs: &[&Run],
        name: &str,
        command: Command,
    ) -> Result<T> {
        let context = || format!("{} of preset {}", runs[0].name, self.arguments.preset);
        let Some(answered) = self
            .load_or_run(runs, name, command)
            .with_context(context)?
        else {
            return Ok(T::default());
        };
        let answer = serde_json::from_value(answered.answer.clone())
            .with_context(|| format!("in the output of `{}`", answered.command));
        self.answered.push(answered);
        answer
    }

    fn load_or_run(
        &self,
        runs: &[&Run],
        name: &str,
        mut command: Command,
    ) -> Result<Option<AnsweredCommand>> {
        let inputs = self.inputs(runs, &command);
        self.add_common_flags(&mut command);
        let path = runs[0].folder.join(format!("{name}.json"));
        let saved = read::<SavedAnswer>(&path)?
            .filter(|saved| saved.inputs == inputs && picture_exists(&command));
        let saved = match saved {
            Some(saved) => {
                let label = if self.arguments.dry_run { "# " } else { "" };
                let path = path.display();
                println!("{label}{}: done before, see {path}", runs[0].name);
                saved
            }
            None if self.arguments.dry_run => {
                println!("{}", process::shell_line(&command));
                return Ok(None);
            }
            None => {
                let answer = process::last_line_json(&mut command)?;
                let saved = SavedAnswer { inputs, answer };
                files::write_json(&path, &saved)?;
                saved
            }
        };
        Ok(Some(AnsweredCommand {
            name: format!("{}/{name}", runs[0].name),
            command: saved.inputs.command,
            answer: saved.answer,
        }))
    }

    fn inputs(&self, runs: &[&Run], command: &Command) -> Inputs {
        let mut plain = Command::new("pixelcnn");
        plain.args(command.get_args());
        self.add_common_flags(&mut plain);
        let line = process::shell_line(&plain);
        let configs = runs
            .iter()
            .map(|run| (run.name.to_owned(), run.text.clone()));
        Inputs {
            command: line.replace(&format!("{}/", self.root.display()), ""),
            configs: configs.collect(),
        }
    }

    fn add_common_flags(&self, command: &mut Command) {
        if let Some(device) = self.arguments.device {
            command.arg("--device").arg(device.to_string());
        }
        command.arg("--json");
    }
}

/// Whether the picture of a command exists.
fn picture_exists(command: &Command) -> bool {
    let mut arguments = command.get_args();
    arguments
        .by_ref()
        .any(|argument| argument == "--out")
        .then(|| arguments.next())
        .flatten()
        .is_none_or(|file| Path::new(file).exists())
}
