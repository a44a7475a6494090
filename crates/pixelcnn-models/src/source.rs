//! Where models come from: a name, a folder, a run, or the hub.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use candle_core::Device;
use pixelcnn_system::fixture_places;

use crate::{Model, ModelError};

/// The beginning of a name of the hub.
const HUB: &str = "hf:";
/// The folder of the models that come with the source.
const INCLUDED: &str = "models";

impl Model {
    /// The model of a name, as [`find_model`] finds it, on the CPU or another device.
    ///
    /// # Errors
    ///
    /// As [`find_model`] and [`Model::load`].
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::Device;
    /// use pixelcnn_models::Model;
    ///
    /// let error = Model::from_pretrained("no-such-model", &Device::Cpu).unwrap_err();
    /// assert!(error.to_string().contains("no such model"));
    /// ```
    pub fn from_pretrained(name: &str, device: &Device) -> Result<Self, ModelError> {
        Self::load(find_model(name)?, device)
    }
}

/// The model directory of a name, with `config.json` and the weights. The name is one of:
///
/// - the bare name of a model that comes with the source, `fixtures/models/NAME`
///   ([`included_models`]);
/// - a model directory;
/// - the folder of a run: its best model;
/// - `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`, a model of the Hugging Face hub, with the
///   feature `hub`. A process asks the hub once for each name.
///
/// A folder whose name is also that of an included model is given with a separator
/// (`./NAME`).
///
/// # Errors
///
/// If there is no such model; the message lists the included ones. If the folder is
/// none of a model, or the hub refuses the model or cannot be reached.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_models::{Model, ModelConfig, UniformConfig, find_model};
///
/// let run = tempfile::tempdir()?;
/// let image = r#"{"channels": 1, "height": 2, "width": 2, "levels": 256}"#;
/// let config = serde_json::from_str(&format!(r#"{{"kind": "uniform", "image": {image}}}"#))?;
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// model.save(run.path().join("best"))?;
/// assert_eq!(find_model(run.path())?, run.path().join("best"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn find_model(name: impl AsRef<Path>) -> Result<PathBuf, ModelError> {
    find_model_with(name, |_, _, _| ())
}

/// The same with progress reports of downloads: the file, its bytes that have arrived, and
/// all its bytes.
///
/// # Errors
///
/// As [`find_model`].
///
/// # Example
///
/// ```
/// let report = |file: &str, done: u64, of: u64| println!("{file}: {done} of {of} bytes");
/// assert!(pixelcnn_models::find_model_with("no-such-model", report).is_err());
/// ```
pub fn find_model_with(
    name: impl AsRef<Path>,
    progress: impl Fn(&str, u64, u64) + Send + Sync + 'static,
) -> Result<PathBuf, ModelError> {
    let path = name.as_ref();
    let Some(name) = path.to_str() else {
        return directory(path);
    };
    if let Some(repository) = name.strip_prefix(HUB) {
        return hub::directory(repository, progress);
    }
    if !is_bare(name) {
        return directory(path);
    }
    let included = included_models();
    match (included.get(name), path.exists()) {
        (Some(found), exists) => {
            if exists {
                tracing::info!(
                    "{name} is the model {}, not the folder ./{name}",
                    found.display()
                );
            }
            Ok(found.clone())
        }
        (None, true) => directory(path),
        (None, false) => Err(ModelError::UnknownModel {
            name: name.into(),
            included: included.into_keys().collect(),
        }),
    }
}

/// The models that come with the source, by name: the folders with a `config.json` in
/// `fixtures/models`, which is searched as the included data sets are
/// ([`fixture_places`]).
///
/// # Example
///
/// ```
/// for (name, folder) in pixelcnn_models::included_models() {
///     println!("{name}: {}", folder.display());
/// }
/// ```
pub fn included_models() -> BTreeMap<String, PathBuf> {
    let places = fixture_places(INCLUDED);
    let place = places.into_iter().find(|place| place.is_dir());
    place.map(|place| models_in(&place)).unwrap_or_default()
}

/// The model directories in a folder, by name; a folder that cannot be read has none.
fn models_in(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let models = entries.filter_map(|entry| {
        let path = entry.path();
        let name = entry.file_name().into_string().ok()?;
        path.join("config.json").exists().then_some((name, path))
    });
    models.collect()
}

/// Whether a text is a single name, not a path.
fn is_bare(text: &str) -> bool {
    !text.contains(['/', MAIN_SEPARATOR]) && !matches!(text, "." | "..")
}

/// The model directory at a path: the folder itself, or that of the best model of a run.
fn directory(path: &Path) -> Result<PathBuf, ModelError> {
    let no_model = |why: String| ModelError::NoModel {
        path: path.to_path_buf(),
        why,
    };
    match path.metadata().map(|found| found.is_dir()) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let why = "no such folder; a model directory or a run expected";
            return Err(no_model(why.into()));
        }
        Err(error) => return Err(no_model(format!("cannot be read: {error}"))),
        Ok(false) => {
            let why = "it is a file: the folder of a model or of a run expected";
            return Err(no_model(why.into()));
        }
        Ok(true) => {}
    }
    let best = path.join("best");
    let of_best = best.join("config.json");
    match (path.join("config.json").exists(), of_best.exists()) {
        (true, _) => Ok(path.to_path_buf()),
        (false, true) => Ok(best),
        (false, false) if path.join("run.toml").exists() => Err(match of_best.metadata() {
            Err(error) if error.kind() != ErrorKind::NotFound => ModelError::NoModel {
                path: of_best,
                why: format!("cannot be read: {error}"),
            },
            _ if path.join("summary.json").exists() => {
                no_model("a finished run whose best/config.json is missing".into())
            }
            _ => no_model(
                "a run without a model: it has not been validated yet (no best/config.json)".into(),
            ),
        }),
        (false, false) => Err(no_model(
            "neither a model directory (no config.json) nor a run (no best/config.json)".into(),
        )),
    }
}

