//! The tensors of a pickle: where their numbers are.

use candle_core::DType;

use super::value::{Id, Storage, Value, get, number};

/// The largest rank of a tensor.
const MOST_SIDES: usize = 8;
/// The most bytes of the name of an archive's entry.
const LONGEST_KEY: usize = 64;

/// The type of the numbers of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers<'a> {
    /// Weights can have this type.
    Real(DType),
    /// Another type, by the name of its storage.
    Other(&'a str),
}

impl<'a> Numbers<'a> {
    pub(super) fn of_storage(name: &'a str) -> Option<Self> {
        Some(match name {
            "FloatStorage" => Self::Real(DType::F32),
            "HalfStorage" => Self::Real(DType::F16),
            "BFloat16Storage" => Self::Real(DType::BF16),
            "DoubleStorage" => Self::Real(DType::F64),
            _ if name.ends_with("Storage") => Self::Other(name),
            _ => return None,
        })
    }
}

/// A tensor as a view of numbers in an entry of the archive.
#[derive(Clone, Debug)]
pub(crate) struct TensorPlace {
    /// The last part of the entry's name.
    pub key: String,
    /// The type of its numbers, or the name of the storage of a type that weights cannot have.
    pub dtype: Result<DType, String>,
    /// How many numbers the entry has.
    pub length: u64,
    /// The first number.
    pub offset: u64,
    pub shape: Vec<usize>,
    /// Distances between neighbours, in numbers.
    pub strides: Vec<usize>,
}

/// A storage from the tuple `("storage", class, key, location, length)`.
pub(super) fn storage<'a>(values: &[Value<'a>], parts: &[Id]) -> Option<Storage<'a>> {
    let [kind, class, key, _, length, ..] = parts else {
        return None;
    };
    let key = super::value::text(values, *key)?;
    let is_storage = super::value::text(values, *kind) == Some("storage");
    let Value::Global(super::value::Global::Storage(numbers)) = get(values, *class) else {
        return None;
    };
    (is_storage && key.len() <= LONGEST_KEY).then_some(Storage {
        key,
        numbers: *numbers,
        length: number(values, *length)?,
    })
}

/// A tensor from the arguments `(storage, offset, shape, strides, ...)` of its function.
pub(super) fn tensor(values: &[Value<'_>], parts: &[Id]) -> Option<TensorPlace> {
    let [storage, offset, shape, strides, ..] = parts else {
        return None;
    };
    let Value::Storage(storage) = get(values, *storage) else {
        return None;
    };
    let (shape, strides) = (sides(values, *shape)?, sides(values, *strides)?);
    (shape.len() == strides.len()).then(|| TensorPlace {
        key: storage.key.to_string(),
        dtype: match storage.numbers {
            Numbers::Real(dtype) => Ok(dtype),
            Numbers::Other(name) => Err(name.chars().take(LONGEST_KEY).collect()),
        },
        length: storage.length,
        offset: number(values, *offset).unwrap_or(u64::MAX),
        shape,
        strides,
    })
}

/// A tuple of a few whole numbers.
fn sides(values: &[Value<'_>], id: Id) -> Option<Vec<usize>> {
    let Value::Tuple(parts) = get(values, id) else {
        return None;
    };
    if parts.len() > MOST_SIDES {
        return None;
    }
    let sides = parts.iter().map(|side| number(values, *side));
    sides
        .map(|side| side.and_then(|side| usize::try_from(side).ok()))
        .collect()
}

impl TensorPlace {
    /// How many numbers it has, if the number does not overflow.
    pub(crate) fn count(&self) -> Option<usize> {
        let mut sides = self.shape.iter();
        sides.try_fold(1usize, |all, side| all.checked_mul(*side))
    }

    /// The place after the last number that it reads, if it does not overflow.
    pub(crate) fn end(&self) -> Option<u64> {
        if self.count()? == 0 {
            return Some(self.offset);
        }
        let mut last = self.offset;
        for (side, stride) in self.shape.iter().zip(&self.strides) {
            let far = (*side as u64 - 1).checked_mul(*stride as u64)?;
            last = last.checked_add(far)?;
        }
        last.checked_add(1)
    }

    /// Whether its numbers follow each other in their order.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        let sides = self.shape.iter().zip(&self.strides).rev();
        for (side, stride) in sides {
            if *side != 1 && *stride != expected {
                return false;
            }
            expected = expected.saturating_mul(*side);
        }
        true
    }
}
