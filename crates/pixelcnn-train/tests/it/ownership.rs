//! A folder belongs to one run: its settings, its data, its weights.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Dataset, Images, Split};
use pixelcnn_models::{Model, read_tensors};
use pixelcnn_train::{Outcome, Result, RunConfig, train};

use crate::synthetic::{self, Laboratory, NOISE, conditional};
use crate::tiny::{
    ADAM, assert_same, bits, config, config_with, dataset, files, finish, run, run_until,
    state_path,
};

fn run_on(config: &RunConfig, dataset: &Dataset, out: &Path) -> Result<Outcome> {
    let never = false.into();
    train(config, dataset, out, &Device::Cpu, &never, &mut |_| ())
}

/// The tiny data set with one change.
fn changed(change: impl Fn(&mut Dataset)) -> Dataset {
    let mut dataset = dataset();
    change(&mut dataset);
    dataset
}

fn with_values(images: &Images, first: u8) -> Images {
    let mut values = images
        .read(0..images.len())
        .unwrap()
        .as_bytes()
        .unwrap()
        .to_vec();
    values[0] = first;
    Images::new(images.shape(), values, images.labels().to_vec()).unwrap()
}

#[test]
fn other_data_are_refused_with_the_difference_also_after_the_end() {
    let value = changed(|dataset| {
        *dataset = dataset.with_split(
            Split::Train,
            with_values(dataset.images(Split::Train).unwrap(), 201),
        )
    });
    let fewer = changed(|dataset| {
        *dataset = dataset.with_split(
            Split::Train,
            dataset.images(Split::Train).unwrap().first(20),
        )
    });
    let valid = changed(|dataset| {
        *dataset = dataset.with_split(
            Split::Valid,
            with_values(dataset.images(Split::Valid).unwrap(), 201),
        )
    });
    let test = changed(|dataset| {
        *dataset = dataset.with_split(Split::Test, dataset.images(Split::Test).unwrap().first(1))
    });
    let classes = changed(|dataset| dataset.classes = vec!["all".to_string()]);
    for finished in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        match finished {
            true => drop(finish(&config(ADAM), folder.path())),
            false => drop(run_until(&config(ADAM), folder.path(), 5).unwrap()),
        }
        let before = files(folder.path(), &[]);
        for (other, part) in [
            (&value, "train: the number of images is the same"),
            (&fewer, "train: 24 images then, 20 now"),
            (&valid, "valid: the number of images is the same"),
            (&test, "test: 4 images then, 1 now"),
            (&classes, "classes: no names then, all now"),
        ] {
            let error = run_on(&config(ADAM), other, folder.path()).unwrap_err();
            let error = error.to_string();
            for part in ["data.json", part, "choose another folder"] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
        assert!(before == files(folder.path(), &[]), "a file changed");
        finish(&config(ADAM), folder.path());
    }
}

