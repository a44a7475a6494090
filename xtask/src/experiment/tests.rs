//! Experiments with a fake program: which results are reused, and the text of pages.

use super::test_workspace::{Workspace, arguments};
use super::*;
use crate::{figure3, figure4, figure6, figure7, table2};

const SMOKE: Preset = Preset::Smoke;

fn change(workspace: &Workspace, experiment: &str, name: &str) {
    let config = format!("xtask/experiments/{experiment}/{SMOKE}/{name}.toml");
    let text = std::fs::read_to_string(workspace.root().join(config)).unwrap();
    workspace.write_config(experiment, SMOKE, name, &format!("# Changed.\n{text}"));
}

#[test]
fn results_of_a_changed_run_are_computed_again() {
    let workspace = Workspace::smoke();
    let mut before = 0;
    let mut calls = || {
        workspace
            .reproduce(&figure3::FIGURE_3, &arguments(SMOKE))
            .unwrap();
        let calls = workspace.calls("figure3", SMOKE);
        let words = calls[before..]
            .iter()
            .map(|it| it.split(' ').next().unwrap().to_owned());
        let words: Vec<String> = words.collect();
        before = calls.len();
        words.join(" ")
    };
    let all = "train train train eval eval sample eval classify classify";
    assert_eq!(calls(), all);
    assert_eq!(calls(), "");
    change(&workspace, "figure3", "classifier");
    // The samples are classified again, but not drawn again.
    assert_eq!(calls(), "train eval classify");
    std::fs::remove_file(workspace.result("figure3", SMOKE, "class-conditional/samples.png"))
        .unwrap();
    assert_eq!(calls(), "sample");
}

#[test]
fn a_changed_encoder_sets_aside_the_runs_that_use_it() {
    let workspace = Workspace::smoke();
    workspace
        .reproduce(&figure4::FIGURE_4, &arguments(SMOKE))
        .unwrap();
    change(&workspace, "figure4", "embedding");
    workspace
        .reproduce(&figure4::FIGURE_5, &arguments(SMOKE))
        .unwrap();
    let exists = |file| workspace.result("figure4", SMOKE, file).exists();
    assert!(exists("embedding.1/test.json") && exists("portraits.1/samples.png"));
    assert!(exists("portraits/interpolation.png") && !exists("portraits/samples.png"));
    assert!(!exists("unconditional.1"));
}

#[test]
fn an_interrupted_training_with_another_config_is_set_aside() {
    let workspace = Workspace::smoke();
    let name = "unconditional";
    workspace.write_config("figure4", SMOKE, name, "seed = 1\ndata = 'd'\nfail = true");
    let run = || workspace.reproduce(&figure4::FIGURE_4, &arguments(SMOKE));
    let aside = workspace.result("figure4", SMOKE, "unconditional.1");
    // With the same config, the training resumes.
    assert!(run().is_err() && run().is_err() && !aside.exists());
    workspace.write_config("figure4", SMOKE, name, "seed = 2\ndata = 'd'");
    run().unwrap();
    assert!(aside.join("best").exists());
}

#[test]
fn portraits_show_only_existing_persons() {
    let workspace = Workspace::smoke();
    let page = workspace
        .reproduce(&figure4::FIGURE_4, &arguments(SMOKE))
        .unwrap();
    assert!(page.notes[0].contains("**2 persons of the test images are in the training images.**"));
    let calls = workspace.calls("figure4", SMOKE);
    let drawn = calls.iter().find(|call| call.starts_with("sample"));
    assert!(drawn.unwrap().contains("--index 0,4 "), "{drawn:?}");
}

#[test]
fn pages_state_where_their_numbers_come_from() {
    let workspace = Workspace::smoke();
    workspace
        .reproduce(&figure6::FIGURE_6, &arguments(SMOKE))
        .unwrap();
    let text = workspace.read("figure6", SMOKE, "figure6.md");
    for part in [
        "Preset `smoke`, device `cpu`",
        "its numbers mean nothing",
        "0.0030 bits/dim are the",
        "| `photos32` |    1 |    180,732 |",
        "1 min 15 s",
        "4.500 ± 0.023 |                     4.750 | 0.250 ± 0.010",
        "0.01250 ± 0.02310",
        "pixelcnn reconstruct --model runs/figure6-smoke/code-100/best --data photos32",
        "](mse-10/reconstructions.png)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = workspace.read("figure6", SMOKE, "figure6.json");
    let page: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(page["runs"][3]["name"], "code-10");
    assert_eq!(page["runs"][3]["parameters"], 180_732);
    assert_eq!(page["answers"][7]["name"], "code-10/shuffled");
    assert_eq!(page["answers"][7]["answer"]["shuffled"]["difference"], 0.25);
}

#[test]
fn two_scales_cost_their_sum_per_large_dimension() {
    let workspace = Workspace::smoke();
    let page = workspace
        .reproduce(&figure7::FIGURE_7, &arguments(SMOKE))
        .unwrap();
    // 4.5 + 4.5 / 4
    assert!(page.notes[1].contains("5.625 bits"), "{}", page.notes[1]);
}

#[test]
fn large_images_run_only_if_their_data_are_given() {
    let workspace = Workspace::smoke();
    let page = workspace
        .reproduce(&table2::TABLE_2, &arguments(SMOKE))
        .unwrap();
    assert_eq!(page.tables[0].rows[2][2], "4.500 ± 0.023");
    assert_eq!(
        page.tables[1].rows[2][1..3],
        ["3.57 (3.48)", "published only"]
    );
    assert!(page.notes[2].contains("64x64: no data were given"));
    let report = |runner: &mut ExperimentRunner<'_>| table2::report(runner, Some("imagenet64:d"));
    let experiment = Experiment {
        report: &report,
        ..table2::TABLE_2
    };
    let page = workspace.reproduce(&experiment, &arguments(SMOKE)).unwrap();
    assert_eq!(page.tables[1].rows[2][2], "4.500 ± 0.023");
    assert!(page.notes[1].contains("not ImageNet numbers"));
    assert!(page.notes[2].contains("two versions of downsampled ImageNet"));
}
