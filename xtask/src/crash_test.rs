//! `cargo xtask crash-test`: a training run that is killed, or whose disk fails, can be
//! continued to the same weights.

mod calls;
mod test_run;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::experiment::{self, program::Program};
use test_run::TestRun;

/// Check that a training run survives being killed, and a full disk
///
/// Kills a small run at moments spread over it, then at each call to the file system
/// that it makes; then makes each such call fail once (the last two need strace). Each
/// time the same command is started again: it must end with the weights of a run that
/// was never stopped, to the bit, and leave no other file behind.
// This is also the text of `--help`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many times the run is killed at moments spread over it
    #[arg(long, default_value_t = 100, value_name = "N")]
    runs: u32,
}

/// The fraction that spreads any number of moments evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// How often one kind of fault was tried, and what went wrong.
#[derive(Default)]
pub(crate) struct Outcomes {
    tried: usize,
    stopped: usize,
    wrong: Vec<String>,
}

impl Outcomes {
    /// Counts one attempt: whether the run stopped before its end, and what is wrong with
    /// its results.
    pub(crate) fn add(&mut self, what: &str, stopped: bool, wrong: Option<String>) {
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

/// Runs the task.
///
/// # Errors
/// When the program cannot be run, or something is wrong after a kill.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let program = Program::build(
        &mut experiment::program::build_command(root, None),
        "pixelcnn",
    )?;
    let test_run = TestRun::new(root, &program)?;
    let mut all = vec![(
        "kills at moments of the run",
        stop_at_moments(&test_run, arguments)?,
    )];
    match calls::stop_at_each(&test_run)? {
        Some([kills, faults]) => {
            all.push(("kills at calls to the file system", kills));
            all.push(("calls to the file system that fail", faults));
        }
        None => println!("strace is not installed: no kills at calls to the file system"),
    }
    for (what, outcomes) in &all {
        outcomes.print(what);
    }
    let wrong: usize = all.iter().map(|(_, outcomes)| outcomes.wrong.len()).sum();
    match wrong {
        0 => test_run.clean(),
        _ => bail!("{wrong} runs had a wrong result"),
    }
}

/// Kills the run after different fractions of its time.
fn stop_at_moments(test_run: &TestRun<'_>, arguments: &Arguments) -> Result<Outcomes> {
    test_run.empty()?;
    let start = Instant::now();
    let whole = test_run
        .train()
        .output()
        .context("cannot start the program")?;
    let time = start.elapsed();
    if !whole.status.success() {
        bail!(
            "the run itself fails: {}",
            String::from_utf8_lossy(&whole.stderr)
        );
    }
    let mut outcomes = Outcomes::default();
    for number in 1..=arguments.runs {
        test_run.empty()?;
        let part = (f64::from(number) * GOLDEN).fract();
        let mut child = test_run
            .train()
            .spawn()
            .context("cannot start the program")?;
        std::thread::sleep(Duration::from_secs_f64(time.as_secs_f64() * part));
        child.kill()?;
        let stopped = !child.wait()?.success();
        outcomes.add(
            &format!("killed after {part:.3} of the run"),
            stopped,
            test_run.finish()?,
        );
    }
    Ok(outcomes)
}
