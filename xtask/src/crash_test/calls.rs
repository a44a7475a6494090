//! Kills the run at every call to the file system, or makes the call fail.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Outcomes;
use super::test_run::TestRun;

/// The calls that change or open files. The question mark is for calls that some machines
/// do not have.
const CALLS: &str = "?open,openat,?creat,write,pwrite64,?writev,fsync,fdatasync,?rename,renameat,\
                     ?renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,ftruncate,flock";

/// A call of the run: its name, and its number among the calls of this name.
#[derive(Debug, PartialEq)]
struct Call {
    name: String,
    number: usize,
    /// Whether it writes to a standard stream.
    stream: bool,
}

/// Kills the run at each call, and fails each call; None without strace.
///
/// # Errors
/// When strace does not work, or the program cannot be started.
pub(super) fn stop_at_each(test_run: &TestRun<'_>) -> Result<Option<[Outcomes; 2]>> {
    if Command::new("strace").arg("--version").output().is_err() {
        return Ok(None);
    }
    test_run.empty()?;
    let log = test_run.beside("calls.log");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-y", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(&log);
    let output = test_run
        .under(strace)
        .output()
        .context("cannot start strace")?;
    if !output.status.success() {
        bail!("the run fails under strace: {}", output.status);
    }
    let text = std::fs::read_to_string(&log)?;
    let calls = parse(&text, &test_run.out().to_string_lossy());
    let (mut kills, mut faults) = (Outcomes::default(), Outcomes::default());
    for call in &calls {
        let what = format!("{} {}", call.name, call.number);
        test_run.empty()?;
        let status = inject(test_run, call, "signal=KILL").status()?;
        kills.add(
            &format!("killed at {what}"),
            !status.success(),
            test_run.finish()?,
        );
        test_run.empty()?;
        let (stopped, wrong) = fail(test_run, call)?;
        let wrong = wrong.map_or_else(|| test_run.finish(), |wrong| Ok(Some(wrong)))?;
        faults.add(&format!("failed: {what}"), stopped, wrong);
    }
    Ok(Some([kills, faults]))
}

/// The run with a fault injected into one of its calls.
fn inject(test_run: &TestRun<'_>, call: &Call, what: &str) -> Command {
    let Call { name, number, .. } = call;
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-q",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={name}"),
        "-e",
    ]);
    strace.arg(format!("inject={name}:{what}:when={number}"));
    test_run.under(strace)
}

/// Makes a call fail. Returns whether the run ended with an error, and what is wrong with
/// the run.
fn fail(test_run: &TestRun<'_>, call: &Call) -> Result<(bool, Option<String>)> {
    let error = match call.name.as_str() {
        "fsync" | "fdatasync" => "error=EIO",
        "flock" => "error=ENOLCK",
        _ => "error=ENOSPC",
    };
    let mut command = inject(test_run, call, error);
    let output = command.stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().last().unwrap_or_default();
    let names_a_file =
        said.contains(&*test_run.out().to_string_lossy()) || said.contains("fixtures/");
    let wrong = match (output.status.success(), output.status.code()) {
        _ if said.contains("panicked") => Some(format!("a panic: {last}")),
        (false, None) => Some(format!("{}: {last}", output.status)),
        (false, _) if !names_a_file && !call.stream => {
            Some(format!("the message names no file: {last}"))
        }
        _ => None,
    };
    Ok((!output.status.success(), wrong))
}

/// The calls of the main thread, starting with the first one that uses the run's
/// folder.
fn parse(log: &str, folder: &str) -> Vec<Call> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let main = log.split(' ').next().unwrap_or_default();
    let mut calls = Vec::new();
    let mut begun = false;
    for line in log.lines() {
        let mut words = line.splitn(2, char::is_whitespace);
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else {
            continue;
        };
        let Some((name, arguments)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if thread != main || !name.chars().all(|it| it.is_ascii_alphanumeric()) {
            continue;
        }
        let number = numbers.entry(name).or_default();
        *number += 1;
        begun |= arguments.contains(folder);
        if begun {
            calls.push(Call {
                name: name.to_owned(),
                number: *number,
                stream: arguments.starts_with("1<") || arguments.starts_with("2<"),
            });
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_name_and_listed_once_the_run_is_touched() {
        let log = r#"7 openat(AT_FDCWD</w>, "/lib/libc.so", O_RDONLY) = 3</lib/libc.so>
7 write(1</dev/null>, "a", 1) = 1
7  mkdir("/w/run", 0777) = 0
8 openat(AT_FDCWD</w>, "/w/run/x", O_RDONLY) = 4
7 openat(AT_FDCWD</w>, "/w/run/lock", O_WRONLY) = 4</w/run/lock>
7 write(2</dev/null>, "b", 1) = 1
7 +++ exited with 0 +++
"#;
        let call = |name: &str, number, stream| Call {
            name: name.into(),
            number,
            stream,
        };
        let expected = [
            call("mkdir", 1, false),
            call("openat", 2, false),
            call("write", 2, true),
        ];
        assert_eq!(parse(log, "/w/run"), expected);
    }
}
