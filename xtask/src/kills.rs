//! `cargo xtask kills`: a run that is killed, or whose disk fails, goes on to
//! the bits of one that never was.

mod calls;
mod trial;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::experiment::{self, program::Program};
use trial::Trial;

/// Kill a small training run again and again, and make its disk fail
///
/// First at moments spread over the run, then at every call to the file system
/// that it makes, with strace. Each time the same command goes on to the end:
/// the weights must be those of a run that was never stopped, to the bit, and no
/// file may be left over.
// This is also the text of `--help`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Kills at moments spread over the run
    #[arg(long, default_value_t = 100, value_name = "N")]
    runs: u32,
}

/// The fraction that spreads any number of moments evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// What one way of stopping the run came to.
#[derive(Default)]
pub struct Tally {
    tried: usize,
    stopped: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Counts one trial: whether the run was stopped before its end, and what
    /// is wrong with what became of it.
    pub fn add(&mut self, what: &str, stopped: bool, wrong: Option<String>) {
        self.tried += 1;
        self.stopped += usize::from(stopped);
        if let Some(wrong) = wrong {
            eprintln!("{what}: {wrong}");
            self.wrong.push(wrong);
        }
    }

    fn print(&self, what: &str) {
        let (tried, stopped, wrong) = (self.tried, self.stopped, self.wrong.len());
        println!("{what:<36}{tried:>6} tried{stopped:>7} before the end{wrong:>5} wrong");
    }
}

/// Carries the task out.
///
/// # Errors
/// When the program cannot be run, or something is wrong after a kill.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let program = Program::built(&mut experiment::program::build(root, None), "pixelcnn")?;
    let trial = Trial::new(root, &program)?;
    let mut tallies = vec![("kills at moments of the run", moments(&trial, arguments)?)];
    match calls::every(&trial)? {
        Some([kills, faults]) => {
            tallies.push(("kills at calls to the file system", kills));
            tallies.push(("calls to the file system that fail", faults));
        }
        None => println!("strace is not installed: no kills at calls to the file system"),
    }
    for (what, tally) in &tallies {
        tally.print(what);
    }
    let wrong: usize = tallies.iter().map(|(_, tally)| tally.wrong.len()).sum();
    match wrong {
        0 => trial.clean(),
        _ => bail!("{wrong} runs did not come to what they should"),
    }
}

/// Kills the run after parts of the time that it takes.
fn moments(trial: &Trial<'_>, arguments: &Arguments) -> Result<Tally> {
    trial.empty()?;
    let start = Instant::now();
    let whole = trial.train().output().context("cannot start the program")?;
    let time = start.elapsed();
    if !whole.status.success() {
        bail!(
            "the run itself fails: {}",
            String::from_utf8_lossy(&whole.stderr)
        );
    }
    let mut tally = Tally::default();
    for number in 1..=arguments.runs {
        trial.empty()?;
        let part = (f64::from(number) * GOLDEN).fract();
        let mut child = trial.train().spawn().context("cannot start the program")?;
        std::thread::sleep(Duration::from_secs_f64(time.as_secs_f64() * part));
        child.kill()?;
        let stopped = !child.wait()?.success();
        tally.add(
            &format!("killed after {part:.3} of the run"),
            stopped,
            trial.finish()?,
        );
    }
    Ok(tally)
}
