//! The engine that computes a network value by value, with the same bits on
//! every processor.
//!
//! A [`Program`] is a network split into two parts. What depends only on rows above is
//! computed once per row for all its positions. What depends on pixels to the left
//! and on earlier colours is computed pixel by pixel and colour by colour.
//! [`run`] goes through images in this order. For each value, a [`Driver`] gets
//! the logits and returns the value: it draws the value, knows it
//! already, or decodes it from a file.
//!
//! # Arithmetic
//!
//! Everything is f32 and consists of IEEE 754 additions, multiplications, fused
//! multiply-adds, divisions, conversions and integer operations, in an order
//! that depends only on the network:
//!
//! - A sum is one chain of fused multiply-adds over its inputs, in the order
//!   that [`Program`] gives. Vector lanes, threads, images and positions are
//!   different outputs, never parts of a sum.
//! - `exp(x)`: `n = round(x log2 e)` by adding and subtracting `1.5 * 2^23`,
//!   `r = x - n ln 2` in two fused steps, a polynomial of degree 7 in `r`, and
//!   `2^n` put together from bits. Below -87 it is 0.
//! - `tanh(a) sigmoid(b)` from two such exponentials and one division.
//! - [`ln`] in f64, by a series.
//! - A softmax is converted to integers before it is summed: [`Frequencies`].
//! - A mixture of logistics is converted to the logarithms of its probabilities, which
//!   are treated like logits.
//!
//! So AVX-512, AVX2 and portable code give the same bits, for any number of
//! images and threads, and whether a row is known and computed at
//! once or drawn pixel by pixel. Rounding is to nearest and subnormals are
//! kept, as is usual in Rust.

mod arithmetic;
mod check;
mod frequencies;
mod lanes;
mod memory;
mod mixture;
mod pointwise;
mod product;
mod program;
mod run;
mod stage;
mod team;
#[cfg(test)]
mod tests;

pub use arithmetic::ln;
pub use frequencies::Frequencies;
#[cfg(target_arch = "x86_64")]
pub(crate) use lanes::{Avx2Sixteen, Avx512Sixteen};
pub(crate) use lanes::{PortableSixteen, Sixteen};
pub use product::{LANES, Weights};
pub use program::{
    Buffer, Chain, Extent, Group, Input, Instruction, MOST_POINTWISE, Pointwise, Program,
    ProgramParts, Run, Scan, Side, Stage,
};
pub use run::{Driver, Job, MOST_IMAGES, ValueIndex, run};
pub use team::Sharing;
