//! Commands of the program that several experiments use.

use std::process::Command;

use anyhow::Result;
use pixelcnn_system::counted;
use serde::de::DeserializeOwned;

use super::answer::Drawn;
use super::runner::TrainedRun;
use super::{ExperimentRunner, Likelihood, Picture, Preset, Run, Training};

/// The split to evaluate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Split {
    Test,
    Train,
}

impl ExperimentRunner<'_> {
    /// Trains a run, or resumes it.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn train(&mut self, run: &Run) -> Result<Training> {
        self.train_with(run, None)
    }

    /// Trains a run whose encoder is pretrained by another, finished run.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn train_with(&mut self, run: &Run, encoder: Option<&Run>) -> Result<Training> {
        let mut command = self.command("train");
        command.arg("--config").arg(&run.config);
        command.arg("--out").arg(&run.folder);
        if let Some(data) = &run.data_override {
            command.args(["--data", data]);
        }
        let mut runs = vec![run];
        if let Some(encoder) = encoder {
            command.arg("--pretrained-encoder").arg(encoder.model());
            runs.push(encoder);
        }
        self.set_aside_changed(&runs, &command)?;
        println!("\n{}", self.progress.start_run(run));
        let trained_before = run.folder.join("training.json").exists();
        let training: Training = self.run_or_reuse(&runs, "training", command)?;
        self.progress.finish_run(!trained_before);
        self.trained.push(TrainedRun {
            name: run.name,
            seed: run.seed,
            data: run.data.clone(),
            shrink: run.shrink,
            training: training.clone(),
        });
        Ok(training)
    }

    /// `pixelcnn TASK` with the model of a run and a split of its data.
    pub(crate) fn command_on_data(&self, task: &str, run: &Run, split: Split) -> Command {
        let mut command = self.command_for(task, run);
        command.args(["--data", &run.data, "--split", split.name()]);
        command
    }

    /// `pixelcnn TASK` with the model of a run.
    pub(crate) fn command_for(&self, task: &str, run: &Run) -> Command {
        let mut command = self.command(task);
        command.arg("--model").arg(run.model());
        command
    }

    /// Evaluates a small network on all test images.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn evaluate<T: DeserializeOwned + Default>(&mut self, run: &Run) -> Result<T> {
        let command = self.command_on_data("eval", run, Split::Test);
        self.run_or_reuse(&[run], "test", command)
    }

    /// The likelihood of a split: all test images, 512 training images.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn likelihood(&mut self, run: &Run, split: Split) -> Result<Likelihood> {
        let mut command = self.command_on_data("eval", run, split);
        match (self.preset(), split) {
            (Preset::Smoke, _) => _ = command.args(["--limit", "8"]),
            (_, Split::Train) => _ = command.args(["--limit", "512"]),
            (_, Split::Test) => {}
        }
        self.run_or_reuse(&[run], split.name(), command)
    }

    /// The likelihood of the test images, each with its own condition and with that of
    /// another image.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn shuffled_likelihood(&mut self, run: &Run) -> Result<Likelihood> {
        let mut command = self.command_on_data("eval", run, Split::Test);
        if self.preset() == Preset::Smoke {
            command.args(["--limit", "8"]);
        }
        command.arg("--shuffled");
        self.run_or_reuse(&[run], "shuffled", command)
    }

    /// Draws `RUN/NAME.png`; RUN is the first of the runs it depends on.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn draw(
        &mut self,
        runs: &[&Run],
        name: &str,
        command: Command,
        caption: String,
    ) -> Result<Picture> {
        self.draw_labelled_rows(runs, name, command, caption, Vec::new())
    }

    /// As [`draw`](Self::draw), with a label for each row.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn draw_labelled_rows(
        &mut self,
        runs: &[&Run],
        name: &str,
        mut command: Command,
        caption: String,
        rows: Vec<String>,
    ) -> Result<Picture> {
        let file = format!("{}/{name}.png", runs[0].name);
        command.arg("--out").arg(self.out().join(&file));
        command.args(["--zoom", &runs[0].zoom().to_string()]);
        self.run_or_reuse::<Drawn>(runs, name, command)?;
        Ok(Picture {
            file,
            caption,
            rows,
        })
    }

    /// Draws samples of an unconditional model.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn draw_samples(&mut self, run: &Run, count: usize) -> Result<Picture> {
        let mut command = self.command_for("sample", run);
        command.args(["--count", &count.to_string(), "--columns", "8"]);
        let caption = format!("{} of `{}`", counted(count, "sample"), run.name);
        self.draw(&[run], "samples", command, caption)
    }

    /// The training curve of a run.
    pub(crate) fn curve(&self, run: &Run) -> Picture {
        Picture {
            file: format!("{}/curve.svg", run.name),
            caption: format!("Training of `{}`", run.name),
            rows: Vec::new(),
        }
    }
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Train => "train",
        }
    }
}
