//! Fitting the Gaussian: mean, covariance, and the search for the shrinkage.

use std::ops::Range;

use candle_core::{Device, Tensor};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Accum, Mat, MatMut, MatRef, Par};

use super::{
    Gaussian, IMAGES_PER_CHUNK, ImageSource, NOISE_VARIANCE, check_images, dimensions_of, parts,
    raster_centres,
};
use crate::error::ModelError;

/// The smallest shrinkage is 10 to this power. Even this one keeps the
/// eigenvalues of the correlation matrix much farther from zero than f64 rounding
/// errors, so every candidate can be factorised, however few images there are.
const SMALLEST_EXPONENT: f64 = -4.0;
/// Candidates per factor of ten; the last one is 1, the independent Gaussian.
const CANDIDATES_PER_DECADE: u32 = 3;
const CANDIDATES: u32 = 13;

pub(super) fn fit(
    train: &dyn ImageSource,
    valid: &dyn ImageSource,
) -> Result<Gaussian, ModelError> {
    let first = |images: &dyn ImageSource| images.part(0..images.count().min(IMAGES_PER_CHUNK));
    let (_, shape) = check_images("training images of the Gaussian", &first(train)?, 2, None)?;
    check_images(
        "validation images of the Gaussian",
        &first(valid)?,
        1,
        Some(shape),
    )?;
    let dimensions = dimensions_of(shape[0], shape[1], shape[2])?;
    let mean = mean_of_centres(train)?;
    let covariance = covariance(train, &mean, dimensions)?;
    let mut best: Option<(f64, Gaussian)> = None;
    for shrinkage in candidates() {
        let whitening = whitening(shrunk(&covariance, shrinkage), dimensions)?;
        let [channels, height, width] = shape;
        let mut gaussian =
            Gaussian::from_tensors(channels, height, width, mean.clone(), whitening)?;
        gaussian.shrinkage = Some(shrinkage);
        let mut nats = 0.0;
        for range in parts(valid.count(), IMAGES_PER_CHUNK) {
            let part = gaussian.nats(&valid.part(range)?)?;
            nats += part.sum_all()?.to_scalar::<f64>()?;
        }
        tracing::debug!(shrinkage, nats, "Gaussian on the validation images");
        if best.as_ref().is_none_or(|(fewest, _)| nats < *fewest) {
            best = Some((nats, gaussian));
        }
    }
    best.map(|(_, gaussian)| gaussian)
        .ok_or_else(|| ModelError::Invalid {
            what: "shrinkage of the Gaussian".to_string(),
            why: "there is no candidate to choose from".to_string(),
        })
}

/// The candidates for the shrinkage, ascending.
pub(super) fn candidates() -> impl Iterator<Item = f64> {
    (0..CANDIDATES)
        .map(|k| 10f64.powf(SMALLEST_EXPONENT + f64::from(k) / f64::from(CANDIDATES_PER_DECADE)))
}

fn mean_of_centres(values: &dyn ImageSource) -> Result<Tensor, ModelError> {
    let images = values.count();
    let mut sum = None;
    for range in parts(images, IMAGES_PER_CHUNK) {
        let chunk = chunk_of_centres(values, range)?.sum(0)?;
        sum = Some(match sum {
            None => chunk,
            Some(sum) => (sum + chunk)?,
        });
    }
    let sum = sum.ok_or_else(|| ModelError::Invalid {
        what: "mean of the Gaussian".to_string(),
        why: "there are no images".to_string(),
    })?;
    Ok((sum / images as f64)?)
}

/// Sample covariance plus covariance of the noise; only the lower triangle is filled.
fn covariance(
    values: &dyn ImageSource,
    mean: &Tensor,
    dimensions: usize,
) -> Result<Mat<f64>, ModelError> {
    let images = values.count();
    let mut covariance = Mat::<f64>::zeros(dimensions, dimensions);
    for range in parts(images, IMAGES_PER_CHUNK) {
        let centred = chunk_of_centres(values, range)?.broadcast_sub(mean)?;
        let rows = centred.dim(0)?;
        let centred = centred.flatten_all()?.to_vec1::<f64>()?;
        let centred = MatRef::from_row_major_slice(&centred, rows, dimensions);
        triangular::matmul(
            covariance.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            centred.transpose(),
            BlockStructure::Rectangular,
            centred,
            BlockStructure::Rectangular,
            1.0 / (images - 1) as f64,
            Par::rayon(0),
        );
    }
    for i in 0..dimensions {
        covariance[(i, i)] += NOISE_VARIANCE;
    }
    Ok(covariance)
}

fn chunk_of_centres(values: &dyn ImageSource, range: Range<usize>) -> Result<Tensor, ModelError> {
    Ok(raster_centres(&values.part(range)?)?)
}

/// `(1 - shrinkage) S + shrinkage diag(S)`.
fn shrunk(covariance: &Mat<f64>, shrinkage: f64) -> Mat<f64> {
    let mut shrunk = covariance * faer::Scale(1.0 - shrinkage);
    for i in 0..covariance.nrows() {
        shrunk[(i, i)] = covariance[(i, i)];
    }
    shrunk
}

/// Inverse of the lower Cholesky factor of `covariance`, as `[D, D]`.
fn whitening(mut covariance: Mat<f64>, dimensions: usize) -> Result<Tensor, ModelError> {
    let parallelism = Par::rayon(0);
    let scratch = cholesky_in_place_scratch::<f64>(dimensions, parallelism, Default::default());
    cholesky_in_place(
        covariance.as_mut(),
        Default::default(),
        parallelism,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|error| ModelError::Invalid {
        what: "covariance of the Gaussian".to_string(),
        why: format!("must be positive definite, found {error:?}"),
    })?;
    // Only the lower triangle is written; the upper one stays zero.
    let mut whitening = vec![0.0; dimensions * dimensions];
    invert_lower_triangular(
        MatMut::from_row_major_slice_mut(&mut whitening, dimensions, dimensions),
        covariance.as_ref(),
        parallelism,
    );
    Ok(Tensor::from_vec(
        whitening,
        (dimensions, dimensions),
        &Device::Cpu,
    )?)
}
