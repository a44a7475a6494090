//! How long idle threads of candle's keep a processor.

const VARIABLE: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";

/// Has the threads of candle's own operations sleep soon after each, rather
/// than look for work for tens of thousands of turns: on few processors they
/// keep others from working, those of this crate's operations among them.
///
/// It sets the environment variable that candle reads before its first
/// operation, so it is for the first line of a program. Nothing happens where
/// the variable is set already, or the process may have other threads.
///
/// # Example
///
/// ```
/// pixelcnn_kernels::sleep_when_idle();
/// ```
pub fn sleep_when_idle() {
    if std::env::var_os(VARIABLE).is_none() && alone() {
        // SAFETY: no other thread can read the environment meanwhile: there
        // is none.
        unsafe { std::env::set_var(VARIABLE, "100") };
    }
}

/// Whether this is the only thread of the process, as far as the system tells.
fn alone() -> bool {
    let threads = std::fs::read_dir("/proc/self/task");
    threads.is_ok_and(|threads| threads.count() == 1)
}
