//! Progress of long work: a bar on a terminal, otherwise a log line from time to
//! time.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::logging;

/// Time between two lines without a terminal.
const PAUSE: Duration = Duration::from_secs(15);
/// Time before the first line.
const FIRST: Duration = Duration::from_secs(1);

/// Work of a known length.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    length: usize,
    /// The unit of the length.
    unit: &'static str,
    /// Position at the first report: a resumed run does not start at zero.
    from: Option<(usize, Instant)>,
    next_line: Instant,
}

impl Progress {
    /// Progress in images.
    pub(crate) fn start(what: &'static str, length: usize) -> Self {
        Self::with_unit(what, length, "images")
    }

    /// Progress in `unit`, for example steps.
    pub(crate) fn with_unit(what: &'static str, length: usize, unit: &'static str) -> Self {
        let bar = match tracing::enabled!(tracing::Level::INFO) {
            true => logging::bars().add(ProgressBar::new(length as u64)),
            false => ProgressBar::hidden(),
        };
        let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{elapsed_precise}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.tick();
        bar.enable_steady_tick(FIRST);
        Self {
            bar,
            what,
            length,
            unit,
            from: None,
            next_line: Instant::now() + FIRST,
        }
    }

    /// Reports that the work has reached `position`.
    pub(crate) fn at(&mut self, position: usize) {
        let (from, since) = *self.from.get_or_insert((position, Instant::now()));
        let elapsed = since.elapsed();
        let done = position - from;
        let seconds = elapsed.as_secs_f64();
        let rest = self.length.saturating_sub(position) as f64;
        let left = Duration::try_from_secs_f64(seconds * rest / done as f64);
        let left = left.ok().filter(|_| done > 0);
        // What happened before the first report has no known time.
        let rate = match done > 0 && seconds > 0.0 {
            true => format!("{:.1} {}/s", done as f64 / seconds, self.unit),
            false => String::new(),
        };
        self.show(position, rate, left);
    }

    /// The same with a note, for example the speed, and the remaining time if it is
    /// known.
    pub(crate) fn show(&mut self, position: usize, note: impl Display, left: Option<Duration>) {
        let mut message = format!("{} {note}", self.what).trim_end().to_string();
        if let Some(left) = left {
            message = format!("{message}, {} left", HumanDuration(left));
        }
        if !std::io::stderr().is_terminal() && Instant::now() >= self.next_line {
            self.next_line = Instant::now() + PAUSE;
            tracing::info!("{message}, {position}/{} {}", self.length, self.unit);
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
