//! The values of a pickle.

use super::tensor::{self, Numbers, TensorPlace};

/// The place of a value among all values of a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u32);

/// A value; `'a` are the bytes of the pickle.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    /// Anything that a state dict does not need: its content is not kept.
    Unknown,
    Number(i64),
    Text(&'a str),
    Tuple(Box<[Id]>),
    /// Pairs in their order.
    Dict(Vec<(Id, Id)>),
    Global(Global<'a>),
    Storage(Box<Storage<'a>>),
    /// By the arguments of the function that makes it.
    Tensor(Id),
}

/// A name of a Python module that a state dict needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Global<'a> {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Numbers<'a>),
}

impl<'a> Global<'a> {
    pub(super) fn known(module: &str, name: &'a str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", name) => Numbers::of_storage(name).map(Self::Storage),
            _ => None,
        }
    }
}

/// Numbers in an entry of the archive.
#[derive(Debug)]
pub(crate) struct Storage<'a> {
    pub key: &'a str,
    pub numbers: Numbers<'a>,
    pub length: u64,
}

/// All values of a pickle, and which one it describes.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: Id,
}

/// The value that stands for all unknown things.
pub(super) const UNKNOWN: Id = Id(0);

impl<'a> Pickle<'a> {
    pub(crate) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    pub(crate) fn get(&self, id: Id) -> &Value<'a> {
        get(&self.values, id)
    }

    /// The tensor, if the value is one.
    pub(crate) fn tensor(&self, id: Id) -> Option<TensorPlace> {
        let Value::Tensor(arguments) = self.get(id) else {
            return None;
        };
        match self.get(*arguments) {
            Value::Tuple(parts) => tensor::tensor(&self.values, parts),
            _ => None,
        }
    }

    pub(crate) fn text(&self, id: Id) -> Option<&'a str> {
        text(&self.values, id)
    }
}

pub(super) fn get<'v, 'a>(values: &'v [Value<'a>], id: Id) -> &'v Value<'a> {
    values.get(id.0 as usize).unwrap_or(&Value::Unknown)
}

pub(super) fn text<'a>(values: &[Value<'a>], id: Id) -> Option<&'a str> {
    match get(values, id) {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

pub(super) fn number(values: &[Value<'_>], id: Id) -> Option<u64> {
    match get(values, id) {
        Value::Number(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Appends a value and returns its place.
pub(super) fn push<'a>(values: &mut Vec<Value<'a>>, value: Value<'a>) -> Id {
    let place = u32::try_from(values.len()).map_or(UNKNOWN, Id);
    values.push(value);
    place
}

/// The value for changes.
pub(super) fn get_mut<'v, 'a>(values: &'v mut [Value<'a>], id: Id) -> Option<&'v mut Value<'a>> {
    values.get_mut(id.0 as usize)
}
