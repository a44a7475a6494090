//! Settings of the Hugging Face libraries in environment variables.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use pixelcnn_system::read_file;

use crate::HubError;

/// The server if HF_ENDPOINT does not name another.
const ENDPOINT: &str = "https://huggingface.co";
/// Seconds without an answer if HF_HUB_DOWNLOAD_TIMEOUT is not set.
const PATIENCE: u64 = 10;
/// Limit on the bytes of a token file.
const LONGEST_TOKEN: u64 = 1 << 12;

/// The settings that the environment gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) endpoint: String,
    pub(crate) cache: PathBuf,
    pub(crate) token: Option<String>,
    pub(crate) offline: bool,
    pub(crate) patience: Duration,
}

impl Settings {
    pub(crate) fn from_environment() -> Result<Self, HubError> {
        Self::read(&|name| env::var(name).ok(), env::home_dir())
    }

    /// The settings that `variable` gives; empty ones count as not set.
    fn read(
        variable: &dyn Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
    ) -> Result<Self, HubError> {
        let set = |name| {
            let value = variable(name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| value.to_string())
        };
        let folder = |name| set(name).map(PathBuf::from);
        let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(home?.join(".cache")));
        let hf_home = folder("HF_HOME").or_else(|| Some(caches()?.join("huggingface")));
        let cache = folder("HF_HUB_CACHE").or_else(|| Some(hf_home.as_ref()?.join("hub")));
        let cache = cache.ok_or_else(|| HubError::Setting {
            variable: "HF_HOME",
            why: "there is no home folder: set it to the folder for files of the hub".into(),
        })?;
        let file = folder("HF_TOKEN_PATH").or_else(|| Some(hf_home?.join("token")));
        Ok(Self {
            endpoint: endpoint(set("HF_ENDPOINT"))?,
            cache,
            token: match set("HF_TOKEN") {
                Some(token) => Some(checked("HF_TOKEN", token)?),
                None => match file.and_then(|file| file_token(&file)) {
                    Some(token) => Some(checked("HF_TOKEN_PATH", token)?),
                    None => None,
                },
            },
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| is_yes(&value)),
            patience: patience(set("HF_HUB_DOWNLOAD_TIMEOUT"))?,
        })
    }
}

fn endpoint(given: Option<String>) -> Result<String, HubError> {
    let endpoint = given.unwrap_or_else(|| ENDPOINT.into());
    match endpoint.starts_with("https://") || endpoint.starts_with("http://") {
        true => Ok(endpoint.trim_end_matches('/').to_string()),
        false => Err(HubError::Setting {
            variable: "HF_ENDPOINT",
            why: format!("an address such as {ENDPOINT} expected, found {endpoint}"),
        }),
    }
}

fn patience(given: Option<String>) -> Result<Duration, HubError> {
    let Some(text) = given else {
        return Ok(Duration::from_secs(PATIENCE));
    };
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (1..=86_400).contains(seconds));
    let seconds = seconds.ok_or_else(|| HubError::Setting {
        variable: "HF_HUB_DOWNLOAD_TIMEOUT",
        why: format!("a number of seconds from 1 to 86400 expected, found {text}"),
    })?;
    Ok(Duration::from_secs(seconds))
}

/// Refuses what cannot be a token, without printing it: it may be a part of one.
fn checked(variable: &'static str, token: String) -> Result<String, HubError> {
    match token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(token),
        false => Err(HubError::Setting {
            variable,
            why: "a token of letters, digits and signs without spaces and line ends expected"
                .into(),
        }),
    }
}

/// The token that `hf auth login` has written.
fn file_token(path: &std::path::Path) -> Option<String> {
    let text = read_file(path, LONGEST_TOKEN).ok()?;
    let text = String::from_utf8(text).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| token.to_string())
}

/// The values that the Python library takes as yes.
fn is_yes(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| value.to_string())
        };
        Settings::read(&variable, Some("/home".into()))
    }

    #[test]
    fn without_variables_the_defaults_hold() {
        let expected = Settings {
            endpoint: "https://huggingface.co".into(),
            cache: "/home/.cache/huggingface/hub".into(),
            token: None,
            offline: false,
            patience: Duration::from_secs(10),
        };
        assert_eq!(read(&[]).unwrap(), expected);
        assert_eq!(
            read(&[("HF_TOKEN", " "), ("HF_HOME", "")]).unwrap(),
            expected
        );
    }

    #[test]
    fn every_variable_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let settings = read(&[("HF_HOME", home), ("HF_ENDPOINT", "http://mirror:8080/")]).unwrap();
        assert_eq!(settings.endpoint, "http://mirror:8080");
        assert_eq!(settings.cache, folder.path().join("hub"));
        assert_eq!(settings.token.as_deref(), Some("hf_file"));
        let settings = read(&[
            ("HF_HOME", home),
            ("HF_HUB_CACHE", "/c"),
            ("HF_TOKEN", "hf_own"),
            ("HF_HUB_OFFLINE", "True"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "60"),
        ])
        .unwrap();
        assert_eq!(settings.cache, PathBuf::from("/c"));
        assert_eq!(settings.token.as_deref(), Some("hf_own"));
        assert_eq!((settings.offline, settings.patience.as_secs()), (true, 60));
        assert!(!read(&[("HF_HUB_OFFLINE", "0")]).unwrap().offline);
        let cache = read(&[("XDG_CACHE_HOME", "/x")]).unwrap().cache;
        assert_eq!(cache, PathBuf::from("/x/huggingface/hub"));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (name, value) in [
            ("HF_ENDPOINT", "huggingface.co"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "0"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        for token in ["hf_a\nhf_b", "hf_a hf_b", "hf_\u{e9}"] {
            let error = read(&[("HF_TOKEN", token)]).unwrap_err().to_string();
            assert!(
                error.contains("HF_TOKEN") && !error.contains("hf_"),
                "{error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hf_a\nhf_b\n").unwrap();
        let error = read(&[("HF_TOKEN_PATH", path.to_str().unwrap())]).unwrap_err();
        assert!(error.to_string().contains("HF_TOKEN_PATH"), "{error}");
        let error = Settings::read(&|_| None, None).unwrap_err().to_string();
        assert!(error.contains("HF_HOME"), "{error}");
    }
}
