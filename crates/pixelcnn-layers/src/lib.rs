//! The layers of the PixelCNN: the gate (eq. 2), the conditioning terms
//! (eq. 4 and 5), the two-stack block (figure 2), the masked residual block of
//! the plain PixelCNN, and the head that gives logits.
//!
//! Every layer has a constructor that takes its weights from a candle
//! `VarBuilder` and a `forward`. Maps are `[b, maps, h, w]`.

mod activation;
mod condition;
mod gated_block;
mod head;
mod residual_block;

pub use activation::Activation;
pub use condition::{Condition, ConditionShape, ConditionTerm};
pub use gated_block::{GatedBlock, GatedBlockConfig};
pub use head::Head;
pub use pixelcnn_kernels::{Position, split_stacks};
pub use residual_block::ResidualBlock;
