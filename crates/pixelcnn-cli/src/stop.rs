//! Requests to stop: Ctrl-C, and the signals of schedulers and closed terminals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::logging;

/// Time between two checks for a request.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits for requests to stop.
pub(crate) struct Stop {
    requested: Arc<AtomicBool>,
    /// The number of the last signal.
    signal: Arc<AtomicUsize>,
    /// Whether there is nothing to save yet.
    early: Arc<AtomicBool>,
}

impl Stop {
    /// From now on, a request ends the program at once. After
    /// [`Stop::listen`], it is only recorded. Several signals are one
    /// request.
    pub(crate) fn new() -> Result<Self> {
        let stop = Self {
            requested: Arc::default(),
            signal: Arc::default(),
            early: Arc::new(AtomicBool::new(true)),
        };
        for signal in signals() {
            stop.register(signal)
                .with_context(|| format!("cannot listen for signal {signal}"))?;
        }
        Ok(stop)
    }

    fn register(&self, signal: i32) -> std::io::Result<()> {
        let number = usize::try_from(signal).unwrap_or_default();
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&self.early))?;
        flag::register_usize(signal, Arc::clone(&self.signal), number)?;
        flag::register(signal, Arc::clone(&self.requested))?;
        Ok(())
    }

    /// From now on, a request removes unfinished files and ends the program.
    pub(crate) fn end_cleanly(self) {
        self.early.store(false, Ordering::SeqCst);
        let early = Arc::clone(&self.early);
        let wait = move || {
            while !self.requested.load(Ordering::SeqCst) {
                thread::sleep(PAUSE);
            }
            pixelcnn_system::remove_unfinished();
            std::process::exit(self.status().into());
        };
        if thread::Builder::new().spawn(wait).is_err() {
            // If no thread can be started, the files stay.
            early.store(true, Ordering::SeqCst);
        }
    }

    /// From now on there is something to save: a request prints `what`, the reaction
    /// of the program, and sets the returned flag.
    pub(crate) fn listen(&self, what: &'static str) -> Arc<AtomicBool> {
        self.early.store(false, Ordering::SeqCst);
        let requested = Arc::clone(&self.requested);
        let answer = move || {
            while !requested.load(Ordering::SeqCst) {
                thread::sleep(PAUSE);
            }
            logging::say(format_args!(
                "{what}{}",
                if cfg!(unix) {
                    "; Ctrl-\\ exits at once and loses unsaved work"
                } else {
                    ""
                }
            ));
        };
        // If no thread can be started, no message is printed.
        let _ = thread::Builder::new().spawn(answer);
        Arc::clone(&self.requested)
    }

    /// The exit status that shells report for a program ended by a signal: 128 plus
    /// the number of the signal.
    pub(crate) fn status(&self) -> u8 {
        let signal = self.signal.load(Ordering::SeqCst);
        u8::try_from(128 + signal).unwrap_or(u8::MAX)
    }
}

#[cfg(unix)]
fn signals() -> Vec<i32> {
    use signal_hook::consts::{SIGHUP, SIGXCPU};
    // A limit of processor time sends the last one before it kills the program.
    let mut signals = vec![SIGINT, SIGTERM, SIGHUP, SIGXCPU];
    signals.retain(|signal| !is_ignored(*signal));
    signals
}

/// If a file exceeds the limit of the process (`ulimit -f`), makes this a write
/// error, as with a full disk, instead of the end of the program.
pub(crate) fn outlive_large_files() {
    #[cfg(unix)]
    {
        // The signal is ignored; the write itself then fails.
        let caught = Arc::new(AtomicBool::new(false));
        if let Err(error) = flag::register(signal_hook::consts::SIGXFSZ, caught) {
            tracing::debug!("cannot listen for SIGXFSZ: {error}");
        }
    }
}

#[cfg(not(unix))]
fn signals() -> Vec<i32> {
    vec![SIGINT, SIGTERM]
}

/// Whether the program was started with the signal ignored, as `nohup`
/// does; false if the system does not report it.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
