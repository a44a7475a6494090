//! Converts panics of other people's code to errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, a call into code that may panic on unusual input, and returns
/// the message of a panic as the error. Nothing is printed: the caller reports it.
///
/// After a panic, everything that `work` has changed is in an unknown state and must not
/// be used again.
///
/// ```
/// assert_eq!(pixelcnn_system::guarded(|| 7), Ok(7));
/// let error = pixelcnn_system::guarded(|| [1, 2, 3][std::hint::black_box(5)]).unwrap_err();
/// assert!(error.contains("index is 5"));
/// ```
///
/// # Errors
///
/// The message of the panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let say = |text: &str| guarded(|| -> u8 { panic!("{text}") }).unwrap_err();
        assert_eq!(say("one"), "one");
        assert_eq!(guarded(|| -> u8 { panic!("fixed") }).unwrap_err(), "fixed");
        let odd = guarded(|| -> u8 { std::panic::panic_any(7_u8) });
        assert_eq!(odd.unwrap_err(), "a panic without a message");
    }

    #[test]
    fn a_guard_within_a_guard_ends_alone() {
        let outer = guarded(|| {
            let inner = guarded(|| -> u8 { panic!("inner") });
            assert!(GUARDED.get());
            inner
        });
        assert_eq!(outer.unwrap(), Err("inner".to_string()));
        assert!(!GUARDED.get());
    }
}
