//! Products of matrices by cuBLAS.

use candle_core::cuda_backend::cudarc::cublas::{
    CudaBlas, result::gemm_ex, result::gemm_strided_batched_ex, sys,
};
use candle_core::{Error, Result};

use crate::Precision;

/// Matrices of one size, one after the other, as cuBLAS has them: column after column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrices {
    /// The address of the first one.
    pub at: u64,
    /// Numbers from one column to the next.
    pub column: usize,
    /// Numbers from one matrix to the next.
    pub numbers: usize,
}

/// `c = alpha a b + beta c` for each of some matrices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// Whether each factor is transposed.
    pub transposed: [bool; 2],
    /// Rows and columns of the result, and the length of the sums.
    pub sizes: [usize; 3],
    pub factors: [Matrices; 2],
    pub result: Matrices,
    pub alpha: f32,
    pub beta: f32,
    /// How many matrices there are.
    pub count: usize,
    /// Whether the result is f32 when the factors are not.
    pub wide: bool,
    pub precision: Precision,
}

/// Computes a product, with sums in f32.
///
/// # Safety
///
/// All matrices are in memory of the device, and their sizes fit `i32`.
pub(crate) unsafe fn multiply(product: &Product, blas: &CudaBlas) -> Result<()> {
    let [turn_a, turn_b] = product.transposed.map(operation);
    let (narrow, wide, compute) = types(product);
    let [m, n, k] = product.sizes.map(|size| size as i32);
    let ([a, b], c) = (product.factors, product.result);
    let [alpha, beta] = [&raw const product.alpha, &raw const product.beta].map(|it| it.cast());
    let algorithm = sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
    let [columns_a, columns_b, columns_c] = [a, b, c].map(|it| it.column as i32);
    let (at_a, at_b, at_c) = (a.at as *const _, b.at as *const _, c.at as *mut _);
    // SAFETY: as the caller promises; alpha and beta are f32, as the type of the sums.
    let done = unsafe {
        match product.count {
            // cuBLAS may choose other kernels for stacks: single products stay what was measured.
            1 => gemm_ex(
                *blas.handle(),
                turn_a,
                turn_b,
                m,
                n,
                k,
                alpha,
                at_a,
                narrow,
                columns_a,
                at_b,
                narrow,
                columns_b,
                beta,
                at_c,
                wide,
                columns_c,
                compute,
                algorithm,
            ),
            count => gemm_strided_batched_ex(
                *blas.handle(),
                turn_a,
                turn_b,
                m,
                n,
                k,
                alpha,
                at_a,
                narrow,
                columns_a,
                a.numbers as i64,
                at_b,
                narrow,
                columns_b,
                b.numbers as i64,
                beta,
                at_c,
                wide,
                columns_c,
                c.numbers as i64,
                count as i32,
                compute,
                algorithm,
            ),
        }
    };
    done.map_err(Error::wrap)
}

fn operation(is_transposed: bool) -> sys::cublasOperation_t {
    match is_transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    }
}

/// The types of the factors, of the result and of the sums.
fn types(
    product: &Product,
) -> (
    sys::cudaDataType,
    sys::cudaDataType,
    sys::cublasComputeType_t,
) {
    let (f32, bf16) = (
        sys::cudaDataType::CUDA_R_32F,
        sys::cudaDataType::CUDA_R_16BF,
    );
    let (narrow, compute) = match product.precision {
        Precision::F32 => (f32, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
        Precision::Tf32 => (f32, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32),
        Precision::Bf16 => (bf16, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
    };
    (narrow, if product.wide { f32 } else { narrow }, compute)
}
