//! Finds the data sets that come with the source.

use std::env;
use std::path::PathBuf;

use crate::DataError;

/// The possible places of the folder.
struct Places {
    /// The fixtures folder given by the user.
    named: Option<PathBuf>,
    /// Directories at or above which a `fixtures` folder may be.
    below: Vec<PathBuf>,
}

/// The folder of a data set, as it is found on this machine.
pub(super) fn find(name: &str) -> Result<PathBuf, DataError> {
    find_among(name, &places())
}

/// The places for this process. Only this function reads the environment.
fn places() -> Places {
    let named = env::var_os("PIXELCNN_FIXTURES").filter(|value| !value.is_empty());
    let program = env::current_exe().ok();
    let program = program.and_then(|path| path.parent().map(PathBuf::from));
    Places {
        named: named.map(PathBuf::from),
        below: env::current_dir().ok().into_iter().chain(program).collect(),
    }
}

/// The folder of the data set. If the user gave a folder, no other place is searched,
/// because another copy of the data would go unnoticed.
fn find_among(name: &str, places: &Places) -> Result<PathBuf, DataError> {
    let mut looked = match &places.named {
        Some(fixtures) => vec![fixtures.join(name)],
        None => above(name, &places.below),
    };
    match looked.iter().position(|folder| folder.is_dir()) {
        Some(found) => Ok(looked.swap_remove(found)),
        None => Err(DataError::FixturesNotFound {
            name: name.into(),
            looked,
        }),
    }
}

/// `fixtures/NAME` in each directory and its parents, each once.
fn above(name: &str, directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for directory in directories.iter().flat_map(|below| below.ancestors()) {
        let folder = directory.join("fixtures").join(name);
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir_all;
    use std::path::Path;

    use tempfile::tempdir;

    use super::*;
    use crate::testing::assert_says;

    #[test]
    fn a_folder_above_is_found_and_the_nearest_first() {
        let root = tempdir().unwrap();
        let outer = root.path().join("fixtures/photos32");
        let inner = root.path().join("a/fixtures/photos32");
        let start = root.path().join("a/b/c");
        for folder in [&outer, &inner, &start] {
            create_dir_all(folder).unwrap();
        }
        let from = |start: &Path| Places {
            named: None,
            below: vec!["/nowhere/at/all".into(), start.into()],
        };
        assert_eq!(find_among("photos32", &from(&start)).unwrap(), inner);
        assert_eq!(find_among("photos32", &from(root.path())).unwrap(), outer);
    }

    #[test]
    fn a_named_folder_is_the_only_place() {
        let root = tempdir().unwrap();
        let folder = root.path().join("fixtures/photos32");
        create_dir_all(&folder).unwrap();
        let places = |named: &str| Places {
            named: Some(root.path().join(named)),
            below: vec![root.path().into()],
        };
        assert_eq!(find_among("photos32", &places("fixtures")).unwrap(), folder);
        let error = find_among("photos32", &places("elsewhere")).unwrap_err();
        let looked = root.path().join("elsewhere/photos32");
        assert_says(&error, &[looked.to_str().unwrap(), "PIXELCNN_FIXTURES"]);
        assert!(matches!(error, DataError::FixturesNotFound { looked, .. } if looked.len() == 1));
    }

    #[test]
    fn a_missing_folder_names_every_place_once() {
        let places = Places {
            named: None,
            below: vec!["/no-such/one/two".into(), "/no-such/one/three".into()],
        };
        let error = find_among("photos32", &places).unwrap_err();
        let message = error.to_string();
        for directory in [
            "/no-such/one/two",
            "/no-such/one/three",
            "/no-such/one",
            "/no-such",
        ] {
            let line = format!("\n  {directory}/fixtures/photos32\n");
            assert_eq!(message.matches(&line).count(), 1, "{line} in {message}");
        }
        assert!(message.contains("PIXELCNN_FIXTURES"), "{message}");
    }

    #[test]
    fn the_places_begin_at_the_current_directory() {
        let places = places();
        assert_eq!(places.below[0], env::current_dir().unwrap());
        assert_eq!(places.below.len(), 2);
    }
}
