//! Every example runs and prints the expected output.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{DType, Device};
use image::RgbImage;
use pixelcnn_data::{Split, load};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures");

/// Cargo puts the examples next to the folder of this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    folder.join("examples").join(name)
}

/// The output of an example, run in a folder.
fn run(folder: &Path, name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program(name));
    command
        .env("PIXELCNN_FIXTURES", FIXTURES)
        .current_dir(folder);
    let output = command.args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The number before a word.
fn number(text: &str, word: &str) -> f64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let index = words.iter().position(|found| found.starts_with(word));
    let parse = |index: usize| {
        let words = match words[..index] {
            // A standard error follows its value.
            [ref first @ .., "±", _] => first,
            ref all => all,
        };
        words.iter().rev().find_map(|it| it.parse().ok())
    };
    let before = index.and_then(parse);
    before.unwrap_or_else(|| panic!("no number before {word}: {text}"))
}

/// The first photographs of photos32 as files.
fn write_photographs(folder: &Path, count: usize) {
    let dataset = load(&"photos32".parse().unwrap()).unwrap();
    let images = dataset.split(Split::Train).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    for index in 0..count {
        let values = images.tensor(index..index + 1, &Device::Cpu).unwrap();
        let values = values.to_dtype(DType::U8).unwrap().permute((0, 2, 3, 1));
        let bytes = values.unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let picture = RgbImage::from_raw(32, 32, bytes).unwrap();
        picture.save(folder.join(format!("{index}.png"))).unwrap();
    }
}

#[test]
fn a_model_of_a_folder_is_trained_and_scores_and_draws_pictures() {
    let place = tempfile::tempdir().unwrap();
    write_photographs(&place.path().join("photos"), 40);
    let run = |name, arguments: &[&str]| run(place.path(), name, arguments);
    let trained = run("train_on_folder", &["photos", "run"]);
    // Less than the 8 bits of a model without training.
    assert!(number(&trained, "bits/dim,") < 7.5, "{trained}");
    let again = run("train_on_folder", &["photos", "run"]);
    assert!(
        again.lines().count() == 1 && trained.ends_with(&again),
        "{again}"
    );

    let scored = run("bits_per_dim", &["run/best", "photos/0.png"]);
    assert!(
        (2.0..7.9).contains(&number(&scored, "bits/dim")),
        "{scored}"
    );
    run("sample_checkpoint", &["run/best", "samples.png"]);
    let picture = image::open(place.path().join("samples.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (64, 64));
}

#[test]
fn codes_of_photographs_get_a_prior() {
    let place = tempfile::tempdir().unwrap();
    let run = |name, arguments: &[&str]| run(place.path(), name, arguments);
    run("photo_codes", &["encode", "codes", "16"]);
    let prior = run("prior_over_codes", &["codes/test.npy", "16", "run"]);
    // Less than the 4 bits of a uniform distribution over 16 codes.
    assert!(number(&prior, "bits") < 3.9, "{prior}");
    assert_eq!(
        prior.lines().filter(|line| line.starts_with('[')).count(),
        8
    );
}

#[test]
fn your_own_network_passes_the_audit() {
    let place = tempfile::tempdir().unwrap();
    let printed = run(place.path(), "gated_block", &[]);
    assert!(printed.contains("audit: 0 faults"), "{printed}");
    // Before training, with 16 levels.
    let bits = number(&printed, "bits/dim");
    assert!((4.0..6.0).contains(&bits), "{printed}");
}
