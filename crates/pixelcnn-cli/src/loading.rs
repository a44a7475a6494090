//! A progress bar for loading data sets.

use std::sync::{Arc, Mutex, PoisonError};

use pixelcnn_data::{Loading, Progress};

use crate::progress;

/// The user's cache, and a progress bar while pictures are decoded.
pub(crate) fn shown() -> Loading {
    let bar = Mutex::new(None);
    Loading {
        progress: Arc::new(move |now| {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            show(&mut bar, now);
        }),
        ..Loading::default()
    }
}

/// A progress bar for the downloads of the hub: the file, its bytes that have arrived, and all
/// its bytes.
pub(crate) fn downloads() -> impl Fn(&str, u64, u64) + Send + Sync + 'static {
    let bar = Mutex::new(None);
    move |_, done, of| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        let kilobytes = |bytes: u64| (bytes / 1000) as usize;
        let now = Progress {
            what: "downloading",
            unit: "kB",
            done: kilobytes(done),
            of: kilobytes(of),
        };
        show(&mut bar, now);
    }
}

/// Updates the bar, or creates it. Work with only one report shows no bar.
fn show(bar: &mut Option<progress::Progress>, now: Progress) {
    if now.done >= now.of {
        *bar = None;
        return;
    }
    bar.get_or_insert_with(|| progress::Progress::with_unit(now.what, now.of, now.unit))
        .at(now.done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_shown_until_the_last_part() {
        let mut bar = None;
        for (done, there) in [(3, false), (1, true), (2, true), (3, false)] {
            let now = Progress {
                what: "decoding",
                unit: "pictures",
                done,
                of: 3,
            };
            show(&mut bar, now);
            assert_eq!(bar.is_some(), there, "{done}");
        }
    }
}
