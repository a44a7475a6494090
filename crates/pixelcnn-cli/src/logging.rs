//! Standard error: log lines, and progress bars below them.
//!
//! Nothing here fails: a closed terminal or a full disk must not end work that
//! does not need them.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::LazyLock;

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::output::printable;

const DRAWINGS_PER_SECOND: u8 = 10;

/// The target of the bars; none if standard error is not a terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| {
    let target = match stderr().is_terminal() {
        true => {
            let terminal = Box::new(Forgiving(Term::buffered_stderr()));
            ProgressDrawTarget::term_like_with_hz(terminal, DRAWINGS_PER_SECOND)
        }
        false => ProgressDrawTarget::hidden(),
    };
    MultiProgress::with_draw_target(target)
});

/// Starts logging at `level`; without a level, as `RUST_LOG` says, or at `info`.
/// Lines are coloured only on a terminal, and not if `NO_COLOR` is set.
pub(crate) fn start(level: Option<LevelFilter>) {
    let filter = match level {
        Some(level) => EnvFilter::new(level.to_string()),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines)
        .with_ansi(console::colors_enabled_stderr())
        // They would be printed, and panic if printing fails.
        .log_internal_errors(false)
        .with_target(false)
        .without_time()
        .init();
}

/// The bars on standard error.
pub(crate) fn bars() -> &'static MultiProgress {
    &BARS
}

/// Prints a line on standard error at any log level: an error, or how something
/// ended.
pub(crate) fn say(text: impl Display) {
    // One write, so that lines of several processes do not mix.
    let text = text.to_string();
    let lines: String = text.lines().map(|line| printable(line) + "\n").collect();
    let _ = Lines.write_all(lines.as_bytes());
}

/// Writes log lines above the bars.
#[derive(Clone, Copy)]
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| {
            let _ = stderr().write_all(bytes);
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// A terminal that may have been closed.
#[derive(Debug)]
struct Forgiving(Term);

impl Forgiving {
    fn all_is_well(_result: io::Result<()>) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Forgiving {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        Self::all_is_well(self.0.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        Self::all_is_well(self.0.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        Self::all_is_well(self.0.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        Self::all_is_well(self.0.move_cursor_left(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        Self::all_is_well(self.0.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        Self::all_is_well(self.0.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        Self::all_is_well(self.0.clear_line())
    }

    fn flush(&self) -> io::Result<()> {
        Self::all_is_well(self.0.flush())
    }
}
