//! The whole task with a stand-in for the program.

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// A workspace with the four configs of one preset.
    fn new(preset: Preset) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { folder };
        for name in plan::NAMES {
            fixture.write_config(preset, name, "seed = 7\ndata = \"photos32\"\n[model]\n");
        }
        fixture
    }

    fn write_config(&self, preset: Preset, name: &str, text: &str) {
        let folder = format!("xtask/experiments/table1/{preset}");
        let folder = self.folder.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }

    fn plan(&self, preset: Preset) -> Plan {
        Plan::new(self.folder.path(), &arguments(preset)).unwrap()
    }

    fn out(&self, file: &str) -> PathBuf {
        self.folder.path().join("runs/table1-quick").join(file)
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.out("calls")).unwrap_or_default();
        let root = self.folder.path().to_str().unwrap();
        let lines = text.lines().map(|line| line.replace(root, "ROOT"));
        lines.collect()
    }
}

fn arguments(preset: Preset) -> Arguments {
    Arguments {
        preset,
        data: None,
        device: None,
        dry_run: false,
        out: None,
    }
}

fn stand_in() -> Program {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Program::at(package.join("fixtures/pixelcnn-stand-in.sh"))
}

fn lines(commands: &[std::process::Command]) -> Vec<String> {
    commands.iter().map(process::shell_line).collect()
}

#[test]
fn commands_follow_preset_data_and_device() {
    let fixture = Fixture::new(Preset::Smoke);
    let mut arguments = arguments(Preset::Smoke);
    arguments.data = Some("cifar10:my data".to_owned());
    arguments.device = Some(Device::Cuda(1));
    arguments.out = Some(PathBuf::from("/out"));
    let plan = Plan::new(fixture.folder.path(), &arguments).unwrap();
    let program = Program::at(PathBuf::from("/t/pixelcnn"));
    let commands = [
        program.train(&plan, &plan.runs[3]),
        program.evaluate(&plan, "/m", Split::Test),
        program.evaluate(&plan, "/m", Split::Train),
    ];
    let config = plan.runs[3].config.display();
    assert_eq!(
        lines(&commands),
        [
            format!(
                "/t/pixelcnn train --config {config} --out /out/gated-pixelcnn \
                 --data 'cifar10:my data' --device cuda:1 --json"
            ),
            "/t/pixelcnn eval --model /m --data 'cifar10:my data' --split test --limit 8 \
             --device cuda:1 --json"
                .to_owned(),
            "/t/pixelcnn eval --model /m --data 'cifar10:my data' --split train --limit 8 \
             --device cuda:1 --json"
                .to_owned(),
        ]
    );
    assert!(config.to_string().ends_with("/smoke/gated-pixelcnn.toml"));
}

#[test]
fn configs_that_disagree_or_lack_their_head_are_named() {
    let fixture = Fixture::new(Preset::Cpu);
    let plan = || Plan::new(fixture.folder.path(), &arguments(Preset::Cpu));
    let message = || format!("{:#}", plan().err().unwrap());
    fixture.write_config(Preset::Cpu, "gaussian", "seed = 8\ndata = \"photos32\"\n");
    assert!(message().contains("gaussian.toml: Head { seed: 8"));
    fixture.write_config(Preset::Cpu, "gaussian", "data = \"photos32\"\n");
    let missing = message();
    assert!(missing.contains("gaussian.toml"), "{missing}");
    assert!(missing.contains("missing field `seed`"), "{missing}");
}

#[test]
fn a_preset_without_configs_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Plan::new(folder.path(), &arguments(Preset::Paper)).err();
    let message = format!("{:#}", error.unwrap());
    assert!(message.contains("table1/paper/uniform.toml"), "{message}");
}

#[test]
fn a_dry_run_starts_nothing() {
    let fixture = Fixture::new(Preset::Quick);
    let plan = fixture.plan(Preset::Quick);
    dry_run(&plan, &Program::at(PathBuf::from("/nowhere"))).unwrap();
    assert!(!plan.out.exists());
}

#[cfg(unix)]
mod end_to_end {
    use super::*;

    #[test]
    fn every_model_is_trained_and_evaluated_once() {
        let fixture = Fixture::new(Preset::Quick);
        let plan = fixture.plan(Preset::Quick);
        let first = reproduce(&plan, &stand_in()).unwrap();
        let calls = fixture.calls();
        assert_eq!(calls.len(), 3 * 4);
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
        let second = reproduce(&fixture.plan(Preset::Quick), &stand_in()).unwrap();
        assert_eq!(fixture.calls(), calls);
        assert_eq!(second, first);
    }

