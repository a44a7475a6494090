//! The instruction sets of the fast code.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::lanes::{self, Lanes};

/// A set of vector instructions that the fast code is compiled for.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::Level;
///
/// let best = *Level::available().last().unwrap();
/// assert_eq!(Level::current(), best);
/// assert_eq!(Level::Portable.scope(Level::current), Level::Portable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Portable Rust, for any processor.
    Portable,
    /// AVX2 and fused multiply-add, 8 lanes.
    Avx2,
    /// AVX-512 F, 16 lanes.
    Avx512,
}

thread_local! {
    static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

impl Level {
    /// The levels of this machine, lowest first.
    pub fn available() -> &'static [Level] {
        static FOUND: OnceLock<Vec<Level>> = OnceLock::new();
        FOUND.get_or_init(detect)
    }

    /// The level of operations called from this thread: the highest available one,
    /// unless [`Level::scope`] sets another.
    pub fn current() -> Level {
        let best = Level::available().last().copied();
        FORCED.get().or(best).unwrap_or(Level::Portable)
    }

    /// Runs `work` with operations called from this thread at this level, or
    /// at the highest level below it if the machine does not have it.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        let level = Level::available()
            .iter()
            .rev()
            .find(|level| **level <= self);
        let _restore = Restore(FORCED.replace(level.copied()));
        work()
    }
}

impl Level {
    /// Rows of the largest tile of a matrix product.
    pub(crate) fn rows(self) -> usize {
        match self {
            Level::Portable => lanes::Portable::ROWS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => lanes::Avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => lanes::Avx512::ROWS,
            #[cfg(not(target_arch = "x86_64"))]
            _ => lanes::Portable::ROWS,
        }
    }

    /// Numbers in a vector.
    pub(crate) fn width(self) -> usize {
        match self {
            Level::Portable => lanes::Portable::WIDTH,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => lanes::Avx2::WIDTH,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => lanes::Avx512::WIDTH,
            #[cfg(not(target_arch = "x86_64"))]
            _ => lanes::Portable::WIDTH,
        }
    }
}

/// Restores the previous level, also after a panic.
struct Restore(Option<Level>);

impl Drop for Restore {
    fn drop(&mut self) {
        FORCED.set(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Vec<Level> {
    let mut levels = vec![Level::Portable];
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        levels.push(Level::Avx2);
        if is_x86_feature_detected!("avx512f") {
            levels.push(Level::Avx512);
        }
    }
    levels
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Vec<Level> {
    vec![Level::Portable]
}

/// Calls `$name::<Lanes>($arguments)` compiled for `$level`.
macro_rules! dispatch {
    ($level:expr, $name:ident($($argument:ident: $type:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use crate::lanes::{Avx2, Avx512};
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn avx512($($argument: $type),*) {
                $name::<Avx512>($($argument),*)
            }
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) {
                $name::<Avx2>($($argument),*)
            }
            match $level {
                // SAFETY: only detected levels are possible.
                crate::Level::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: the same.
                crate::Level::Avx2 => unsafe { avx2($($argument),*) },
                crate::Level::Portable => $name::<crate::lanes::Portable>($($argument),*),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = $level;
            $name::<crate::lanes::Portable>($($argument),*)
        }
    }};
}

pub(crate) use dispatch;
