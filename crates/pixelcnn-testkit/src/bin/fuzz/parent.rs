//! The parent process, which watches the worker.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::Arguments;
use crate::findings::{self, Fate};
use crate::targets::{HUB, Name};

/// Time after which an input counts as a hang.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit for the first line, because the seeds are made before it.
const START: Duration = Duration::from_secs(120);

/// Number of inputs per result.
#[derive(Default)]
struct Counts(BTreeMap<Fate, u64>);

/// How a process ended.
enum End {
    /// All inputs are read.
    Done,
    /// It ended, or was ended, during the input with this number.
    At(u64, Fate),
}

/// Runs the targets one after the other and prints the table.
///
/// # Errors
/// When a target cannot be run, or something is wrong with an input.
pub(crate) fn run(names: &[Name], arguments: &Arguments) -> Result<()> {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>8}")).collect();
        cells.join("  ")
    };
    let heads: Vec<String> = std::iter::once("runs".to_owned())
        .chain(Fate::ALL.map(|fate| fate.text().to_owned()))
        .collect();
    println!("{:<15}{}", "target", line(&heads));
    let mut wrong = 0;
    for &name in names {
        let counts = watch(name, arguments).with_context(|| name.text())?;
        let of = |fate| counts.0.get(&fate).copied().unwrap_or_default();
        let cells: Vec<String> = std::iter::once(arguments.runs)
            .chain(Fate::ALL.map(of))
            .map(|count| count.to_string())
            .collect();
        println!("{:<15}{}", name.text(), line(&cells));
        wrong += Fate::ALL
            .into_iter()
            .filter(|fate| fate.is_wrong())
            .map(of)
            .sum::<u64>();
    }
    if wrong > 0 {
        bail!("{wrong} inputs are kept in {}", arguments.keep.display());
    }
    Ok(())
}

fn watch(name: Name, arguments: &Arguments) -> Result<Counts> {
    let mut counts = Counts::default();
    let (mut first, end) = (arguments.first, arguments.first + arguments.runs);
    while first < end {
        let folder = scratch()?;
        let at = work(name, folder.path(), arguments, first..end, &mut counts)?;
        let End::At(run, fate) = at else { break };
        // On a busy machine a single input may take a long time, so it is repeated alone.
        let again = match fate {
            Fate::Hung => work(name, folder.path(), arguments, run..run + 1, &mut counts)?,
            _ => End::At(run, fate),
        };
        if let End::At(run, fate) = again {
            *counts.0.entry(fate).or_default() += 1;
            let place = findings::place(&arguments.keep, name, arguments.seed, run);
            findings::keep(folder.path(), &place, fate.text())?;
            eprintln!(
                "{} {run}: {}, kept in {}",
                name.text(),
                fate.text(),
                place.display()
            );
        }
        first = run + 1;
    }
    Ok(counts)
}

/// A folder in memory if possible, because each input is written to a file.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.context("cannot make a folder for the inputs")
}

/// Lets a process read these inputs.
fn work(
    name: Name,
    folder: &Path,
    arguments: &Arguments,
    runs: std::ops::Range<u64>,
    counts: &mut Counts,
) -> Result<End> {
    let (mut child, lines) = start(name, folder, arguments, &runs)?;
    let mut next = runs.start;
    let mut patience = START;
    let end = loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                let (run, fate, what) = parse(&line)?;
                *counts.0.entry(fate).or_default() += 1;
                if fate.is_wrong() {
                    eprintln!("{} {run}: {}: {what}", name.text(), fate.text());
                }
                next = run + 1;
                patience = PATIENCE;
            }
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                break End::At(next, Fate::Hung);
            }
            Err(RecvTimeoutError::Disconnected) => break End::At(next, Fate::Aborted),
        }
        if next == runs.end {
            break End::Done;
        }
    };
    let status = child.wait()?;
    match end {
        End::At(run, Fate::Aborted) if status.code().is_some() => {
            bail!("input {run} could not be tried: {status}")
        }
        end => Ok(end),
    }
}

fn start(
    name: Name,
    folder: &Path,
    arguments: &Arguments,
    runs: &std::ops::Range<u64>,
) -> Result<(Child, Receiver<String>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(name.text())
        .args(["--runs", &(runs.end - runs.start).to_string()])
        .args(["--first", &runs.start.to_string()])
        .args(["--seed", &arguments.seed.to_string()])
        .arg("--keep")
        .arg(&arguments.keep)
        .arg("--work")
        .arg(folder)
        // Each error would have a backtrace, which takes longer than everything else.
        .env_remove("RUST_BACKTRACE")
        // The cache in which the target `parquet` puts its repository.
        .env("HF_HUB_CACHE", folder.join(HUB))
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process that does the work")?;
    let output = child.stdout.take().context("the process has no output")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok((child, receiver))
}

/// `RUN FATE WHAT`.
fn parse(line: &str) -> Result<(u64, Fate, &str)> {
    let mut words = line.splitn(3, ' ');
    let run = words.next().and_then(|word| word.parse().ok());
    let fate = words
        .next()
        .and_then(|word| Fate::ALL.into_iter().find(|fate| fate.text() == word));
    match (run, fate) {
        (Some(run), Some(fate)) => Ok((run, fate, words.next().unwrap_or_default())),
        _ => Err(anyhow!("a number and a fate expected, found {line:?}")),
    }
}