    #[test]
    fn changed_inputs_run_again() {
        let fixture = Fixture::new(Preset::Quick);
        reproduce(&fixture.plan(Preset::Quick), &stand_in()).unwrap();
        let changed = "seed = 7\ndata = \"photos32\"\n[model]\nblocks = 2\n";
        fixture.write_config(Preset::Quick, "pixelcnn", changed);
        reproduce(&fixture.plan(Preset::Quick), &stand_in()).unwrap();
        let calls = fixture.calls();
        assert_eq!(calls.len(), 12 + 3);
        assert!(calls[12].contains("quick/pixelcnn.toml"));
        let plan = fixture.plan(Preset::Quick);
        assert!(plan.out.join("pixelcnn.1/result.json").exists());

        let mut other = arguments(Preset::Quick);
        other.data = Some("cifar10".to_owned());
        let plan = Plan::new(fixture.folder.path(), &other).unwrap();
        let markdown = reproduce(&plan, &stand_in()).unwrap();
        assert_eq!(fixture.calls().len(), 15 + 12);
        assert!(markdown.contains("columns are `cifar10`"));

        other.device = Some(Device::Cpu);
        let plan = Plan::new(fixture.folder.path(), &other).unwrap();
        reproduce(&plan, &stand_in()).unwrap();
        assert_eq!(fixture.calls().len(), 27 + 12);
    }

    #[test]
    fn a_failing_child_is_named_with_its_status_and_what_was_done_stays() {
        let fixture = Fixture::new(Preset::Quick);
        let failing = "seed = 7\ndata = \"photos32\"\nfail = true\n";
        fixture.write_config(Preset::Quick, "gaussian", failing);
        let error = reproduce(&fixture.plan(Preset::Quick), &stand_in()).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.starts_with("gaussian of preset quick: `"));
        assert!(message.contains("pixelcnn-stand-in.sh train --config "));
        assert!(message.ends_with("failed: exit status: 3"), "{message}");
        assert!(fixture.out("uniform/result.json").is_file());
        assert!(!fixture.out("gaussian/result.json").exists());
        assert!(!fixture.out("table1.json").exists());
    }

    #[test]
    fn the_table_is_written_as_json() {
        let fixture = Fixture::new(Preset::Quick);
        reproduce(&fixture.plan(Preset::Quick), &stand_in()).unwrap();
        let text = std::fs::read_to_string(fixture.out("table1.json")).unwrap();
        let table: serde_json::Value = serde_json::from_str(&text).unwrap();
        let head = ["preset", "data", "seed"].map(|key| table[key].to_string());
        assert_eq!(head, ["\"quick\"", "\"photos32\"", "7"]);
        let rows = table["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 11);
        assert_eq!(
            rows[2],
            serde_json::json!({
                "model": "NICE", "paper": {"test": 4.48, "train": null}, "measured": null
            })
        );
        assert_eq!(
            rows[10],
            serde_json::json!({
                "model": "Gated PixelCNN", "paper": {"test": 3.03, "train": 2.9},
                "measured": {
                    "test": 4.5, "test_std_err": 0.0231, "train": 4.25,
                    "parameters": 180_732, "images_seen": 1234, "seconds": 75.4
                }
            })
        );
    }

    #[test]
    fn the_table_is_written_as_markdown() {
        let fixture = Fixture::new(Preset::Quick);
        let printed = reproduce(&fixture.plan(Preset::Quick), &stand_in()).unwrap();
        let text = std::fs::read_to_string(fixture.out("table1.md")).unwrap();
        assert_eq!(printed, text);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), 13);
        assert_eq!(rows[0][2], "Measured: test (512 images)");
        assert_eq!(rows[0][3], "Measured: train (300 images)");
        let uniform = ["Uniform Distribution", "8.00", "4.500 ± 0.023", "4.250"];
        assert_eq!(rows[2][..4], uniform);
        assert_eq!(rows[2][4..], ["180,732", "1,234", "1 min 15 s"]);
        assert_eq!(rows[8][..3], ["Conv DRAW", "3.58 (3.57)", "published only"]);
        assert!(text.contains("A run on `photos32` is not a CIFAR-10 number"));
    }
}
