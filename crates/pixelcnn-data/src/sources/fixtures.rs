//! Finds the data sets that come with the source.

use std::path::PathBuf;

use pixelcnn_system::fixture_places;

use crate::DataError;

/// The folder of a data set, as it is found on this machine.
pub(super) fn find(name: &str) -> Result<PathBuf, DataError> {
    find_among(name, fixture_places(name))
}

/// The first of the places that is a folder.
fn find_among(name: &str, mut looked: Vec<PathBuf>) -> Result<PathBuf, DataError> {
    match looked.iter().position(|folder| folder.is_dir()) {
        Some(found) => Ok(looked.swap_remove(found)),
        None => Err(DataError::FixturesNotFound {
            name: name.into(),
            looked,
        }),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn the_first_folder_is_found() {
        let root = tempdir().unwrap();
        let folders = ["missing", "a", "b"].map(|name| root.path().join(name));
        for folder in &folders[1..] {
            std::fs::create_dir(folder).unwrap();
        }
        assert_eq!(find_among("set", folders.to_vec()).unwrap(), folders[1]);
    }

    #[test]
    fn a_missing_folder_names_every_place_once() {
        let places = ["/no-such/one", "/no-such/two"];
        let error = find_among("photos32", places.map(PathBuf::from).to_vec()).unwrap_err();
        let message = error.to_string();
        for place in places {
            let line = format!("\n  {place}\n");
            assert_eq!(message.matches(&line).count(), 1, "{line} in {message}");
        }
        assert!(message.contains("PIXELCNN_FIXTURES"), "{message}");
    }
}
