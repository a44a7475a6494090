//! Reads the pickle of a PyTorch file without executing anything.
//!
//! A pickle is a program for a small machine with a stack. This reader knows only the
//! instructions with which dictionaries, texts, numbers and tensors are written. Calls of
//! functions are never made: the three functions that a state dict needs are recognised by
//! their names, and the result of any other is an unknown thing.

mod machine;
mod tensor;
mod value;

pub(crate) use machine::read;
pub(crate) use tensor::TensorPlace;
pub(crate) use value::{Id, Pickle, Value};
