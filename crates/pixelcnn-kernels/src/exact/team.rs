//! Threads that work on the same images and meet at barriers.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::Result;

/// Checks of the barrier before a waiting thread yields its processor. The
/// others are rarely far behind, and waking a thread takes longer than a layer.
const LOOKS: usize = 4_000;

/// The barrier of a team, used tens of thousands of times per
/// image.
#[derive(Debug)]
pub(super) struct Barrier {
    /// Number of members; 0 until all are started.
    members: AtomicUsize,
    /// Checks before a member yields its processor.
    looks: AtomicUsize,
    arrived: AtomicUsize,
    round: AtomicUsize,
    /// A member has failed or panicked: no member waits any more.
    broken: AtomicBool,
}

/// The barrier stays closed, because a member has ended.
#[derive(Debug)]
pub(super) struct Broken;

/// Whether all members have met.
pub(super) type Met = std::result::Result<(), Broken>;

impl Barrier {
    pub(super) fn new() -> Self {
        Self {
            members: AtomicUsize::new(0),
            looks: AtomicUsize::new(LOOKS),
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Sets the number of members, after all were started.
    pub(super) fn all_are_here(&self, members: usize) {
        // The awaited member may need this processor.
        if std::thread::available_parallelism().is_ok_and(|most| members > most.get()) {
            self.looks.store(0, Ordering::Relaxed);
        }
        self.members.store(members, Ordering::Release);
    }

    /// Waits until the number of members is set.
    pub(super) fn wait_for_all(&self) {
        while self.members() == 0 {
            std::thread::yield_now();
        }
    }

    pub(super) fn members(&self) -> usize {
        self.members.load(Ordering::Acquire)
    }

    /// Waits for all members; what they wrote before is then seen by all.
    pub(super) fn wait(&self) -> Met {
        let members = self.members();
        if members == 1 {
            return Ok(());
        }
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == members {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return Ok(());
        }
        let (mut looks, most) = (0, self.looks.load(Ordering::Relaxed));
        while self.round.load(Ordering::Acquire) == round {
            if self.broken.load(Ordering::Acquire) {
                return Err(Broken);
            }
            looks += 1;
            match looks < most {
                true => std::hint::spin_loop(),
                false => std::thread::yield_now(),
            }
        }
        Ok(())
    }

    /// Releases all members.
    pub(super) fn break_up(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// Breaks the barrier if a member panics.
pub(super) struct Presence<'a>(pub &'a Barrier);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_up();
        }
    }
}

/// One thread of a team.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub barrier: &'a Barrier,
    pub index: usize,
}

impl Member<'_> {
    /// This member's part of a range.
    pub(super) fn part(&self, of: Range<usize>) -> Range<usize> {
        let members = self.barrier.members();
        let cut = |part: usize| of.start + of.len() * part / members;
        cut(self.index)..cut(self.index + 1)
    }
}

/// Limit on the number of threads: no machine has more processors.
const MOST_THREADS: usize = 512;

/// Threads for each of some teams: as equal as can be, at least one each.
pub(super) fn team_sizes(threads: usize, images: usize) -> Vec<usize> {
    let threads = threads.clamp(1, MOST_THREADS);
    let teams = threads.min(images).max(1);
    (0..teams)
        .map(|team| threads * (team + 1) / teams - threads * team / teams)
        .collect()
}

/// When threads share an image: to wait at a barrier takes as long as to read some tens of
/// kilobytes of weights, so images of small networks are faster with fewer threads.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Sharing;
///
/// assert!(Sharing::ALL.row < Sharing::default().row);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Bytes of weights between two barriers, for each thread; at least 1.
    pub row: usize,
    /// The same for each thread that shares single pixels: between two barriers, the weights
    /// are then used at one position and not in a whole row.
    pub pixel: usize,
}

impl Sharing {
    /// All threads share everything.
    pub const ALL: Self = Self { row: 1, pixel: 1 };
}

