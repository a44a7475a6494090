//! Shared by the tests of experiments: a workspace of configs, and a fake program.

use std::path::{Path, PathBuf};

use super::program::Program;
use super::{Arguments, Experiment, Page, Preset, reproduce};

/// A workspace with configs and no code.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

/// The fake program.
pub(crate) fn fake_program() -> Program {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Program::at(package.join("fixtures/fake-pixelcnn.sh"))
}

/// The arguments if only the preset is given.
pub(crate) fn arguments(preset: Preset) -> Arguments {
    Arguments {
        preset,
        data: None,
        device: None,
        dry_run: false,
        out: None,
    }
}

impl Workspace {
    /// A workspace without configs.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// A workspace with the smoke configs of every experiment.
    pub(crate) fn smoke() -> Self {
        let workspace = Self::empty();
        let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        for folder in std::fs::read_dir(experiments).unwrap() {
            let folder = folder.unwrap();
            let experiment = folder.file_name().into_string().unwrap();
            for config in std::fs::read_dir(folder.path().join("smoke"))
                .into_iter()
                .flatten()
            {
                let config = config.unwrap().path();
                let name = config.file_stem().unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(&config).unwrap();
                workspace.write_config(&experiment, Preset::Smoke, name, &text);
            }
        }
        workspace
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write_config(&self, experiment: &str, preset: Preset, name: &str, text: &str) {
        let folder = format!("xtask/experiments/{experiment}/{preset}");
        let folder = self.root().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }

    /// A file of the results.
    pub(crate) fn result(&self, experiment: &str, preset: Preset, file: &str) -> PathBuf {
        let folder = format!("runs/{experiment}-{preset}");
        self.root().join(folder).join(file)
    }

    pub(crate) fn read(&self, experiment: &str, preset: Preset, file: &str) -> String {
        std::fs::read_to_string(self.result(experiment, preset, file)).unwrap()
    }

    /// The calls of the fake program for one experiment so far.
    pub(crate) fn calls(&self, experiment: &str, preset: Preset) -> Vec<String> {
        let file = self.result(experiment, preset, "calls");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let root = self.root().to_str().unwrap();
        text.lines().map(|it| it.replace(root, "ROOT")).collect()
    }

    /// Runs an experiment with the fake program.
    pub(crate) fn reproduce(
        &self,
        experiment: &Experiment<'_>,
        arguments: &Arguments,
    ) -> anyhow::Result<Page> {
        let reproduced = reproduce(self.root(), &fake_program(), arguments, experiment);
        reproduced.map(|(page, _)| page)
    }
}