#[test]
fn other_vectors_are_refused_and_the_same_ones_elsewhere_too() {
    let mut cases = conditional().into_iter();
    let case = cases.find(|case| case.name == "vector").unwrap();
    let laboratory = Laboratory::new(case.squares, NOISE);
    let config = laboratory.config(&case, 6);
    let folder = tempfile::tempdir().unwrap();
    synthetic::run_until(&config, &laboratory.dataset, folder.path(), 3).unwrap();
    let path = config.condition_files.as_ref().unwrap().train.clone();
    let own = fs::read(&path).unwrap();
    let other = Tensor::ones((256, 4), DType::F32, &Device::Cpu).unwrap();
    other.write_npy(&path).unwrap();
    let error = run_on(&config, &laboratory.dataset, folder.path()).unwrap_err();
    let error = error.to_string();
    for part in [
        "data.json",
        "condition_files.train",
        path.as_str(),
        "has changed",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    fs::write(&path, own).unwrap();
    synthetic::finish(&config, &laboratory.dataset, folder.path());
}

#[test]
fn a_tokenizer_that_was_changed_is_refused() {
    let mut cases = conditional().into_iter();
    let case = cases.find(|case| case.name == "caption").unwrap();
    let laboratory = Laboratory::new(case.squares, NOISE);
    let config = laboratory.config(&case, 6);
    let folder = tempfile::tempdir().unwrap();
    synthetic::run_until(&config, &laboratory.dataset, folder.path(), 3).unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push('\n');
    fs::write(&path, text).unwrap();
    let error = run_on(&config, &laboratory.dataset, folder.path()).unwrap_err();
    assert!(error.to_string().contains("tokenizer: "), "{error}");
}

#[test]
fn a_run_without_a_record_of_its_data_resumes() {
    let (whole, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&config(ADAM), whole.path());
    run_until(&config(ADAM), old.path(), 5).unwrap();
    let strip = |path: &Path, key: &str| {
        let (tensors, note) = read_tensors(path, &Device::Cpu).unwrap();
        let mut note: serde_json::Value = serde_json::from_str(&note.unwrap()).unwrap();
        assert!(note.as_object_mut().unwrap().remove(key).is_some());
        pixelcnn_models::write_tensors(path, &tensors, &note.to_string()).unwrap();
    };
    strip(&state_path(old.path()), "run");
    fs::remove_file(old.path().join("data.json")).unwrap();
    let summary = finish(&config(ADAM), old.path());
    assert_same(whole.path(), old.path(), "old");
    assert!(old.path().join("data.json").exists());

    fs::remove_file(old.path().join("data.json")).unwrap();
    let path = old.path().join("summary.json");
    let mut text: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(text.as_object_mut().unwrap().remove("run").is_some());
    fs::write(&path, text.to_string()).unwrap();
    let before = files(old.path(), &[]);
    let again = finish(&config(ADAM), old.path());
    assert_eq!(again.valid_score, summary.valid_score);
    assert!(before == files(old.path(), &[]), "a file changed");
}

#[test]
fn state_without_run_toml_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config(ADAM), folder.path());
    fs::remove_file(folder.path().join("run.toml")).unwrap();
    for gone in ["last", "best", "metrics.jsonl", "summary.json"] {
        let before = files(folder.path(), &[]);
        let error = run(&config(ADAM), folder.path()).unwrap_err().to_string();
        assert!(error.contains("no run.toml"), "{error}");
        assert!(before == files(folder.path(), &[]), "a file changed");
        let path = folder.path().join(gone);
        assert!(error.contains(gone), "{gone} is not in: {error}");
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
    // The remaining files are no state of a run.
    finish(&config(ADAM), folder.path());
}

#[test]
fn settings_of_one_run_and_the_rest_of_another_are_refused() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (small, wide) = (config(ADAM), {
        let text = config(ADAM).to_toml().unwrap();
        RunConfig::parse(&text.replace("head = 6", "head = 9")).unwrap()
    });
    let slow = config_with(&[("learning_rate", "1e-3")]);
    // Another model or another rate; with a result or with a state.
    for (theirs, part) in [(&wide, "config.json"), (&slow, "run with other settings")] {
        for finished in [true, false] {
            let [mine, other] = [&mine, &other].map(|folder| folder.path().join("run"));
            for (config, out) in [(&small, &mine), (theirs, &other)] {
                match finished {
                    true => drop(finish(config, out)),
                    false => drop(run_until(config, out, 5).unwrap()),
                }
            }
            fs::copy(other.join("run.toml"), mine.join("run.toml")).unwrap();
            let error = run(theirs, &mine).unwrap_err().to_string();
            assert!(error.contains(part), "{part} is not in: {error}");
            for folder in [mine, other] {
                fs::remove_dir_all(folder).unwrap();
            }
        }
    }
}

/// Two configurations start in one folder at the same time, many times. At the end, all
/// settings and weights are from one of them.
#[test]
fn of_two_runs_that_start_together_one_has_the_folder() {
    let configs = [
        config_with(&[
            ("steps", "2"),
            ("validate_every", "2"),
            ("learning_rate", "1e-3"),
        ]),
        config_with(&[
            ("steps", "2"),
            ("validate_every", "2"),
            ("learning_rate", "1e-2"),
        ]),
    ];
    let weights = |out: &Path| {
        let (tensors, _) = read_tensors(out.join("last/model.safetensors"), &Device::Cpu).unwrap();
        bits(&tensors)
    };
    let expected = configs.each_ref().map(|config| {
        let folder = tempfile::tempdir().unwrap();
        finish(config, folder.path());
        weights(folder.path())
    });
    for attempt in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let barrier = Barrier::new(2);
        let ended = thread::scope(|scope| {
            let start = |config| {
                let (out, barrier) = (&out, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    run(config, out).is_ok()
                })
            };
            let threads = configs.each_ref().map(start);
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(
            ended.iter().filter(|ended| **ended).count() == 1,
            "{attempt}: {ended:?}"
        );
        let winner = usize::from(ended[1]);
        let held = RunConfig::read(&out.join("run.toml")).unwrap();
        assert!(held == configs[winner], "{attempt}: settings of the other");
        assert!(
            weights(&out) == expected[winner],
            "{attempt}: weights of the other"
        );
    }
}

