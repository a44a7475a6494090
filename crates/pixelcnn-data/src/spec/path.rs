//! Paths as data specs.

use std::path::{MAIN_SEPARATOR, Path};

use super::{DataSpec, folder};

/// Parses a text without a known name at its beginning: a folder means its
/// pictures. `None` if it is not a path; otherwise the error is only the reason.
///
/// A text is a path if it contains a separator or exists.
pub(super) fn parse(text: &str) -> Option<Result<DataSpec, String>> {
    let path = text.split_once(',').map_or(text, |(path, _)| path);
    let looks_like_one = path.contains(['/', MAIN_SEPARATOR]);
    let path = Path::new(path);
    if path.as_os_str().is_empty() || !(looks_like_one || path.exists()) {
        return None;
    }
    if path.is_dir() {
        return Some(match of_folder(path) {
            Some(form) => Err(format!(
                "its files are those of another data set: use {form}"
            )),
            None => folder::parse(text).map(DataSpec::Folder),
        });
    }
    Some(Err(match path.exists() {
        true => format!("it is a file: {}", of_file(path)),
        false => "there is no such folder".into(),
    }))
}

/// The spec of a folder whose files are those of another data set.
fn of_folder(path: &Path) -> Option<String> {
    let any = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
    let shown = path.display();
    if any(&[
        "data_batch_1.bin",
        "cifar-10-batches-bin",
        "data_batch_1",
        "cifar-10-batches-py",
    ]) {
        Some(format!("cifar10:{shown}"))
    } else if any(&[
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte.gz",
        "train-images.idx3-ubyte",
        "train-images.idx3-ubyte.gz",
    ]) {
        Some(format!("mnist:{shown}"))
    } else if any(&["train_data_batch_1.npz", "val_data.npz"]) {
        Some(format!("imagenet32:{shown} or imagenet64:{shown}"))
    } else if any(&["train_32x32", "valid_32x32"]) {
        Some(format!("imagenet32:{shown}"))
    } else if any(&["train_64x64", "valid_64x64"]) {
        Some(format!("imagenet64:{shown}"))
    } else {
        None
    }
}

/// What to use instead of a file.
fn of_file(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.display().to_string(),
        _ => ".".into(),
    };
    if ends(&["idx3-ubyte", "idx1-ubyte", "idx3-ubyte.gz", "idx1-ubyte.gz"]) {
        format!("for IDX files use their folder, as mnist:{folder}")
    } else if ends(&[".bin", ".bin.gz"]) {
        format!("for binary records use records:{}", path.display())
    } else if ends(&[".npz"]) {
        format!("for npz batches use their folder, as imagenet32:{folder} or imagenet64:{folder}")
    } else if ends(&[".tar.gz", ".tgz"]) {
        format!("for the archive of CIFAR-10 use cifar10:{}", path.display())
    } else if ends(&[".zip", ".tar", ".tar.bz2", ".tar.xz", ".7z", ".rar"]) {
        "unpack the archive and use the folder of its pictures".into()
    } else if ends(&[".npy", ".safetensors"]) {
        format!(
            "for grids of codes use tokens:{}; images in an array must be saved as PNG files, \
             for their folder",
            path.display()
        )
    } else {
        format!("for pictures use their folder, as folder:{folder}")
    }
}
