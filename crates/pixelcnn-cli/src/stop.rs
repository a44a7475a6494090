//! Requests to stop: Ctrl-C, and what schedulers and closed terminals send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::logging;

/// Between two looks whether a request has come, to answer it.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits for requests to stop.
pub struct Stop {
    requested: Arc<AtomicBool>,
    /// The number of the last signal that asked.
    signal: Arc<AtomicUsize>,
    /// Whether there is nothing yet to save.
    early: Arc<AtomicBool>,
}

impl Stop {
    /// From now on a request ends the program at once, and after
    /// [`Stop::listen`] it is remembered. However many signals come, they are one
    /// request.
    pub fn new() -> Result<Self> {
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

    /// Ends the program at a request from now on, after its unfinished files are
    /// removed.
    pub fn end_cleanly(self) {
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
            // Without a thread to spare, they stay.
            early.store(true, Ordering::SeqCst);
        }
    }

    /// There is something to save from now on: a request is answered by a
    /// message, what is done about it, and set in what is returned.
    pub fn listen(&self, what: &'static str) -> Arc<AtomicBool> {
        self.early.store(false, Ordering::SeqCst);
        let requested = Arc::clone(&self.requested);
        let answer = move || {
            while !requested.load(Ordering::SeqCst) {
                thread::sleep(PAUSE);
            }
            logging::say(format_args!(
                "{what}{}",
                if cfg!(unix) {
                    "; Ctrl-\\ ends at once and loses what is not saved"
                } else {
                    ""
                }
            ));
        };
        // Without a thread to spare, the request is answered in silence.
        let _ = thread::Builder::new().spawn(answer);
        Arc::clone(&self.requested)
    }

    /// The status to end with, as shells report a program that a signal ended:
    /// 128 and the signal's number.
    pub fn status(&self) -> u8 {
        let signal = self.signal.load(Ordering::SeqCst);
        u8::try_from(128 + signal).unwrap_or(u8::MAX)
    }
}

#[cfg(unix)]
fn signals() -> Vec<i32> {
    use signal_hook::consts::{SIGHUP, SIGXCPU};
    // The last is what a limit of processor time sends before it kills.
    let mut signals = vec![SIGINT, SIGTERM, SIGHUP, SIGXCPU];
    signals.retain(|signal| !is_ignored(*signal));
    signals
}

/// Makes a file that grows beyond the limit of the process (`ulimit -f`) an error
/// of writing, as a full disk is, instead of the end of the program.
pub fn outlive_large_files() {
    #[cfg(unix)]
    {
        // Caught and forgotten: the write itself then fails.
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

/// Whether the program was started so that a signal is ignored, as `nohup`
/// does; where the system does not tell, it is not.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
