//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::ProgressStyle;
use tracing::Span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(15);

/// Work of a known length.
pub struct Progress {
    span: Span,
    what: &'static str,
    length: usize,
    /// Where the work stood when it was first heard of: a resumed run does
    /// not start at zero.
    from: Option<(usize, Instant)>,
    last_line: Instant,
}

impl Progress {
    pub fn start(what: &'static str, length: usize) -> Self {
        let span = tracing::info_span!("progress");
        let template = "{msg:10} {bar:30} {pos}/{len}  {elapsed_precise}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            span.pb_set_style(&style);
        }
        span.pb_set_length(length as u64);
        span.pb_set_message(what);
        span.pb_start();
        Self {
            span,
            what,
            length,
            from: None,
            last_line: Instant::now(),
        }
    }

    /// The work has come to `position`; each unit of it is `images` images.
    pub fn at(&mut self, position: usize, images: f64, note: &str) {
        let (from, since) = *self.from.get_or_insert((position, Instant::now()));
        let seconds = since.elapsed().as_secs_f64();
        let done = (position - from) as f64;
        let rate = match seconds > 0.0 {
            true => done * images / seconds,
            false => 0.0,
        };
        let message = format!("{} {note} {rate:.1} images/s", self.what);
        self.span.pb_set_position(position as u64);
        self.span.pb_set_message(&message);
        if !std::io::stderr().is_terminal() && self.last_line.elapsed() >= PAUSE {
            self.last_line = Instant::now();
            let left = (self.length - position) as f64 * seconds / done.max(1.0);
            tracing::info!("{message}, {position}/{}, {left:.0} s left", self.length);
        }
    }
}
