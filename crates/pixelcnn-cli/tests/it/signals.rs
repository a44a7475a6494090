//! On a request to stop, the program saves and stops. A kill loses only work after the last
//! save. The same command resumes and gives the same model, to the byte.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use candle_core::Device;
use pixelcnn_models::read_tensors;
use pixelcnn_train::metrics;

use crate::test_folder::{TestFolder, config, program};

const STEPS: usize = 200;
const VALIDATE_EVERY: usize = 40;
/// The run takes two seconds, but much longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn place() -> TestFolder {
    let place = TestFolder::new();
    place.write("long.toml", &config(STEPS, VALIDATE_EVERY));
    place.json("train --config long.toml --out whole --json");
    place
}

/// The last step in the log.
fn logged(out: &Path) -> usize {
    // The log does not exist at first.
    let records = metrics::read(&out.join("metrics.jsonl")).unwrap_or_default();
    records.last().map_or(0, |record| record.step)
}

fn saved_step(out: &Path) -> u64 {
    let path = out.join("last").join("training.safetensors");
    let (_, note) = read_tensors(path, &Device::Cpu).unwrap();
    let counters: serde_json::Value = serde_json::from_str(&note.unwrap()).unwrap();
    counters["step"].as_u64().unwrap()
}

/// Starts the run from shell code with the command as arguments.
fn spawn(place: &TestFolder, out: &Path, text: &str) -> Child {
    Command::new("sh")
        .current_dir(place.path(""))
        .args(["-c", text, "sh"])
        .arg(program())
        .args(["train", "--config", "long.toml", "--out"])
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status();
    assert!(status.unwrap().success());
}

/// Starts the run and waits until it is past `step` or has ended.
fn start(place: &TestFolder, out: &Path, step: usize) -> Child {
    let mut child = spawn(place, out, "exec \"$@\"");
    let deadline = Instant::now() + PATIENCE;
    while logged(out) <= step && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no step {step} in {PATIENCE:?}");
        sleep(Duration::from_millis(2));
    }
    child
}

/// A run that `end` stopped after `step`, with its status and the last logged step before
/// the stop.
fn interrupted(
    place: &TestFolder,
    step: usize,
    end: impl Fn(&mut Child),
) -> (ExitStatus, std::path::PathBuf, usize) {
    for attempt in 0..10 {
        let out = place.path(&format!("attempt{attempt}"));
        let mut child = start(place, &out, step);
        let seen = logged(&out);
        end(&mut child);
        let status = child.wait().unwrap();
        // On a busy machine the run may be finished before the signal.
        if !out.join("summary.json").exists() {
            return (status, out, seen);
        }
    }
    panic!("ten runs ended before they could be interrupted");
}

fn assert_goes_on(place: &TestFolder, out: &Path) {
    let name = out.file_name().unwrap().to_str().unwrap();
    let summary = place.json(&format!("train --config long.toml --out {name} --json"));
    assert_eq!(summary["steps"], STEPS);
    for file in [
        "best/model.safetensors",
        "best/config.json",
        "last/model.safetensors",
    ] {
        let (found, expected) = (
            place.bytes(&format!("{name}/{file}")),
            place.bytes(&format!("whole/{file}")),
        );
        assert!(found == expected, "{file} differs");
    }
    let steps = |out: &Path| -> Vec<_> {
        let records = metrics::read(&out.join("metrics.jsonl")).unwrap();
        records
            .iter()
            .map(|record| (record.step, record.valid_score))
            .collect()
    };
    assert_eq!(steps(out), steps(&place.path("whole")));
}

/// Several signals in any order are one request.
#[test]
fn requests_to_stop_save_and_the_same_command_goes_on() {
    crate::test_folder::heed_signals();
    let place = place();
    for (signals, status) in [
        (["-INT"].as_slice(), 130..=130),
        (&["-TERM"], 143..=143),
        (&["-HUP"], 129..=129),
        // The signal of a limit on processor time.
        (&["-XCPU"], 152..=152),
        (&["-INT", "-INT"], 130..=130),
        (&["-INT", "-TERM", "-HUP", "-TERM", "-INT"], 129..=143),
    ] {
        let (ended, out, seen) = interrupted(&place, 5, |child| {
            for signal in signals {
                send(child, signal);
            }
        });
        let code = ended.code().unwrap();
        assert!(status.contains(&code), "{signals:?}: {ended}");
        // The saved step is the one in progress, not that of the last validation.
        let saved = saved_step(&out);
        assert!(saved >= seen as u64, "{saved} saved, {seen} seen");
        assert_eq!(saved, logged(&out) as u64);
        assert_goes_on(&place, &out);
        for attempt in 0..10 {
            let _ = std::fs::remove_dir_all(place.path(&format!("attempt{attempt}")));
        }
    }
}

/// Signals that `nohup` ignores stay ignored.
#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_that_is_ignored_stays_ignored() {
    let place = TestFolder::new();
    place.write("long.toml", &config(60, 30));
    let out = place.path("run");
    let mut child = spawn(&place, &out, "trap '' HUP; exec \"$@\"");
    while child.try_wait().unwrap().is_none() {
        if logged(&out) > 0 {
            send(&child, "-HUP");
        }
        sleep(Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
    assert!(out.join("summary.json").exists());
}

/// A run killed many times at any moment gives the same model and leaves no other file.
#[test]
fn a_run_killed_again_and_again_ends_in_the_same_model() {
    let place = TestFolder::new();
    place.write("long.toml", &config(30, 5));
    place.json("train --config long.toml --out whole --json");
    let out = place.path("killed");
    for kill in 0..12 {
        let mut child = spawn(&place, &out, "exec \"$@\"");
        // The kills are at different moments: at the start, during steps, during saving.
        sleep(Duration::from_millis(15 + 37 * kill % 200));
        // The run may have ended.
        let _ = child.kill();
        child.wait().unwrap();
    }
    place.json("train --config long.toml --out killed --json");
    for file in ["best/model.safetensors", "last/model.safetensors"] {
        let (found, whole) = (format!("killed/{file}"), format!("whole/{file}"));
        assert!(place.bytes(&found) == place.bytes(&whole), "{file} differs");
    }
    for folder in ["killed", "killed/best", "killed/last"] {
        for entry in std::fs::read_dir(place.path(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{folder}/{name} is left over");
        }
    }
}

#[test]
fn a_killed_run_goes_on_from_its_last_validation() {
    let place = place();
    let (status, out, _) = interrupted(&place, VALIDATE_EVERY + 5, |child| child.kill().unwrap());
    assert_eq!(status.code(), None);
    assert!(saved_step(&out).is_multiple_of(VALIDATE_EVERY as u64));
    assert_goes_on(&place, &out);
}

#[test]
fn a_run_killed_before_its_first_validation_starts_again() {
    let place = place();
    let (status, out, _) = interrupted(&place, 2, |child| child.kill().unwrap());
    assert_eq!(status.code(), None);
    assert_goes_on(&place, &out);
}
