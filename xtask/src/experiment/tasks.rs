//! The commands of the program that experiments have in common.

use std::process::Command;

use anyhow::Result;
use serde::de::DeserializeOwned;

use super::answer::Drawn;
use super::format::counted;
use super::laboratory::Trained;
use super::{Laboratory, Likelihood, Picture, Preset, Run, Training};

/// Which part of the data is evaluated.
#[derive(Debug, Clone, Copy)]
pub enum Split {
    Test,
    Train,
}

impl Laboratory<'_> {
    /// Trains a run, or goes on training it.
    ///
    /// # Errors
    /// When the program fails.
    pub fn train(&mut self, run: &Run) -> Result<Training> {
        self.train_with(run, None)
    }

    /// Trains a run whose condition another, finished one computes.
    ///
    /// # Errors
    /// When the program fails.
    pub fn train_with(&mut self, run: &Run, encoder: Option<&Run>) -> Result<Training> {
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
        self.make_room(&runs, &command)?;
        println!("\n{}", self.work.begin(run));
        let trained_before = run.folder.join("training.json").exists();
        let training: Training = self.ask(&runs, "training", command)?;
        self.work.end(!trained_before);
        self.trained.push(Trained {
            name: run.name,
            seed: run.seed,
            data: run.data.clone(),
            shrink: run.shrink,
            training: training.clone(),
        });
        Ok(training)
    }

    /// `pixelcnn TASK` with the model of a run and a split of its data.
    pub fn on_data(&self, task: &str, run: &Run, split: Split) -> Command {
        let mut command = self.with_model(task, run);
        command.args(["--data", &run.data, "--split", split.name()]);
        command
    }

    /// `pixelcnn TASK` with the model of a run.
    pub fn with_model(&self, task: &str, run: &Run) -> Command {
        let mut command = self.command(task);
        command.arg("--model").arg(run.model());
        command
    }

    /// Evaluates a cheap network on all test images.
    ///
    /// # Errors
    /// When the program fails.
    pub fn evaluate<T: DeserializeOwned + Default>(&mut self, run: &Run) -> Result<T> {
        let command = self.on_data("eval", run, Split::Test);
        self.ask(&[run], "test", command)
    }

    /// The likelihood of a split: all test images, 512 training images.
    ///
    /// # Errors
    /// When the program fails.
    pub fn likelihood(&mut self, run: &Run, split: Split) -> Result<Likelihood> {
        let mut command = self.on_data("eval", run, split);
        match (self.preset(), split) {
            (Preset::Smoke, _) => _ = command.args(["--limit", "8"]),
            (_, Split::Train) => _ = command.args(["--limit", "512"]),
            (_, Split::Test) => {}
        }
        self.ask(&[run], split.name(), command)
    }

    /// The likelihood of the test images, each under its own condition and under
    /// that of another image.
    ///
    /// # Errors
    /// When the program fails.
    pub fn shuffled(&mut self, run: &Run) -> Result<Likelihood> {
        let mut command = self.on_data("eval", run, Split::Test);
        if self.preset() == Preset::Smoke {
            command.args(["--limit", "8"]);
        }
        command.arg("--shuffled");
        self.ask(&[run], "shuffled", command)
    }

    /// Draws `RUN/NAME.png`, with RUN the first of the runs it depends on.
    ///
    /// # Errors
    /// When the program fails.
    pub fn picture(
        &mut self,
        runs: &[&Run],
        name: &str,
        command: Command,
        caption: String,
    ) -> Result<Picture> {
        self.picture_of_rows(runs, name, command, caption, Vec::new())
    }

    /// As [`picture`](Self::picture), with what each row shows.
    ///
    /// # Errors
    /// When the program fails.
    pub fn picture_of_rows(
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
        self.ask::<Drawn>(runs, name, command)?;
        Ok(Picture {
            file,
            caption,
            rows,
        })
    }

    /// Draws samples of a model that is conditioned on nothing.
    ///
    /// # Errors
    /// When the program fails.
    pub fn samples(&mut self, run: &Run, count: usize) -> Result<Picture> {
        let mut command = self.with_model("sample", run);
        command.args(["--count", &count.to_string(), "--columns", "8"]);
        let caption = format!("{} of `{}`", counted(count, "sample"), run.name);
        self.picture(&[run], "samples", command, caption)
    }

    /// The curve of a run that is trained by steps.
    pub fn curve(&self, run: &Run) -> Picture {
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
