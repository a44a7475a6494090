//! Where an experiment's commands run: each answer is kept with its inputs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{Inputs, Record, read};
use super::work::Work;
use super::{Arguments, Preset, Run, Training, files, program::Program};
use crate::process;

/// The place of one experiment.
pub struct Laboratory<'a> {
    root: &'a Path,
    program: &'a Program,
    arguments: &'a Arguments,
    configs: PathBuf,
    out: PathBuf,
    pub(super) answered: Vec<Answered>,
    pub(super) trained: Vec<Trained>,
    pub(super) work: Work,
}

/// A command and what the program said.
#[derive(Debug, Serialize)]
pub(super) struct Answered {
    pub name: String,
    pub command: String,
    pub answer: Value,
}

/// What the page says about a run.
#[derive(Debug, Serialize)]
pub(super) struct Trained {
    pub name: &'static str,
    pub seed: u64,
    pub data: String,
    pub shrink: Option<usize>,
    #[serde(flatten)]
    pub training: Training,
}

impl<'a> Laboratory<'a> {
    /// The laboratory of the experiments that keep their runs in a folder of
    /// this name.
    ///
    /// # Errors
    /// When the current folder, which `--out` may be relative to, is gone.
    pub fn new(
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
            work: Work::default(),
        })
    }

    /// The folder of the page and the runs.
    pub fn out(&self) -> &Path {
        &self.out
    }

    pub fn preset(&self) -> Preset {
        self.arguments.preset
    }

    /// The device as the page names it.
    pub(super) fn device(&self) -> String {
        let device = self.arguments.device;
        device.map_or_else(|| "cpu".to_owned(), |device| device.to_string())
    }

    /// Reads the configs of these runs, on the data asked for.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn runs<const COUNT: usize>(
        &mut self,
        names: [&'static str; COUNT],
    ) -> Result<[Run; COUNT]> {
        self.runs_on(self.arguments.data.as_deref(), names)
    }

    /// As [`runs`](Self::runs), on other data, or those of the configs.
    ///
    /// # Errors
    /// As there.
    pub fn runs_on<const COUNT: usize>(
        &mut self,
        data: Option<&str>,
        names: [&'static str; COUNT],
    ) -> Result<[Run; COUNT]> {
        let read = names.map(|name| Run::read(&self.configs, &self.out, name, data));
        let runs = read.into_iter().collect::<Result<Vec<_>>>()?;
        self.work.expect(&runs);
        let runs: Result<[Run; COUNT], _> = runs.try_into();
        runs.map_err(|runs| anyhow!("{} runs for {COUNT} names", runs.len()))
    }

    /// `pixelcnn TASK`, before its other arguments.
    pub fn command(&self, task: &str) -> Command {
        let mut command = self.program.command();
        command.arg(task);
        command
    }

    /// The folder of the first run is set aside if its training began with
    /// other inputs.
    pub(super) fn make_room(&self, runs: &[&Run], command: &Command) -> Result<()> {
        if self.arguments.dry_run {
            return Ok(());
        }
        let folder = &runs[0].folder;
        let path = folder.join("inputs.json");
        let inputs = self.inputs(runs, command);
        let kept = match read::<Inputs>(&path)? {
            // Folders of earlier versions say it with the answer alone.
            None => read::<Record>(&folder.join("training.json"))?.map(|kept| kept.inputs),
            kept => kept,
        };
        if kept.is_some_and(|kept| kept != inputs) {
            files::set_aside(folder)?;
        }
        // Before the training, so that one that is interrupted is known as well.
        files::write_json(&path, &inputs)
    }

    /// Gives the answer of a command: kept in `OUT/RUN/NAME.json`, with RUN the
    /// first of the runs it depends on, or got by running it. A dry run prints
    /// what it would run and gives the answer's default.
    ///
    /// # Errors
    /// When it fails, or does not answer as expected.
    pub fn ask<T: DeserializeOwned + Default>(
        &mut self,
        runs: &[&Run],
        name: &str,
        command: Command,
    ) -> Result<T> {
        let context = || format!("{} of preset {}", runs[0].name, self.arguments.preset);
        let Some(answered) = self.answer(runs, name, command).with_context(context)? else {
            return Ok(T::default());
        };
        let answer = serde_json::from_value(answered.answer.clone())
            .with_context(|| format!("in the output of `{}`", answered.command));
        self.answered.push(answered);
        answer
    }

    fn answer(&self, runs: &[&Run], name: &str, mut command: Command) -> Result<Option<Answered>> {
        let inputs = self.inputs(runs, &command);
        self.finish(&mut command);
        let path = runs[0].folder.join(format!("{name}.json"));
        let kept =
            read::<Record>(&path)?.filter(|kept| kept.inputs == inputs && is_whole(&command));
        let record = match kept {
            Some(kept) => {
                let label = if self.arguments.dry_run { "# " } else { "" };
                let path = path.display();
                println!("{label}{}: done before, see {path}", runs[0].name);
                kept
            }
            None if self.arguments.dry_run => {
                println!("{}", process::shell_line(&command));
                return Ok(None);
            }
            None => {
                let answer = process::last_line_json(&mut command)?;
                let record = Record { inputs, answer };
                files::write_json(&path, &record)?;
                record
            }
        };
        Ok(Some(Answered {
            name: format!("{}/{name}", runs[0].name),
            command: record.inputs.command,
            answer: record.answer,
        }))
    }

    fn inputs(&self, runs: &[&Run], command: &Command) -> Inputs {
        let mut plain = Command::new("pixelcnn");
        plain.args(command.get_args());
        self.finish(&mut plain);
        let line = process::shell_line(&plain);
        let configs = runs
            .iter()
            .map(|run| (run.name.to_owned(), run.text.clone()));
        Inputs {
            command: line.replace(&format!("{}/", self.root.display()), ""),
            configs: configs.collect(),
        }
    }

    fn finish(&self, command: &mut Command) {
        if let Some(device) = self.arguments.device {
            command.arg("--device").arg(device.to_string());
        }
        command.arg("--json");
    }
}

/// Whether the picture that a command draws is there.
fn is_whole(command: &Command) -> bool {
    let mut arguments = command.get_args();
    arguments
        .by_ref()
        .any(|argument| argument == "--out")
        .then(|| arguments.next())
        .flatten()
        .is_none_or(|file| Path::new(file).exists())
}
