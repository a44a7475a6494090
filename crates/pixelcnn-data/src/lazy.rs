//! Values that are computed at their first use.

use std::sync::{Arc, OnceLock};

use crate::DataError;

/// A value that is computed at its first use. Clones share the value. If `make` fails,
/// the next use calls it again.
pub(crate) struct Lazy<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    value: OnceLock<T>,
    make: Box<dyn Fn() -> Result<T, DataError> + Send + Sync>,
}

impl<T> Lazy<T> {
    pub(crate) fn new(make: impl Fn() -> Result<T, DataError> + Send + Sync + 'static) -> Self {
        let inner = Inner {
            value: OnceLock::new(),
            make: Box::new(make),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The value. Two threads at the same time may both compute it; one of the two values
    /// is kept.
    pub(crate) fn get(&self) -> Result<&T, DataError> {
        match self.inner.value.get() {
            Some(value) => Ok(value),
            None => {
                let value = (self.inner.make)()?;
                Ok(self.inner.value.get_or_init(|| value))
            }
        }
    }

    /// The value, if it has been computed.
    pub(crate) fn made(&self) -> Option<&T> {
        self.inner.value.get()
    }
}

impl<T> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        let inner = Arc::clone(&self.inner);
        Self { inner }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_value_is_made_once_and_tried_again_after_an_error() {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let lazy = Lazy::new(move || match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Err(DataError::UnknownSpec { spec: "".into() }),
            tries => Ok(tries),
        });
        assert_eq!(lazy.made(), None);
        assert!(lazy.get().is_err());
        let copy = lazy.clone();
        assert_eq!(*lazy.get().unwrap(), 1);
        assert_eq!(*copy.get().unwrap(), 1);
        assert_eq!((copy.made(), tries.load(Ordering::Relaxed)), (Some(&1), 2));
    }
}
