//! The instructions of a step.

use candle_core::Result;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::CudaBlas;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};

use super::{Mixture, Precision};
use crate::kernel::Kernel;
use crate::product::{self, Matrices, multiply};

/// Where an instruction finds its numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Bytes from the start of the step's memory.
    Memory(usize),
    /// The values.
    Values,
    /// An address of the device; 0 for nothing.
    At(u64),
}

impl Place {
    fn address(self, [memory, values]: [u64; 2]) -> u64 {
        match self {
            Self::Memory(offset) => memory + offset as u64,
            Self::Values => values,
            Self::At(address) => address,
        }
    }
}

/// `Window` of kernels/step.cu.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Window {
    pub size: [i32; 2],
    pub kernel: [i32; 2],
    pub before: [i32; 2],
    pub dilation: i32,
    pub maps: u32,
    pub stride: u32,
    pub view_stride: u32,
}

// SAFETY: it has the fields of `Window` in kernels/step.cu, in the same order.
unsafe impl DeviceRepr for Window {}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    Place(Place),
    Size(usize),
    Number(u32),
    Real(f32),
    Window(Window),
    Mixture(Mixture),
}

/// `c = a b`, or `c += a b`, of matrices as cuBLAS has them: column after column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// Whether each factor is transposed.
    pub transposed: [bool; 2],
    /// Rows of `a`, columns of `b`, and the length of the sums.
    pub sizes: [usize; 3],
    /// The factors and the result, with the numbers from one column to the next.
    pub factors: [(Place, usize); 2],
    pub result: (Place, usize),
    /// Whether the result is f32 when the factors are not.
    pub wide: bool,
    pub adds: bool,
    pub precision: Precision,
}

#[derive(Debug)]
pub(super) enum Instruction {
    Kernel(Kernel, LaunchConfig, Vec<Argument>),
    Product(Product),
}

/// Runs one instruction; `addresses` are those of the memory and the values.
pub(super) fn launch(
    instruction: &Instruction,
    blas: &CudaBlas,
    addresses: [u64; 2],
) -> Result<()> {
    match instruction {
        Instruction::Kernel(kernel, config, arguments) => {
            let of_argument = |argument: &Argument| match argument {
                Argument::Place(place) => place.address(addresses),
                _ => 0,
            };
            let places: Vec<u64> = arguments.iter().map(of_argument).collect();
            let mut launch = kernel.builder();
            for (argument, place) in arguments.iter().zip(&places) {
                match argument {
                    Argument::Place(_) => launch.arg(place),
                    Argument::Size(size) => launch.arg(size),
                    Argument::Number(number) => launch.arg(number),
                    Argument::Real(real) => launch.arg(real),
                    Argument::Window(window) => launch.arg(window),
                    Argument::Mixture(mixture) => launch.arg(mixture),
                };
            }
            // SAFETY: `compile` made the arguments for this kernel, and all places are within
            // the memory of the step or tensors that it keeps.
            unsafe { launch.launch(*config) }.w()?;
            Ok(())
        }
        // SAFETY: `compile` made sizes, places and steps of matrices within the step's memory.
        Instruction::Product(product) => unsafe { multiply(&product.at(addresses), blas) },
    }
}

impl Product {
    /// With the addresses of all places.
    fn at(&self, addresses: [u64; 2]) -> product::Product {
        let matrix = |(place, column): (Place, usize)| Matrices {
            at: place.address(addresses),
            column,
            numbers: 0,
        };
        product::Product {
            transposed: self.transposed,
            sizes: self.sizes,
            factors: self.factors.map(matrix),
            result: matrix(self.result),
            alpha: 1.0,
            beta: if self.adds { 1.0 } else { 0.0 },
            count: 1,
            wide: self.wide,
            precision: self.precision,
        }
    }
}