#[test]
fn temporary_files_of_killed_runs_are_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    run_until(&config(ADAM), folder.path(), 5).unwrap();
    let left = ["", "last", "best"].map(|inner| {
        let path = folder
            .path()
            .join(inner)
            .join(".model.x1y2.pixelcnn-partial");
        fs::write(&path, b"half").unwrap();
        path
    });
    finish(&config(ADAM), folder.path());
    assert!(left.iter().all(|path| !path.exists()));
}

#[test]
fn the_curve_is_redrawn_when_a_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    run_until(&config(ADAM), folder.path(), 5).unwrap();
    let curve = folder.path().join("curve.svg");
    fs::write(&curve, "of steps that were not saved").unwrap();
    run_until(&config(ADAM), folder.path(), 6).unwrap();
    assert!(fs::read_to_string(&curve).unwrap().starts_with("<svg"));
}

/// A finished run needs neither a lock nor a writable folder.
#[test]
fn a_finished_run_answers_without_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let summary = finish(&config(ADAM), folder.path());
    let lock = folder.path().join("lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap(); // prevents a lock file
    assert_eq!(finish(&config(ADAM), folder.path()), summary);
    fs::remove_file(folder.path().join("summary.json")).unwrap();
    let error = run(&config(ADAM), folder.path()).unwrap_err().to_string();
    assert!(error.contains("lock"), "{error}");
}

#[test]
fn a_missing_best_model_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    run_until(&config(ADAM), folder.path(), 5).unwrap();
    fs::remove_dir_all(folder.path().join("best")).unwrap();
    let error = run(&config(ADAM), folder.path()).unwrap_err().to_string();
    assert!(error.contains("best/model.safetensors"), "{error}");
}

/// Only the learning rate differs, so the shapes of the model fit.
#[test]
fn the_best_model_of_another_run_is_refused() {
    let other = tempfile::tempdir().unwrap();
    finish(&config_with(&[("learning_rate", "1e-3")]), other.path());
    let short = config(ADAM);
    for finished in [false, true] {
        let mine = tempfile::tempdir().unwrap();
        match finished {
            true => drop(finish(&short, mine.path())),
            false => drop(run_until(&short, mine.path(), 5).unwrap()),
        }
        for file in ["config.json", "model.safetensors"] {
            let from = other.path().join("best").join(file);
            fs::copy(from, mine.path().join("best").join(file)).unwrap();
        }
        for config in [short.clone(), short.extended_to(15).unwrap()] {
            let error = run(&config, mine.path()).unwrap_err().to_string();
            for part in ["best/model.safetensors", "other settings"] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
    }
}

#[test]
fn models_take_the_names_of_classes_and_settings_stay_as_written() {
    let mut cases = conditional().into_iter();
    let case = cases.find(|case| case.name == "class").unwrap();
    let mut laboratory = Laboratory::new(case.squares, NOISE);
    laboratory.dataset.classes = vec!["dark".to_string(), "light".to_string()];
    let config = laboratory.config(&case, 6);
    let folder = tempfile::tempdir().unwrap();
    synthetic::run_until(&config, &laboratory.dataset, folder.path(), 3).unwrap();
    synthetic::finish(&config, &laboratory.dataset, folder.path());
    for part in ["best", "last"] {
        let model = Model::load(folder.path().join(part), &Device::Cpu).unwrap();
        let names = model.config().classes().unwrap().names().to_vec();
        assert_eq!(names, laboratory.dataset.classes);
    }
    let held = RunConfig::read(&folder.path().join("run.toml")).unwrap();
    assert_eq!(held, config);

    let other = tempfile::tempdir().unwrap();
    laboratory.dataset.classes.push("none".to_string());
    let out = other.path().join("run");
    let error = run_on(&config, &laboratory.dataset, &out).unwrap_err();
    assert!(error.to_string().contains("names 3 classes"), "{error}");
    assert!(!out.exists());
}
