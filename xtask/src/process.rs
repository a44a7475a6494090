//! Starts other programs: prints each command line as a user would type it, and
//! names it in errors.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C reach only the running child, which saves its work and stops. This
/// process waits for it and then stops too.
///
/// # Errors
/// When the handler cannot be installed.
pub(crate) fn let_children_finish_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst))
        .context("cannot install the Ctrl-C handler")
}

/// Whether Ctrl-C was pressed.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Prints the command line and runs it; its output goes to this process's output.
///
/// # Errors
/// When the program cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shell_line(command);
    println!("{line}");
    let status = command.status();
    check(&line, status.with_context(|| cannot_start(&line))?)
}

/// Prints the command line, runs it and returns its standard output. Its standard
/// error, including progress bars, goes to that of this process.
///
/// # Errors
/// When the program cannot be started or does not succeed, or its output is
/// not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shell_line(command);
    println!("{line}");
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| cannot_start(&line))?;
    check(&line, output.status)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of `{line}` is not UTF-8 text"))
}

/// As [`output`], and parses its last non-blank line as JSON.
///
/// # Errors
/// As [`output`], and when this line is missing or not the expected JSON.
pub(crate) fn last_line_json<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = output(command)?;
    parse_last_line(&output).with_context(|| format!("in the output of `{}`", shell_line(command)))
}

fn parse_last_line<T: DeserializeOwned>(output: &str) -> Result<T> {
    let last = output.lines().rfind(|line| !line.trim().is_empty());
    let last = last.context("JSON expected in the last line, found no line")?;
    serde_json::from_str(last).with_context(|| format!("JSON expected, found the line {last:?}"))
}

fn cannot_start(line: &str) -> String {
    format!("cannot start `{line}`")
}

fn check(line: &str, status: ExitStatus) -> Result<()> {
    // A program that Ctrl-C stops may report success before its work is finished.
    if interrupted() {
        bail!("interrupted during `{line}` ({status}); the same command resumes from there");
    }
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// The command as a line for a POSIX shell, with its variables and, if different,
/// its working folder.
pub(crate) fn shell_line(command: &Command) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir()
        && std::env::current_dir().ok().as_deref() != Some(folder)
    {
        words.push(format!("cd {} &&", quote(folder.as_os_str())));
    }
    for (name, value) in command.get_envs() {
        let value = quote(value.unwrap_or_default());
        words.push(format!("{}={value}", name.to_string_lossy()));
    }
    words.push(quote(command.get_program()));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |symbol: char| symbol.is_ascii_alphanumeric() || "-_./:=,+@%".contains(symbol);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_quoted_where_a_shell_needs_it() {
        let mut command = Command::new("cargo");
        command
            .args(["build", "", "a b", "it's", "$HOME", "pixelcnn-cli/cuda"])
            .env("CUDA_COMPUTE_CAP", "80");
        assert_eq!(
            shell_line(&command),
            r"CUDA_COMPUTE_CAP=80 cargo build '' 'a b' 'it'\''s' '$HOME' pixelcnn-cli/cuda"
        );
    }

    #[test]
    fn another_folder_is_part_of_the_line() {
        let mut command = Command::new("cargo");
        command.arg("test").current_dir("/some where");
        assert_eq!(shell_line(&command), "cd '/some where' && cargo test");
        command.current_dir(std::env::current_dir().unwrap());
        assert_eq!(shell_line(&command), "cargo test");
    }

    #[test]
    fn the_last_line_that_is_not_blank_is_read() {
        let value: Vec<u32> = parse_last_line("note\n[1]\n[2, 3]\n\n").unwrap();
        assert_eq!(value, [2, 3]);
        let error = parse_last_line::<Vec<u32>>("[1]\nbye\n").unwrap_err();
        assert!(format!("{error:#}").contains("the line \"bye\""));
        assert!(parse_last_line::<Vec<u32>>("\n").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        let message = format!("{error:#}");
        assert_eq!(message, "`sh -c 'exit 7'` failed: exit status: 7");
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = output(&mut Command::new("/nowhere/pixelcnn")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start `/nowhere/pixelcnn`: "));
    }

    #[cfg(unix)]
    #[test]
    fn standard_output_is_returned() {
        let text = output(Command::new("sh").args(["-c", "echo one; echo two"])).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }
}
