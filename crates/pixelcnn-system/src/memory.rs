//! Compares an estimate with the available memory before allocation.

use sysinfo::{IS_SUPPORTED_SYSTEM, MemoryRefreshKind, RefreshKind, System};

/// The error if something needs more memory than is available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} needs about {} of memory, but {} are available", size(*.needed), size(*.available))]
pub struct NotEnoughMemory {
    /// The thing that needs the memory.
    pub what: String,
    /// Bytes.
    pub needed: u64,
    /// Bytes.
    pub available: u64,
}

/// Refuses work that needs more bytes than are available. Otherwise the system might
/// kill the program without a message, and the work would be lost.
///
/// ```
/// use pixelcnn_system::check_memory;
///
/// check_memory("a picture of 32 x 32", 3072)?;
/// let error = check_memory("a picture of the world", u64::MAX).unwrap_err();
/// assert!(error.to_string().starts_with("a picture of the world needs about 17179869184.0 GiB"));
/// # Ok::<(), pixelcnn_system::NotEnoughMemory>(())
/// ```
///
/// # Errors
///
/// If `bytes` is more than [`available_memory`]; if that is unknown, only
/// if no allocation can be that large.
pub fn check_memory(what: impl Into<String>, bytes: u64) -> Result<(), NotEnoughMemory> {
    let available = available_memory().unwrap_or(isize::MAX as u64);
    match bytes <= available {
        true => Ok(()),
        false => Err(NotEnoughMemory {
            what: what.into(),
            needed: bytes,
            available,
        }),
    }
}

/// The bytes that this process can still allocate: the available memory of the system,
/// or less if a control group (a container, a scheduler's job) or the
/// process's limit of address space (`ulimit -v`) allows less. `None` if the
/// system does not report it.
///
/// ```
/// assert!(pixelcnn_system::available_memory().is_none_or(|bytes| bytes > 0));
/// ```
pub fn available_memory() -> Option<u64> {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = IS_SUPPORTED_SYSTEM.then(|| System::new_with_specifics(kind));
    let machine = system.as_ref().map(System::available_memory);
    let machine = machine.filter(|bytes| *bytes > 0);
    let group = system.as_ref().and_then(System::cgroup_limits);
    // Its free memory does not include the file cache, which the system releases
    // if memory is short.
    let group = group.map(|limits| limits.total_memory.saturating_sub(limits.rss));
    [machine, group, address_space()]
        .into_iter()
        .flatten()
        .min()
}

/// The most bytes of memory that this process has used so far. `None` if the system does
/// not report it; only Linux does.
///
/// ```
/// assert!(pixelcnn_system::peak_memory().is_none_or(|bytes| bytes > 1000));
/// ```
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The bytes that fit into the address space, if it is limited.
#[cfg(unix)]
fn address_space() -> Option<u64> {
    /// Reserve for memory without an allocator: threads, mapped files.
    const LEAST: u64 = 64 << 20;
    let (limit, _) = rlimit::Resource::AS.get().ok()?;
    if limit == rlimit::INFINITY {
        return None;
    }
    // In pages: mapped, resident; only Linux has the file.
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text.split(' ').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten().map(|pages: u64| pages * 4096);
    let (mapped, resident) = (next()?, next()?);
    let left = limit.saturating_sub(mapped);
    // An allocator may have mapped a large part for later use.
    let kept = mapped.saturating_sub(resident).saturating_sub(LEAST);
    Some(if left < LEAST { left } else { left.max(kept) })
}

#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    let mut number = bytes as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{number:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_unit_that_fits() {
        for (bytes, text) in [
            (512, "0.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 29, "2.5 GiB"),
            (1 << 50, "1048576.0 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn more_than_the_available_memory_is_refused() {
        assert!(check_memory("little", 1).is_ok());
        let error = check_memory("much", 1 << 60).unwrap_err();
        assert_eq!((error.what.as_str(), error.needed), ("much", 1 << 60));
    }
}
