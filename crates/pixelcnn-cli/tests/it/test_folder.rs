//! A folder with a data set of small images and a configuration, in which the program runs.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// Height and width of the images.
pub(crate) const SIDE: usize = 8;
/// Images of the test split.
pub(crate) const TEST_IMAGES: usize = 5;

pub(crate) struct TestFolder(TempDir);

impl TestFolder {
    /// The files train.bin, valid.bin, test.bin, and tiny.toml with four steps of a small
    /// network on them.
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, count, first) in [
            ("train.bin", 40, 0),
            ("valid.bin", 3, 100),
            ("test.bin", TEST_IMAGES, 200),
        ] {
            std::fs::write(place.path(name), records(count, first)).unwrap();
        }
        place.write("tiny.toml", &config(4, 2));
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A model in the folder `run`.
    pub(crate) fn with_run() -> Self {
        let place = Self::new();
        place.json("train --config tiny.toml --out run --json");
        place
    }

    /// A model with this condition in the folder `run`; `settings` are put before its
    /// section.
    pub(crate) fn with_condition(conditioning: &str, settings: &str) -> Self {
        let place = Self::new();
        place.train("run", &conditional(conditioning, settings));
        place
    }

    /// Trains the configuration `config` in the folder `out`.
    pub(crate) fn train(&self, out: &str, config: &str) {
        self.write("model.toml", config);
        self.json(&format!("train --config model.toml --out {out} --json"));
    }

    /// Runs the program with arguments separated by spaces.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.run_with(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs the program with arguments that may contain spaces.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The program with arguments, in this folder and without the network.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .current_dir(self.0.path())
            .args(arguments)
            .env("PIXELCNN_FIXTURES", fixtures())
            .env("HF_HUB_CACHE", self.path("hub"))
            .env("HF_HUB_OFFLINE", "1")
            .env("RUST_BACKTRACE", "1")
            .env("RUST_LOG", "warn");
        command
    }

    /// The line on standard output of a successful run.
    pub(crate) fn line(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.strip_suffix('\n').unwrap().to_string();
        assert!(!line.contains('\n'), "{arguments}: {line}");
        line
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.line(arguments)).unwrap()
    }

    /// The line of a failed run, which must contain each of `parts`.
    pub(crate) fn fails(&self, arguments: &str, parts: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("panicked"), "{arguments}: {text}");
        // Warnings may precede this line.
        let line = text.lines().last().unwrap().to_string();
        assert!(line.starts_with("error: "), "{arguments}: {text}");
        for part in parts {
            assert!(line.contains(part), "{arguments}: {part} is not in: {line}");
        }
        line
    }
}

pub(crate) fn program() -> &'static Path {
    assert_cmd::cargo::cargo_bin!("pixelcnn")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The configuration of a smoke run, for images of 32x32.
pub(crate) fn smoke(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/experiments");
    let path = folder
        .join("table1/smoke")
        .join(name)
        .with_extension("toml");
    assert!(path.exists(), "{}", path.display());
    path.display().to_string()
}

pub(crate) const DATA: &str = "records:train.bin,valid=valid.bin,test=test.bin,side=8";

/// A configuration for the records.
pub(crate) fn config(steps: usize, validate_every: usize) -> String {
    format!(
        r#"
        seed = 1
        data = "{DATA}"
        [model]
        kind = "gated-pixelcnn"
        image = {{ channels = 3, height = {SIDE}, width = {SIDE}, levels = 256 }}
        first_kernel = 3
        kernel = 3
        blocks = 1
        maps = 3
        head = 3
        [training]
        steps = {steps}
        batch = 2
        learning_rate = 1e-2
        flips = "horizontal"
        optimiser = {{ kind = "adam" }}
        schedule = {{ warmup = 2, decay = {{ kind = "cosine" }} }}
        max_grad_norm = 1.0
        ema_decay = 0.9
        validate_every = {validate_every}
        log_every = 1
        "#
    )
}

/// The same with a condition, and with settings before the model's section.
pub(crate) fn conditional(conditioning: &str, settings: &str) -> String {
    config(4, 2)
        .replace(
            "head = 3",
            &format!("head = 3\nconditioning = {conditioning}"),
        )
        .replace("[model]", &format!("{settings}\n[model]"))
        .replace("\"horizontal\"", "\"none\"")
}

/// A network without a likelihood, with these settings.
pub(crate) fn beside(kind: &str, settings: &str) -> String {
    let text = config(4, 2);
    let (start, end) = (text.find("first_kernel"), text.find("[training]"));
    let network = &text[start.unwrap()..end.unwrap()];
    text.replace("gated-pixelcnn", kind)
        .replace(network, &format!("encoder_maps = [2]\n{settings}\n"))
}

/// A baseline for the records.
pub(crate) fn baseline(kind: &str) -> String {
    format!(
        "seed = 1\n\
         data = \"{DATA}\"\n\
         [model]\n\
         kind = \"{kind}\"\n\
         image = {{ channels = 3, height = {SIDE}, width = {SIDE}, levels = 256 }}\n"
    )
}

/// A label, and three planes with one of three brightnesses and a little constant noise.
fn records(count: usize, first: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for image in first..first + count {
        bytes.push((image % 10) as u8);
        for index in 0..3 * SIDE * SIDE {
            let (channel, row) = (index / (SIDE * SIDE), index / SIDE % SIDE);
            let noise = (image * 7919 + index * 104_729) / 13 % 4;
            bytes.push((40 + 60 * (image % 3) + 20 * channel + 2 * row + noise) as u8);
        }
    }
    bytes
}

/// Makes the tested programs stop at signals, even if this process was started with these
/// signals ignored (by `nohup` or in the background). Handled signals are not ignored in
/// child processes.
#[cfg(unix)]
pub(crate) fn heed_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT};
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    for signal in [SIGHUP, SIGINT] {
        if ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1) {
            signal_hook::flag::register(signal, std::sync::Arc::default()).unwrap();
        }
    }
}
