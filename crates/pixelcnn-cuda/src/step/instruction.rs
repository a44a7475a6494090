//! The instructions of a step.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, result::gemm_ex, sys};
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::{Error, Result};

use super::{Mixture, Precision};
use crate::kernel::Kernel;

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
        Instruction::Product(product) => multiply(product, blas, addresses),
    }
}

fn multiply(product: &Product, blas: &CudaBlas, addresses: [u64; 2]) -> Result<()> {
    let turned = |is: bool| match is {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let (f32, bf16) = (
        sys::cudaDataType::CUDA_R_32F,
        sys::cudaDataType::CUDA_R_16BF,
    );
    let (narrow, compute) = match product.precision {
        Precision::F32 => (f32, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
        Precision::Tf32 => (f32, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32),
        Precision::Bf16 => (bf16, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
    };
    let result_type = if product.wide { f32 } else { narrow };
    let [m, n, k] = product.sizes.map(|size| size as i32);
    let [(a, a_step), (b, b_step)] = product.factors;
    let (c, c_step) = product.result;
    let (one, beta) = (1f32, if product.adds { 1f32 } else { 0.0 });
    // SAFETY: `compile` made sizes, places and steps of matrices within the step's memory; alpha
    // and beta are f32, as the type of the sums.
    let done = unsafe {
        gemm_ex(
            *blas.handle(),
            turned(product.transposed[0]),
            turned(product.transposed[1]),
            m,
            n,
            k,
            (&raw const one).cast(),
            a.address(addresses) as *const _,
            narrow,
            a_step as i32,
            b.address(addresses) as *const _,
            narrow,
            b_step as i32,
            (&raw const beta).cast(),
            c.address(addresses) as *mut _,
            result_type,
            c_step as i32,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    };
    done.map_err(Error::wrap)
}
