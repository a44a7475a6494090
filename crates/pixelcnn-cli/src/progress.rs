//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::logging;

/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(15);

/// Work of a known length.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    length: usize,
    /// Where the work stood when it was first heard of: a resumed run does
    /// not start at zero.
    from: Option<(usize, Instant)>,
    last_line: Instant,
}

impl Progress {
    pub fn start(what: &'static str, length: usize) -> Self {
        let bar = match tracing::enabled!(tracing::Level::INFO) {
            true => logging::bars().add(ProgressBar::new(length as u64)),
            false => ProgressBar::hidden(),
        };
        let template = "{msg} {wide_bar} {pos}/{len}  {elapsed_precise}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.tick();
        Self {
            bar,
            what,
            length,
            from: None,
            last_line: Instant::now(),
        }
    }

    /// The work has come to `position`; each unit of it is `images` images.
    pub fn at(&mut self, position: usize, images: f64, note: &str) {
        let (from, since) = *self.from.get_or_insert((position, Instant::now()));
        let elapsed = since.elapsed();
        let done = position - from;
        let seconds = elapsed.as_secs_f64();
        let rest = self.length.saturating_sub(position) as f64;
        let left = Duration::try_from_secs_f64(seconds * rest / done as f64);
        let left = left.ok().filter(|_| done > 0);
        let rate = match seconds > 0.0 {
            true => done as f64 * images / seconds,
            false => 0.0,
        };
        self.show(position, rate, left, note);
    }

    /// The same where the speed, in images a second, and the time that is left
    /// are known.
    pub fn show(&mut self, position: usize, rate: f64, left: Option<Duration>, note: &str) {
        let space = if note.is_empty() { "" } else { " " };
        let mut message = format!("{}{space}{note} {rate:.1} images/s", self.what);
        if let Some(left) = left {
            message = format!("{message}, {} left", HumanDuration(left));
        }
        if !std::io::stderr().is_terminal() && self.last_line.elapsed() >= PAUSE {
            self.last_line = Instant::now();
            tracing::info!("{message}, {position}/{}", self.length);
        }
        self.bar.set_position(position as u64);
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        logging::bars().remove(&self.bar);
    }
}
