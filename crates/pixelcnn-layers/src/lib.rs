#![doc = include_str!("../README.md")]
//!
//! A network is a [`Graph`] of operations. Layers are added to it and take
//! their weights from a candle `VarBuilder`. Maps are `[b, maps, h, w]`.

mod check;
mod condition;
mod counts;
mod forward;
mod gated_block;
mod graph;
mod head;
mod recurrence;
mod residual_block;

pub use condition::{Condition, ConditionShape, ConditionTerm};
pub use counts::Pass;
pub use gated_block::{Activation, GatedBlock, GatedBlockConfig};
pub use graph::{Composite, Graph, Maps, Operation};
pub use pixelcnn_kernels::Direction;
pub use recurrence::{Recurrence, RecurrentLayer, RecurrentLayerConfig};
