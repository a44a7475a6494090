//! The whole task with a fake program.

use super::*;
use crate::experiment::test_workspace::{Workspace, arguments};
use crate::experiment::{Arguments, Preset};

const CONFIG: &str = "seed = 7\ndata = \"photos32\"\n[model]\n";

/// A workspace with the configs of one preset.
fn workspace(preset: Preset) -> Workspace {
    let workspace = Workspace::empty();
    for name in NAMES {
        workspace.write_config("table1", preset, name, CONFIG);
    }
    workspace
}

fn reproduce(workspace: &Workspace, arguments: &Arguments) -> Result<Page> {
    workspace.reproduce(&TABLE_1, arguments)
}

fn calls(workspace: &Workspace) -> Vec<String> {
    workspace.calls("table1", Preset::Quick)
}

#[test]
fn configs_that_disagree_or_lack_their_head_are_named() {
    let workspace = workspace(Preset::Cpu);
    let message = |text| {
        workspace.write_config("table1", Preset::Cpu, "gaussian", text);
        let page = reproduce(&workspace, &arguments(Preset::Cpu));
        format!("{:#}", page.err().unwrap())
    };
    let other = message("seed = 8\ndata = \"photos32\"\n");
    assert!(other.contains("gaussian.toml: seed 8 and data"), "{other}");
    let missing = message("data = \"photos32\"\n");
    assert!(missing.contains("gaussian.toml"), "{missing}");
    assert!(missing.contains("missing field `seed`"), "{missing}");
}

#[test]
fn a_preset_without_configs_is_an_error() {
    let page = reproduce(&Workspace::empty(), &arguments(Preset::Paper));
    let message = format!("{:#}", page.err().unwrap());
    assert!(message.contains("table1/paper/uniform.toml"), "{message}");
}

#[test]
fn a_dry_run_starts_nothing() {
    let workspace = workspace(Preset::Quick);
    let mut arguments = arguments(Preset::Quick);
    arguments.dry_run = true;
    reproduce(&workspace, &arguments).unwrap();
    assert!(!workspace.root().join("runs").exists());
}

#[cfg(unix)]
mod end_to_end {
    use super::*;
    use crate::experiment::Device;

    #[test]
    fn every_model_is_trained_and_evaluated_once() {
        let workspace = workspace(Preset::Quick);
        reproduce(&workspace, &arguments(Preset::Quick)).unwrap();
        let first = workspace.read("table1", Preset::Quick, "table1.json");
        let calls = calls(&workspace);
        // The five networks draw samples as well.
        assert_eq!(calls.len(), 3 * 7 + 5);
        let run = "ROOT/runs/table1-quick/uniform";
        assert_eq!(
            calls[..3],
            [
                format!(
                    "train --config ROOT/xtask/experiments/table1/quick/uniform.toml \
                     --out {run} --json"
                ),
                format!("eval --model {run}/best --data photos32 --split test --json"),
                format!("eval --model {run}/best --data photos32 --split train --limit 512 --json"),
            ]
        );
        reproduce(&workspace, &arguments(Preset::Quick)).unwrap();
        assert_eq!(super::calls(&workspace), calls);
        let second = workspace.read("table1", Preset::Quick, "table1.json");
        assert_eq!(second, first);
    }

    #[test]
    fn commands_follow_preset_data_and_device() {
        let workspace = workspace(Preset::Smoke);
        let mut arguments = arguments(Preset::Smoke);
        arguments.data = Some("cifar10:my data".to_owned());
        arguments.device = Some(Device::Cuda(1));
        let page = reproduce(&workspace, &arguments).unwrap();
        let run = "runs/table1-smoke/gated-pixelcnn";
        assert_eq!(
            page.commands[15..18],
            [
                format!(
                    "pixelcnn train --config xtask/experiments/table1/smoke/gated-pixelcnn.toml \
                     --out {run} --data 'cifar10:my data' --device cuda:1 --json"
                ),
                format!(
                    "pixelcnn eval --model {run}/best --data 'cifar10:my data' --split test \
                     --limit 8 --device cuda:1 --json"
                ),
                format!(
                    "pixelcnn eval --model {run}/best --data 'cifar10:my data' --split train \
                     --limit 8 --device cuda:1 --json"
                ),
            ]
        );
    }

