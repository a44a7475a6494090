//! The folders of what comes with the source.

use std::env;
use std::path::PathBuf;

/// The possible places of `fixtures/NAME`, the nearest first, whether they exist or not.
///
/// If the environment variable `PIXELCNN_FIXTURES` names a folder, only `NAME` in it is
/// possible: another copy must not be used unnoticed. Otherwise the places are
/// `fixtures/NAME` in the current folder and in the folder of the program, and in all
/// folders above them.
///
/// # Example
///
/// ```
/// for place in pixelcnn_system::fixture_places("photos32") {
///     assert!(place.ends_with("photos32"));
/// }
/// ```
pub fn fixture_places(name: &str) -> Vec<PathBuf> {
    let named = env::var_os("PIXELCNN_FIXTURES").filter(|value| !value.is_empty());
    let program = env::current_exe().ok();
    let program = program.and_then(|path| path.parent().map(PathBuf::from));
    let below: Vec<_> = env::current_dir().ok().into_iter().chain(program).collect();
    among(name, named.map(PathBuf::from), &below)
}

fn among(name: &str, named: Option<PathBuf>, below: &[PathBuf]) -> Vec<PathBuf> {
    if let Some(fixtures) = named {
        return vec![fixtures.join(name)];
    }
    let mut places = Vec::new();
    for folder in below.iter().flat_map(|below| below.ancestors()) {
        let place = folder.join("fixtures").join(name);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_above_is_a_place_once_and_the_nearest_is_first() {
        let below = ["/one/two".into(), "/one/three".into()];
        let expected = [
            "/one/two/fixtures/set",
            "/one/fixtures/set",
            "/fixtures/set",
            "/one/three/fixtures/set",
        ];
        assert_eq!(among("set", None, &below), expected.map(PathBuf::from));
    }

    #[test]
    fn a_named_folder_is_the_only_place() {
        let below = ["/one".into()];
        let places = among("set", Some("/mine".into()), &below);
        assert_eq!(places, [PathBuf::from("/mine/set")]);
    }

    #[test]
    fn the_places_begin_at_the_current_folder() {
        // The variable is not set in tests.
        let current = env::current_dir().unwrap();
        let first = current.join("fixtures").join("set");
        if env::var_os("PIXELCNN_FIXTURES").is_none() {
            assert_eq!(fixture_places("set")[0], first);
        }
    }
}
