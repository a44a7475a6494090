//! Folders, files and data that do not fit are refused by name.

use std::path::Path;

use candle_core::Device;
use pixelcnn_data::{Dataset, Images};
use pixelcnn_models::{read_tensors, write_tensors};
use pixelcnn_train::{RunConfig, train};

use crate::tiny::{ADAM, config, config_with, files, finish, run, run_until, state_path};

fn refused(config: &RunConfig, out: &Path) -> String {
    run(config, out).unwrap_err().to_string()
}

#[test]
fn a_folder_of_another_run_is_refused_and_the_difference_named() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config(ADAM), folder.path());
    let before = files(folder.path(), &[]);
    let mut seed = config(ADAM);
    seed.seed = 6;
    let mut data = config(ADAM);
    data.data = "tinier".to_string();
    let cases = [
        (seed, "`seed = 5`", "`seed = 6`"),
        (data, "`data = \"tiny\"`", "`data = \"tinier\"`"),
        (config_with(&[("batch", "5")]), "`batch = 4`", "`batch = 5`"),
    ];
    for (other, held, asked) in cases {
        let error = refused(&other, folder.path());
        let path = folder.path().join("run.toml").display().to_string();
        for part in [path.as_str(), held, asked] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
    assert!(before == files(folder.path(), &[]), "a file changed");
}

#[test]
fn broken_files_of_a_run_are_named() {
    for name in ["last/training.safetensors", "run.toml", "metrics.jsonl"] {
        let folder = tempfile::tempdir().unwrap();
        run_until(&config(ADAM), folder.path(), 5).unwrap();
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        for broken in [whole[..whole.len() / 2].to_vec(), b"\0\n\0\n".to_vec()] {
            // A kill can cut a log short, so this is not an error.
            if name == "metrics.jsonl" && broken.starts_with(b"{") {
                continue;
            }
            std::fs::write(&path, &broken).unwrap();
            let error = refused(&config(ADAM), folder.path());
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), broken);
        }
    }
}

#[test]
fn a_broken_summary_is_named() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config(ADAM), folder.path());
    std::fs::write(folder.path().join("summary.json"), "{").unwrap();
    let error = refused(&config(ADAM), folder.path());
    let expected = "summary.json: not the result of a run, or damaged (line 1, column 1)";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_state_that_does_not_fit_is_named_with_its_file() {
    for part in ["weight.", "average.", "optimiser."] {
        let folder = tempfile::tempdir().unwrap();
        run_until(&config(ADAM), folder.path(), 5).unwrap();
        let path = state_path(folder.path());
        let (tensors, note) = read_tensors(&path, &Device::Cpu).unwrap();
        let name = tensors
            .keys()
            .rfind(|name| name.starts_with(part))
            .unwrap()
            .clone();
        let bare = name.rsplit(part).next().unwrap().to_string();

        let mut fewer = tensors.clone();
        let removed = fewer.remove(&name).unwrap();
        let mut other = tensors.clone();
        other.insert(name.clone(), removed.unsqueeze(0).unwrap());
        let mut more = tensors.clone();
        more.insert(format!("{part}extra"), removed);
        for (tensors, bare) in [(fewer, &*bare), (other, &*bare), (more, "extra")] {
            write_tensors(&path, &tensors, note.as_deref().unwrap()).unwrap();
            let error = refused(&config(ADAM), folder.path());
            let file = path.display().to_string();
            for part in [file.as_str(), bare] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
        write_tensors(&path, &tensors, "{}").unwrap();
        assert!(refused(&config(ADAM), folder.path()).contains("training.safetensors"));
    }
}

#[test]
fn data_of_another_shape_are_refused() {
    let images = |shape: (usize, usize, usize)| {
        let size = shape.0 * shape.1 * shape.2;
        Images::new(shape, vec![0; 8 * size], vec![0; 8]).unwrap()
    };
    for shape in [(1, 6, 6), (3, 5, 6), (3, 6, 8)] {
        let folder = tempfile::tempdir().unwrap();
        let images = images(shape);
        let splits = [images.clone(), images.clone(), images];
        let other = Dataset::new("tiny", Vec::new(), splits);
        let never = false.into();
        let outcome = train(
            &config(ADAM),
            &other,
            folder.path(),
            &Device::Cpu,
            &never,
            &mut |_| (),
        );
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with("model.image: "), "{error}");
        assert!(error.contains("tiny"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_batch_of_more_images_than_there_are_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&config_with(&[("batch", "25")]), folder.path());
    assert!(error.contains("batches of 25 from 24 images"), "{error}");
    // The folder is still free for a run with a smaller batch.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