impl Default for Sharing {
    /// Measured with networks of 48 to 256 maps on two processors.
    fn default() -> Self {
        Self {
            row: 10 << 10,
            pixel: 40 << 10,
        }
    }
}

/// At most `threads`, each with at least `each` of the bytes; at least one.
pub(super) fn sharing_threads(threads: usize, bytes: usize, each: usize) -> usize {
    (bytes / each.max(1)).clamp(1, threads)
}

/// Does all work, each piece in its own thread: this thread and those that
/// it starts. If the system cannot start enough threads, each does several pieces.
pub(super) fn each_in_a_thread<W: Send>(
    work: Vec<W>,
    act: impl Fn(W) -> Result<()> + Sync,
) -> Result<()> {
    let helpers = work.len().saturating_sub(1);
    let queue = &Mutex::new(work);
    let act = &act;
    let take = move || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let all = move || {
        let mut result = Ok(());
        while let Some(piece) = take() {
            result = result.and(act(piece));
        }
        result
    };
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, all).ok();
        let handles: Vec<_> = (0..helpers).map_while(start).collect();
        let own = all();
        handles.into_iter().fold(own, |result, handle| {
            result.and(match handle.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::bail;

    fn started(members: usize) -> Barrier {
        let barrier = Barrier::new();
        barrier.all_are_here(members);
        barrier
    }

    #[test]
    fn members_see_the_writes_of_others() {
        let (members, rounds) = (3, 2_000);
        let barrier = started(members);
        let counts: Vec<_> = (0..members).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for index in 0..members {
                let (barrier, counts) = (&barrier, &counts);
                scope.spawn(move || {
                    for round in 1..=rounds {
                        counts[index].store(round, Ordering::Relaxed);
                        barrier.wait().unwrap();
                        for count in counts {
                            assert_eq!(count.load(Ordering::Relaxed), round);
                        }
                        barrier.wait().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn nobody_waits_for_a_member_that_panicked() {
        let barrier = started(2);
        std::thread::scope(|scope| {
            let gone = scope.spawn(|| {
                let _presence = Presence(&barrier);
                std::panic::resume_unwind(Box::new("gone"));
            });
            assert!(barrier.wait().is_err());
            assert!(gone.join().is_err());
        });
    }

    #[test]
    fn every_thread_is_in_a_team_and_every_part_has_a_member() {
        assert_eq!(team_sizes(2, 1), [2]);
        assert_eq!(team_sizes(5, 2), [2, 3]);
        assert_eq!(team_sizes(2, 16), [1, 1]);
        assert_eq!(team_sizes(usize::MAX, 1), [MOST_THREADS]);
        assert_eq!(team_sizes(0, 3), [1]);
        let barrier = started(3);
        let parts = (0..3).map(|index| {
            Member {
                barrier: &barrier,
                index,
            }
            .part(4..9)
        });
        assert_eq!(parts.flatten().collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    }

    #[test]
    fn threads_share_as_many_bytes_as_are_worth_it() {
        assert_eq!(sharing_threads(2, 24 << 10, 40 << 10), 1);
        assert_eq!(sharing_threads(2, 96 << 10, 40 << 10), 2);
        assert_eq!(sharing_threads(16, 96 << 10, 40 << 10), 2);
        assert_eq!(sharing_threads(1, usize::MAX, 1), 1);
    }

    #[test]
    fn all_work_is_done_and_an_error_is_kept() {
        let done = AtomicUsize::new(0);
        let act = |piece: usize| {
            done.fetch_add(piece, Ordering::Relaxed);
            match piece {
                3 => bail!("piece {piece}"),
                _ => Ok(()),
            }
        };
        let error = each_in_a_thread((0..10).collect(), act).unwrap_err();
        assert!(error.to_string().contains("piece 3"), "{error}");
        assert_eq!(done.load(Ordering::Relaxed), 45);
        each_in_a_thread(vec![1, 2], act).unwrap();
        each_in_a_thread(Vec::new(), act).unwrap();
    }
}