    #[test]
    fn changed_inputs_run_again() {
        let workspace = workspace(Preset::Quick);
        let mut arguments = arguments(Preset::Quick);
        reproduce(&workspace, &arguments).unwrap();
        let changed = "seed = 7\ndata = \"photos32\"\n[model]\nblocks = 2\n";
        workspace.write_config("table1", Preset::Quick, "pixelcnn", changed);
        reproduce(&workspace, &arguments).unwrap();
        let calls = || super::calls(&workspace);
        assert_eq!(calls().len(), 26 + 4);
        assert!(calls()[26].contains("quick/pixelcnn.toml"));
        let aside = workspace.result("table1", Preset::Quick, "pixelcnn.1/training.json");
        assert!(aside.exists());

        arguments.data = Some("cifar10".to_owned());
        let page = reproduce(&workspace, &arguments).unwrap();
        assert_eq!(calls().len(), 30 + 26);
        assert!(page.notes[0].contains("columns are for `cifar10`"));

        arguments.device = Some(Device::Cpu);
        reproduce(&workspace, &arguments).unwrap();
        assert_eq!(calls().len(), 56 + 26);
    }

    #[test]
    fn a_failing_child_is_named_and_earlier_results_stay() {
        let workspace = workspace(Preset::Quick);
        let failing = "seed = 7\ndata = \"photos32\"\nfail = true\n";
        workspace.write_config("table1", Preset::Quick, "gaussian", failing);
        let page = reproduce(&workspace, &arguments(Preset::Quick));
        let message = format!("{:#}", page.err().unwrap());
        assert!(message.starts_with("gaussian of preset quick: `"));
        assert!(message.contains("fake-pixelcnn.sh train --config "));
        assert!(message.ends_with("failed: exit status: 3"), "{message}");
        let exists = |file| workspace.result("table1", Preset::Quick, file).exists();
        assert!(exists("uniform/training.json"));
        assert!(!exists("gaussian/training.json"));
        assert!(!exists("table1.json"));
    }

    #[test]
    fn the_table_is_written_as_json() {
        let workspace = workspace(Preset::Quick);
        reproduce(&workspace, &arguments(Preset::Quick)).unwrap();
        let text = workspace.read("table1", Preset::Quick, "table1.json");
        let table: serde_json::Value = serde_json::from_str(&text).unwrap();
        let head = ["preset", "data", "seed"].map(|key| table[key].to_string());
        assert_eq!(head, ["\"quick\"", "\"photos32\"", "7"]);
        let rows = table["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 13);
        assert_eq!(
            rows[2],
            json!({
                "model": "NICE", "paper": {"test": 4.48, "train": null}, "measured": null
            })
        );
        assert_eq!(
            rows[11],
            json!({
                "model": "Gated PixelCNN", "paper": {"test": 3.03, "train": 2.9},
                "measured": {
                    "test": 4.5, "test_std_err": 0.0231, "train": 4.25,
                    "parameters": 180_732, "images_seen": 1234, "seconds": 75.4
                }
            })
        );
        assert_eq!(rows[12]["model"], "Gated PixelCNN, ours");
        assert!(rows[12]["paper"].is_null());
    }

    #[test]
    fn the_table_is_written_as_markdown() {
        let workspace = workspace(Preset::Quick);
        reproduce(&workspace, &arguments(Preset::Quick)).unwrap();
        let text = workspace.read("table1", Preset::Quick, "table1.md");
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        // The table of the runs follows.
        assert_eq!(rows.len(), 15 + 9);
        assert_eq!(rows[0][2], "Measured: test (512 images)");
        assert_eq!(rows[0][3], "Measured: train (300 images)");
        let uniform = ["Uniform Distribution", "8.00", "4.500 ± 0.023", "4.250"];
        assert_eq!(rows[2][..4], uniform);
        assert_eq!(rows[2][4..], ["180,732", "1,234", "1 min 15 s"]);
        assert_eq!(rows[14][..3], ["Gated PixelCNN, ours", "", "4.500 ± 0.023"]);
        assert_eq!(rows[8][..3], ["Conv DRAW", "3.58 (3.57)", "published only"]);
        assert!(text.contains("Numbers on `photos32` are not CIFAR-10 numbers"));
    }
}
