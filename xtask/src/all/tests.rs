//! Every experiment with a fake program.

use super::*;
use crate::experiment::test_workspace::{Workspace, arguments, fake_program};

fn all(workspace: &Workspace) -> Result<()> {
    let arguments = Arguments {
        preset: Preset::Smoke,
        device: None,
        dry_run: false,
        out: None,
    };
    reproduce(workspace.root(), &fake_program(), &arguments)
}

fn read(workspace: &Workspace, file: &str) -> String {
    workspace.read("all", Preset::Smoke, file)
}

/// The experiments' folders, each once.
fn folders() -> Vec<&'static str> {
    let mut folders: Vec<_> = EXPERIMENTS.iter().map(|it| it.folder).collect();
    folders.dedup();
    folders
}

#[test]
fn every_preset_has_the_configs_of_its_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dry_run = |preset, experiment: &Experiment<'_>| {
        let mut arguments = arguments(preset);
        arguments.dry_run = true;
        arguments.out = Some(PathBuf::from("/nowhere"));
        experiment::reproduce(&root, &fake_program(), &arguments, experiment).unwrap()
    };
    for experiment in &EXPERIMENTS {
        for preset in experiment.presets {
            dry_run(*preset, experiment);
        }
        // The index exists for each of these presets.
        let common = Preset::COMMON.iter();
        assert!(common.clone().all(|it| experiment.presets.contains(it)));
    }
}

#[cfg(unix)]
mod end_to_end {
    use super::*;

    #[test]
    fn the_index_leads_to_every_page_and_pages_to_their_pictures() {
        let workspace = Workspace::smoke();
        all(&workspace).unwrap();
        let index = read(&workspace, "index.html");
        for Experiment { name, folder, .. } in &EXPERIMENTS {
            let link = format!("<a href=\"{folder}/{name}.html\">");
            assert!(index.contains(&link), "{link} in {index}");
            let page = read(&workspace, &format!("{folder}/{name}.html"));
            for part in page.split("<img src=\"").skip(1) {
                let picture = part.split('"').next().unwrap();
                read(&workspace, &format!("{folder}/{picture}"));
            }
            let text = read(&workspace, &format!("{folder}/{name}.md"));
            assert!(text.contains("Preset `smoke`, device `cpu`"), "{text}");
            assert!(text.contains("\npixelcnn train --config "), "{text}");
        }
        assert!(read(&workspace, "index.md").contains("](figure3/figure3.md)"));
    }

    #[test]
    fn nothing_runs_twice() {
        let workspace = Workspace::smoke();
        let calls = || {
            let file = |folder| read(&workspace, &format!("{folder}/calls"));
            folders().into_iter().map(file).collect::<Vec<_>>()
        };
        all(&workspace).unwrap();
        let first = calls();
        all(&workspace).unwrap();
        assert_eq!(calls(), first);
    }

    #[test]
    fn a_failing_experiment_is_named_and_the_others_run() {
        let workspace = Workspace::smoke();
        let failing = "fail = true\nseed = 1\ndata = \"photos32\"\n";
        workspace.write_config("figure6", Preset::Smoke, "code-10", failing);
        let message = format!("{:#}", all(&workspace).unwrap_err());
        assert_eq!(message, "failed: figure6");
        let index = read(&workspace, "index.md");
        assert!(index.contains("failed: code-10 of preset smoke"), "{index}");
        assert!(index.contains("](conditions/conditions.md)"), "{index}");
    }
}
