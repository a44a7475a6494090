//! The help texts and the version.

use crate::test_folder::TestFolder;

const COMMANDS: [&str; 27] = [
    "",
    "train",
    "data",
    "eval",
    "score",
    "audit",
    "models",
    "info",
    "import",
    "sample",
    "complete",
    "reconstruct",
    "interpolate",
    "classify",
    "embed",
    "export",
    "compress",
    "decompress",
    "list",
    "verify",
    "bench",
    "bench train",
    "bench conv",
    "bench sample",
    "bench codec",
    "completions",
    "man",
];

fn text(place: &TestFolder, arguments: &str) -> String {
    let output = place.run(arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_fits_eighty_columns_by_words() {
    let place = TestFolder::new();
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let help = text(&place, &format!("{command} {flag}"));
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{command} {flag}: {line}");
            }
        }
    }
}

#[test]
fn one_flag_takes_one_thing_everywhere() {
    let place = TestFolder::new();
    let mut seen = std::collections::BTreeMap::new();
    for command in COMMANDS {
        for line in text(&place, &format!("{command} --help")).lines() {
            let line = line.trim_start();
            let line = line.split_once(", --").map_or(line, |(_, long)| long);
            let Some((flag, value)) = line.trim_start_matches("--").split_once(" <") else {
                continue;
            };
            let value = value.split('>').next().unwrap_or_default();
            // The meaning of these flags depends on the command.
            if !["out", "batch"].contains(&flag) && !flag.contains(' ') {
                let first = seen.entry(flag.to_string()).or_insert(value.to_string());
                assert_eq!(first, value, "{command}: --{flag}");
            }
        }
    }
    assert!(seen.contains_key("data") && seen.contains_key("steps"));
}

#[test]
fn the_version_names_the_program_and_its_features() {
    let place = TestFolder::new();
    let version = text(&place, "--version");
    let expected = format!("pixelcnn {} (features: ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&expected), "{version}");
    assert_eq!(version.contains("cuda"), cfg!(feature = "cuda"));
}

#[test]
fn there_are_completions_and_pages_of_the_manual() {
    let place = TestFolder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = text(&place, &format!("completions {shell}"));
        assert!(completions.contains("reconstruct"), "{shell}");
    }
    assert!(text(&place, "man").contains(".TH pixelcnn 1"));
    let line = place.line("man pages/of/it");
    assert!(line.starts_with("pages/of/it: "), "{line}");
    let page = String::from_utf8(place.bytes("pages/of/it/pixelcnn-eval.1")).unwrap();
    for form in ["photos32", "cifar10:PATH", "imagenet32:DIR, imagenet64:DIR"] {
        assert!(
            page.contains(&format!("\n.br\n{form}\n  ")),
            "{form}: {page}"
        );
    }
    for name in ["pixelcnn", "pixelcnn-sample", "pixelcnn-bench-conv"] {
        let page = place.bytes(&format!("pages/of/it/{name}.1"));
        assert!(
            String::from_utf8(page)
                .unwrap()
                .contains(&format!(".TH {name} 1")),
            "{name}"
        );
    }
}

#[test]
fn quiet_and_verbose_set_the_log() {
    let place = TestFolder::new();
    std::fs::create_dir(place.path("pictures")).unwrap();
    image::RgbImage::new(8, 8)
        .save(place.path("pictures/a.png"))
        .unwrap();
    place.write("pictures/notes.txt", "");
    place.json("train --config tiny.toml --out run --json");
    let said = |flags: &str| {
        let output = place.run(&format!("score pictures --model run {flags}"));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said("--verbose").contains("notes.txt"));
    assert_eq!(said("--quiet"), "");
    let both = place.run("info --model run --quiet --verbose");
    assert_eq!(both.status.code(), Some(2));
}
