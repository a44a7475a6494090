//! Starts the threads of a program, as many as the system allows.

use std::sync::mpsc::{Sender, channel};

use rayon::{ThreadBuilder, ThreadPoolBuilder};

/// How long idle threads of candle keep a processor.
const SPINNING: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
/// Number of threads that candle starts for its own operations.
const CANDLE: &str = "CANDLE_NUM_THREADS";
/// Number of threads that rayon starts.
const RAYON: &str = "RAYON_NUM_THREADS";
/// Stack size of a thread, unless the variable sets another.
const STACK: usize = 2 << 20;

/// Starts the threads that the operations of this crate and of candle share:
/// one per processor (or fewer, as `RAYON_NUM_THREADS` says), or fewer if the
/// system cannot start more. Returns the number,
/// at least 1.
///
/// Without this call, the first operation starts them, and the program ends if one
/// cannot be started. It also makes candle's threads sleep soon after each
/// operation, instead of searching for work for tens of thousands of rounds, which
/// blocks other threads on machines with few processors.
///
/// It also tells candle this number. Otherwise candle counts the processors anew for every
/// product of matrices, on Linux by reading `/proc/cpuinfo`: about 255 times in an update by Muon
/// of a small network.
///
/// It sets environment variables that candle reads, so call it in the first line
/// of a program. A variable that is already set stays unchanged, unless candle cannot
/// start that many threads. All variables stay unchanged if the process may have
/// other threads.
///
/// # Example
///
/// ```
/// assert!(pixelcnn_kernels::start_threads() >= 1);
/// ```
pub fn start_threads() -> usize {
    let alone = alone();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = std::env::var(RAYON).ok();
    let asked = asked.and_then(|text| text.parse().ok());
    let asked = asked.filter(|count| *count > 0).unwrap_or(processors);
    let waiting = waiting_threads(asked.min(processors));
    let count = waiting.len().max(1);
    if alone {
        let unset = |name: &str| std::env::var_os(name).is_none();
        // candle starts its own threads later, and ends the program if it cannot.
        if waiting.len() < asked.min(processors) {
            set(CANDLE, "1");
        } else if asked > processors && unset(CANDLE) {
            set(CANDLE, &count.to_string());
        }
        if unset(RAYON) {
            set(RAYON, &count.to_string());
        }
        if unset(SPINNING) {
            set(SPINNING, "100");
        }
    }
    build_pool(waiting);
    count
}

/// How many threads the operations of this crate use: one per processor, or as many as
/// `RAYON_NUM_THREADS` says.
///
/// # Example
///
/// ```
/// assert!(pixelcnn_kernels::threads() >= 1);
/// ```
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Threads that wait for work, at most `wanted`.
fn waiting_threads(wanted: usize) -> Vec<Sender<ThreadBuilder>> {
    let start = |_| {
        let (sender, receiver) = channel::<ThreadBuilder>();
        let work = move || {
            if let Ok(thread) = receiver.recv() {
                thread.run();
            }
        };
        let builder = std::thread::Builder::new().stack_size(STACK);
        builder.spawn(work).is_ok().then_some(sender)
    };
    (0..wanted).map_while(start).collect()
}

/// Gives the threads to rayon. If rayon already has a pool, the threads end.
fn build_pool(waiting: Vec<Sender<ThreadBuilder>>) {
    let builder = ThreadPoolBuilder::new();
    let _ = match waiting.is_empty() {
        // This thread does all the work.
        true => builder.num_threads(1).use_current_thread().build_global(),
        false => builder
            .num_threads(waiting.len())
            .spawn_handler(|thread| {
                let sender = &waiting[thread.index()];
                let gone = |_| std::io::Error::other("a thread has ended");
                sender.send(thread).map_err(gone)
            })
            .build_global(),
    };
}

/// Sets a variable. Only for processes without other threads than those of
/// [`waiting_threads`].
fn set(name: &str, value: &str) {
    // SAFETY: no other thread reads the environment now, because all others wait for a
    // message.
    unsafe { std::env::set_var(name, value) };
}

/// Whether this is the only thread of the process, as far as the system tells.
fn alone() -> bool {
    let threads = std::fs::read_dir("/proc/self/task");
    threads.is_ok_and(|threads| threads.count() == 1)
}