#[cfg(feature = "hub")]
mod hub {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex, PoisonError};

    use pixelcnn_hub::{Hub, Repository, Transfer};

    use crate::ModelError;
    use crate::model::TOKENIZER;
    use crate::weights::{INDEX, WEIGHTS, listed_files};

    /// The models that this process has asked for: a name means the same model until its end,
    /// also if the repository changes.
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

    /// The folder with the files of a model of the hub.
    pub(super) fn directory(
        name: &str,
        progress: impl Fn(&str, u64, u64) + Send + Sync + 'static,
    ) -> Result<PathBuf, ModelError> {
        let repository = Repository::model(name)?;
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = found.get(name) {
            return Ok(folder.clone());
        }
        let report = move |now: Transfer<'_>| progress(now.file, now.done, now.size);
        let hub = Hub {
            progress: Arc::new(report),
            ..Hub::from_environment()?
        };
        let folder = fetched(&hub, &repository)?;
        found.insert(name.to_string(), folder.clone());
        Ok(folder)
    }

    /// Fetches the files of a model, `config.json` last: a folder that has it is complete.
    fn fetched(hub: &Hub, repository: &Repository) -> Result<PathBuf, ModelError> {
        let snapshot = hub.open(repository)?;
        if snapshot.has(INDEX) && !snapshot.has(WEIGHTS) {
            for file in listed_files(&snapshot.fetch(INDEX)?)? {
                snapshot.fetch(&file)?;
            }
        } else {
            snapshot.fetch(WEIGHTS)?;
        }
        if snapshot.has(TOKENIZER) {
            snapshot.fetch(TOKENIZER)?;
        }
        snapshot.fetch("config.json")?;
        Ok(snapshot.finish()?)
    }
}

/// Without the feature.
#[cfg(not(feature = "hub"))]
mod hub {
    use std::path::PathBuf;

    use crate::ModelError;

    pub(super) fn directory(
        name: &str,
        _progress: impl Fn(&str, u64, u64) + Send + Sync + 'static,
    ) -> Result<PathBuf, ModelError> {
        let why = "models of the hub need the feature `hub`, with which this program was not built";
        Err(ModelError::invalid(&format!("hf:{name}"), why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_names_are_bare() {
        assert!(is_bare("fashion") && is_bare("a.b") && is_bare(""));
        for text in ["a/b", "./a", "a/", ".", ".."] {
            assert!(!is_bare(text), "{text}");
        }
    }

    #[test]
    fn folders_with_a_configuration_are_models() {
        let root = tempfile::tempdir().unwrap();
        for name in ["photos", "fashion", "notes"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        for name in ["photos", "fashion"] {
            std::fs::write(root.path().join(name).join("config.json"), "{}").unwrap();
        }
        std::fs::write(root.path().join("README.md"), "").unwrap();
        let models = models_in(root.path());
        assert_eq!(models.keys().collect::<Vec<_>>(), ["fashion", "photos"]);
        assert_eq!(models["photos"], root.path().join("photos"));
        assert!(models_in(&root.path().join("none")).is_empty());
    }

    #[test]
    fn folders_that_are_no_model_say_what_they_are() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("run");
        std::fs::create_dir_all(&run).unwrap();
        let fails = |path: &Path, part: &str| {
            let error = find_model(path).unwrap_err().to_string();
            let named = error.contains(path.to_str().unwrap());
            assert!(named && error.contains(part), "{part} is not in: {error}");
        };
        fails(&root.path().join("none"), "no such folder");
        fails(&run, "neither a model directory (no config.json) nor a run");
        std::fs::write(run.join("run.toml"), "").unwrap();
        fails(&run, "has not been validated yet");
        fails(&run.join("run.toml"), "a file: the folder");
        std::fs::write(run.join("summary.json"), "").unwrap();
        fails(&run, "a finished run whose best/config.json is missing");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = ModelError::UnknownModel {
            name: "boots".into(),
            included: vec!["fashion".into(), "photos".into()],
        };
        let text = error.to_string();
        for part in [
            "boots: no such model",
            "fashion, photos",
            "hf:OWNER/NAME",
            "run",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        let error = find_model("no-such-model").unwrap_err();
        assert!(matches!(error, ModelError::UnknownModel { name, .. } if name == "no-such-model"));
    }

    #[cfg(not(feature = "hub"))]
    #[test]
    fn without_the_feature_the_hub_is_refused() {
        let error = find_model("hf:a/b").unwrap_err().to_string();
        assert!(error.contains("feature `hub`"), "{error}");
    }
}
