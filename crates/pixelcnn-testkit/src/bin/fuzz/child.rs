//! The process that makes the inputs and reads them.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Arguments;
use crate::findings::{self, Fate};
use crate::targets::{Name, Verdict};

/// Limit on the address space of the process, enough for files of some
/// kilobytes.
const MEMORY: u64 = 6 << 30;

/// Where and why the last panic happened.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Reads the inputs one after the other and prints the result of each, one per line.
///
/// # Errors
/// When the target cannot be set up, or a file cannot be written.
pub(crate) fn run(name: Name, folder: &Path, arguments: &Arguments) -> Result<()> {
    #[cfg(unix)]
    rlimit::Resource::AS.set(MEMORY, MEMORY)?;
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = PANIC.lock() {
            *last = info.to_string();
        }
    }));
    let mut target = name.target(folder)?;
    for run in arguments.first..arguments.first + arguments.runs {
        let mut random = ChaCha8Rng::seed_from_u64(arguments.seed);
        random.set_stream(run);
        let work = std::panic::AssertUnwindSafe(|| target.run(&mut random, folder));
        let (fate, what) = match std::panic::catch_unwind(work) {
            Ok(verdict) => told(verdict?),
            Err(_) => (
                Fate::Panicked,
                PANIC
                    .lock()
                    .map_or_else(|_| String::new(), |last| last.clone()),
            ),
        };
        if fate.is_wrong() {
            let place = findings::place(&arguments.keep, name, arguments.seed, run);
            findings::keep(folder, &place, &format!("{}: {what}", fate.text()))?;
        }
        let mut output = std::io::stdout().lock();
        writeln!(output, "{run} {} {}", fate.text(), what.replace('\n', " "))?;
        output.flush()?;
    }
    Ok(())
}

fn told(verdict: Verdict) -> (Fate, String) {
    match verdict {
        Verdict::Accepted => (Fate::Accepted, String::new()),
        Verdict::Refused(why) => (Fate::Refused, why),
        Verdict::Changed(what) => (Fate::Changed, what),
    }
}
