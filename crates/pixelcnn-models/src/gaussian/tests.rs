use candle_core::{DType, Device, Tensor};

use super::{Gaussian, fit};
use crate::error::ModelError;

const LOG_TWO_PI: f64 = 1.837_877_066_409_345_5;

/// Pseudorandom numbers, uniform on `[0, 1)`.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.next()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.next()).cos()
    }
}

fn images(count: usize, shape: [usize; 3], seed: u64) -> Tensor {
    let mut uniform = Uniform(seed);
    let [c, h, w] = shape;
    let mut values = Vec::new();
    for _ in 0..count {
        // A common brightness makes the values of an image dependent.
        let shared = 120.0 + 40.0 * uniform.normal();
        for place in 0..c * h * w {
            let own = (3.0 + place as f64) * uniform.normal();
            values.push((shared + own).clamp(0.0, 255.0) as u8);
        }
    }
    Tensor::from_vec(values, (count, c, h, w), &Device::Cpu).unwrap()
}

/// Images as rows of f64 in the order row, column, channel, by plain indexing.
fn raster(values: &Tensor) -> Vec<Vec<f64>> {
    let (n, c, h, w) = values.dims4().unwrap();
    let flat = values.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    let flat = flat.to_vec1::<f64>().unwrap();
    let at = |image: usize, y: usize, x: usize, channel: usize| {
        flat[((image * c + channel) * h + y) * w + x]
    };
    let mut rows = vec![Vec::new(); n];
    for (image, row) in rows.iter_mut().enumerate() {
        for y in 0..h {
            for x in 0..w {
                row.extend((0..c).map(|channel| at(image, y, x, channel)));
            }
        }
    }
    rows
}

fn sample_mean(rows: &[Vec<f64>]) -> Vec<f64> {
    let mean = |i: usize| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64;
    (0..rows[0].len()).map(mean).collect()
}

/// The covariance that `Gaussian::fit` documents, entry by entry.
fn shrunk_covariance(rows: &[Vec<f64>], shrinkage: f64) -> Vec<Vec<f64>> {
    let mean = sample_mean(rows);
    let entry = |i: usize, j: usize| {
        let products = rows
            .iter()
            .map(|row| (row[i] - mean[i]) * (row[j] - mean[j]));
        let sample = products.sum::<f64>() / (rows.len() - 1) as f64;
        match i == j {
            true => sample + 1.0 / 12.0,
            false => sample * (1.0 - shrinkage),
        }
    };
    (0..mean.len())
        .map(|i| (0..mean.len()).map(|j| entry(i, j)).collect())
        .collect()
}

/// Inverse and log determinant by Gauss-Jordan elimination.
fn inverse(matrix: &[Vec<f64>]) -> (Vec<Vec<f64>>, f64) {
    let size = matrix.len();
    let mut rows = matrix.to_vec();
    for (i, row) in rows.iter_mut().enumerate() {
        row.extend((0..size).map(|j| f64::from(u8::from(i == j))));
    }
    let mut log_determinant = 0.0;
    for i in 0..size {
        let pivot = rows[i][i];
        log_determinant += pivot.ln();
        rows[i].iter_mut().for_each(|entry| *entry /= pivot);
        let source = rows[i].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(k, _)| *k != i) {
            let factor = row[i];
            row.iter_mut()
                .zip(&source)
                .for_each(|(entry, from)| *entry -= factor * from);
        }
    }
    let inverse = rows.iter().map(|row| row[size..].to_vec()).collect();
    (inverse, log_determinant)
}

/// Expected nats of the first `count` values of `row` under the marginal
/// Gaussian of those values, with an explicit inverse and determinant.
fn direct_nats(row: &[f64], mean: &[f64], covariance: &[Vec<f64>], count: usize) -> f64 {
    let block: Vec<Vec<f64>> = covariance[..count]
        .iter()
        .map(|r| r[..count].to_vec())
        .collect();
    let (precision, log_determinant) = inverse(&block);
    let mut quadratic = 0.0;
    for i in 0..count {
        for j in 0..count {
            quadratic += (row[i] - mean[i]) * precision[i][j] * (row[j] - mean[j]);
        }
        quadratic += precision[i][i] / 12.0;
    }
    0.5 * (count as f64 * LOG_TWO_PI + log_determinant + quadratic)
}

fn rows_of(nats: &Tensor) -> Vec<Vec<f64>> {
    nats.to_vec2().unwrap()
}

fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let allowed = tolerance * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= allowed,
        "{found} is not {expected}"
    );
}

#[test]
fn nats_equal_the_explicit_formula_for_the_joint_and_for_every_channel() {
    let shape = [3, 2, 3];
    let (train, valid) = (images(60, shape, 1), images(20, shape, 2));
    let gaussian = Gaussian::fit(&train, &valid).unwrap();
    let rows = raster(&train);
    let mean = sample_mean(&rows);
    let covariance = shrunk_covariance(&rows, gaussian.shrinkage().unwrap());
    let nats = rows_of(&gaussian.nats(&valid).unwrap());
    assert_eq!((nats.len(), nats[0].len()), (20, 3));
    for (row, found) in raster(&valid).iter().zip(&nats) {
        let joint = direct_nats(row, &mean, &covariance, 18);
        assert_close(found.iter().sum(), joint, 1e-10);
        let mut channels = [0.0; 3];
        let mut before = 0.0;
        for count in 1..=18 {
            let up_to = direct_nats(row, &mean, &covariance, count);
            channels[(count - 1) % 3] += up_to - before;
            before = up_to;
        }
        for (&found, expected) in found.iter().zip(channels) {
            assert_close(found, expected, 1e-9);
        }
    }
}

#[test]
fn mean_is_of_the_centres_in_raster_order_and_whitening_inverts_the_covariance() {
    let train = images(50, [2, 1, 2], 3);
    let gaussian = Gaussian::fit(&train, &train).unwrap();
    let rows = raster(&train);
    let mean: Vec<f64> = gaussian.mean().to_vec1().unwrap();
    for (found, expected) in mean.iter().zip(sample_mean(&rows)) {
        assert_close(*found, expected + 0.5, 1e-13);
    }
    let covariance = shrunk_covariance(&rows, gaussian.shrinkage().unwrap());
    let covariance = Tensor::new(covariance, &Device::Cpu).unwrap();
    let whitening = gaussian.whitening();
    let product = whitening.matmul(&covariance).unwrap();
    let product = product.matmul(&whitening.t().unwrap()).unwrap();
    for (i, row) in rows_of(&product).iter().enumerate() {
        for (j, &found) in row.iter().enumerate() {
            assert_close(found, f64::from(u8::from(i == j)), 1e-11);
        }
    }
}

#[test]
fn the_shrinkage_is_the_best_of_the_documented_list() {
    let shape = [1, 3, 3];
    // With few images for nine values, neither end of the list is best.
    let (train, valid) = (images(12, shape, 4), images(200, shape, 5));
    let gaussian = Gaussian::fit(&train, &valid).unwrap();
    let documented: Vec<f64> = (0..13)
        .map(|k| 10f64.powf(-4.0 + f64::from(k) / 3.0))
        .collect();
    for (candidate, expected) in fit::candidates().zip(&documented) {
        assert_close(candidate, *expected, 1e-14);
    }
    assert_eq!(fit::candidates().count(), 13);
    assert_eq!(fit::candidates().last(), Some(1.0));
    let rows = raster(&train);
    let mean = sample_mean(&rows);
    let nats_at = |shrinkage: f64| {
        let covariance = shrunk_covariance(&rows, shrinkage);
        let valid = raster(&valid);
        valid
            .iter()
            .map(|row| direct_nats(row, &mean, &covariance, 9))
            .sum::<f64>()
    };
    let nats: Vec<f64> = documented.iter().map(|&s| nats_at(s)).collect();
    let best = (0..13)
        .min_by(|&a, &b| nats[a].total_cmp(&nats[b]))
        .unwrap();
    assert!(0 < best && best < 12, "{nats:?}");
    assert_close(gaussian.shrinkage().unwrap(), documented[best], 1e-14);
}

#[test]
fn full_shrinkage_gives_independent_gaussians() {
    // In training the two values are equal; in validation they are opposite, so
    // that every correlation costs and full shrinkage is best.
    let train: Vec<u8> = (0..40u8).flat_map(|k| [80 + 2 * k, 80 + 2 * k]).collect();
    let valid: Vec<u8> = (0..40u8).flat_map(|k| [80 + 2 * k, 160 - 2 * k]).collect();
    let train = Tensor::from_vec(train, (40, 2, 1, 1), &Device::Cpu).unwrap();
    let valid = Tensor::from_vec(valid, (40, 2, 1, 1), &Device::Cpu).unwrap();
    let gaussian = Gaussian::fit(&train, &valid).unwrap();
    assert_eq!(gaussian.shrinkage(), Some(1.0));
    let rows = raster(&train);
    let mean = sample_mean(&rows);
    let covariance = shrunk_covariance(&rows, 1.0);
    let nats = rows_of(&gaussian.nats(&valid).unwrap());
    for (row, found) in raster(&valid).iter().zip(nats) {
        for channel in 0..2 {
            let variance = covariance[channel][channel];
            let square = (row[channel] - mean[channel]).powi(2) + 1.0 / 12.0;
            let expected = 0.5 * (LOG_TWO_PI + variance.ln() + square / variance);
            assert_close(found[channel], expected, 1e-12);
        }
    }
}

#[test]
fn a_large_sample_gives_back_its_covariance() {
    let factor = [[30.0, 0.0, 0.0], [-12.0, 20.0, 0.0], [9.0, 14.0, 6.0]];
    let mut uniform = Uniform(6);
    let mut draw = |count: usize| {
        let mut values = Vec::new();
        for _ in 0..count {
            let noise = [uniform.normal(), uniform.normal(), uniform.normal()];
            values.extend(factor.iter().map(|row| {
                let sum: f64 = row.iter().zip(noise).map(|(l, e)| l * e).sum();
                (1000.0 + sum).round() as u32
            }));
        }
        Tensor::from_vec(values, (count, 1, 1, 3), &Device::Cpu).unwrap()
    };
    let gaussian = Gaussian::fit(&draw(40_000), &draw(2_000)).unwrap();
    let (precision, _) = inverse(&rows_of(
        &(gaussian.whitening().t().unwrap())
            .matmul(gaussian.whitening())
            .unwrap(),
    ));
    for (i, row) in precision.iter().enumerate() {
        for (j, &found) in row.iter().enumerate() {
            let exact: f64 = (0..3).map(|k| factor[i][k] * factor[j][k]).sum();
            // The tolerance is 3 % of the standard deviations; rounding and noise add less,
            // 1/12 each to the diagonal.
            let scale = |k: usize| factor[k].iter().map(|l| l * l).sum::<f64>().sqrt();
            let error = (found - exact).abs();
            assert!(
                error < 0.03 * scale(i) * scale(j),
                "{i} {j}: {found} is not {exact}"
            );
        }
    }
}

#[test]
fn constant_values_and_fewer_images_than_dimensions_give_finite_nats() {
    let constant = Tensor::full(7u8, (2, 1, 4, 4), &Device::Cpu).unwrap();
    let gaussian = Gaussian::fit(&constant, &constant).unwrap();
    let nats = rows_of(&gaussian.nats(&constant).unwrap());
    // Variance 1/12 everywhere: the exact Gaussian of only the noise.
    let expected = 16.0 * 0.5 * (LOG_TWO_PI - 12f64.ln() + 1.0);
    nats.iter()
        .for_each(|image| assert_close(image[0], expected, 1e-12));

    // Extremes: copies of one value over the whole range of a token, five images.
    let values: Vec<u32> = [0, 65_535, 3, 40_000, 9]
        .into_iter()
        .flat_map(|v| [v; 300])
        .collect();
    let copies = Tensor::from_vec(values, (5, 3, 10, 10), &Device::Cpu).unwrap();
    let gaussian = Gaussian::fit(&copies, &copies).unwrap();
    let nats = rows_of(&gaussian.nats(&copies).unwrap());
    assert!(nats.iter().flatten().all(|entry| entry.is_finite()));
}

#[test]
fn the_expectation_over_the_noise_is_the_mean_of_draws() {
    let train = images(8, [1, 1, 3], 7);
    let gaussian = Gaussian::fit(&train, &train).unwrap();
    let whitening = rows_of(gaussian.whitening());
    let mean: Vec<f64> = gaussian.mean().to_vec1().unwrap();
    // The density is ten times narrower, so that the noise matters.
    let narrow = (gaussian.whitening() * 10.0).unwrap();
    let gaussian = Gaussian::from_tensors(1, 1, 3, gaussian.mean().clone(), narrow).unwrap();
    let image: Vec<u8> = mean.iter().map(|m| m.round() as u8 + 1).collect();
    let values = Tensor::new(image.as_slice(), &Device::Cpu).unwrap();
    let values = values.reshape((1, 1, 1, 3)).unwrap();
    let found = rows_of(&gaussian.nats(&values).unwrap())[0][0];
    let (mut uniform, mut total, mut densities) = (Uniform(8), 0.0, 0.0);
    let draws = 400_000;
    for _ in 0..draws {
        let point: Vec<f64> = image
            .iter()
            .map(|&v| f64::from(v) + uniform.next())
            .collect();
        let mut nats = 1.5 * LOG_TWO_PI;
        for (i, row) in whitening.iter().enumerate() {
            let z: f64 = (0..3).map(|j| 10.0 * row[j] * (point[j] - mean[j])).sum();
            nats += 0.5 * z * z - (10.0 * row[i]).ln();
        }
        total += nats;
        densities += (-nats).exp();
    }
    assert_close(found, total / f64::from(draws), 2e-3);
    // The difference to Jensen's bound is larger than the error of the draws.
    let discrete = -(densities / f64::from(draws)).ln();
    assert!(found > discrete + 0.01, "{found} does not bound {discrete}");
    // The test would detect missing noise.
    let without: f64 = found
        - whitening
            .iter()
            .flatten()
            .map(|l| 100.0 * l * l / 24.0)
            .sum::<f64>();
    assert!(
        (without - found).abs() > 0.02,
        "the noise does not matter here"
    );
}

#[test]
fn chunks_of_images_change_nothing_but_the_memory() {
    let count = super::IMAGES_PER_CHUNK + 3;
    let train = images(count, [1, 2, 1], 9);
    let gaussian = Gaussian::fit(&train, &images(9, [1, 2, 1], 10)).unwrap();
    let rows = raster(&train);
    let mean = sample_mean(&rows);
    let covariance = shrunk_covariance(&rows, gaussian.shrinkage().unwrap());
    let nats = rows_of(&gaussian.nats(&train).unwrap());
    assert_eq!(nats.len(), count);
    for (row, found) in rows.iter().zip(nats) {
        assert_close(found[0], direct_nats(row, &mean, &covariance, 2), 1e-10);
    }
}

#[test]
fn tensors_make_the_same_gaussian_again() {
    let (train, valid) = (images(30, [2, 2, 2], 11), images(10, [2, 2, 2], 12));
    let fitted = Gaussian::fit(&train, &valid).unwrap();
    let again = Gaussian::fit(&train, &valid).unwrap();
    assert_eq!(rows_of(fitted.whitening()), rows_of(again.whitening()));
    let (mean, whitening) = (fitted.mean().clone(), fitted.whitening().clone());
    let loaded = Gaussian::from_tensors(2, 2, 2, mean, whitening).unwrap();
    assert_eq!(loaded.shrinkage(), None);
    let nats = rows_of(&fitted.nats(&valid).unwrap());
    assert_eq!(rows_of(&loaded.nats(&valid).unwrap()), nats);
    let wide = valid.to_dtype(DType::U32).unwrap();
    assert_eq!(rows_of(&loaded.nats(&wide).unwrap()), nats);
}

fn message(result: Result<impl std::fmt::Debug, ModelError>, kind: &str) -> String {
    let error = result.unwrap_err();
    assert!(
        format!("{error:?}").starts_with(kind),
        "{error:?} is not {kind}"
    );
    format!("{error:?}")
}

#[test]
fn wrong_images_are_refused() {
    let (one, two) = (images(1, [3, 2, 2], 13), images(2, [3, 2, 2], 14));
    let turned = images(2, [2, 3, 2], 15);
    let flat = two.flatten_from(1).unwrap();
    let floats = two.to_dtype(DType::F32).unwrap();
    let none = two.narrow(0, 0, 0).unwrap();
    let few = message(Gaussian::fit(&one, &two), "Shape");
    assert!(
        few.contains("[n >= 2, c, h, w]") && few.contains("[1, 3, 2, 2]"),
        "{few}"
    );
    message(Gaussian::fit(&flat, &two), "Shape");
    message(Gaussian::fit(&floats, &two), "Invalid");
    message(Gaussian::fit(&two, &floats), "Invalid");
    message(Gaussian::fit(&two, &none), "Shape");
    let other = message(Gaussian::fit(&two, &turned), "Shape");
    assert!(other.contains("validation images"), "{other}");
    assert!(
        other.contains("[n >= 1, 3, 2, 2]") && other.contains("[2, 2, 3, 2]"),
        "{other}"
    );
    let empty = Tensor::zeros((2, 3, 0, 2), DType::U8, &Device::Cpu).unwrap();
    message(Gaussian::fit(&empty, &empty), "Invalid");
    let gaussian = Gaussian::fit(&two, &one).unwrap();
    message(gaussian.nats(&turned), "Shape");
    message(gaussian.nats(&flat), "Shape");
    message(gaussian.nats(&none), "Shape");
    message(gaussian.nats(&floats), "Invalid");
}

#[test]
fn wrong_tensors_are_refused() {
    let from = |mean: &[f64], whitening: [f64; 4]| {
        let mean = Tensor::new(mean, &Device::Cpu).unwrap();
        let whitening = Tensor::new(&whitening, &Device::Cpu).unwrap();
        Gaussian::from_tensors(1, 1, 2, mean, whitening.reshape((2, 2)).unwrap())
    };
    from(&[1.0, 2.0], [1.0, 0.0, -3.0, 2.0]).unwrap();
    message(from(&[1.0], [1.0, 0.0, -3.0, 2.0]), "Shape");
    let mean = message(from(&[1.0, f64::NAN], [1.0, 0.0, -3.0, 2.0]), "Invalid");
    assert!(mean.contains("entry 1"), "{mean}");
    for (whitening, place, rule) in [
        ([1.0, 0.1, -3.0, 2.0], "row 0, column 1", "zero"),
        ([1.0, 0.0, -3.0, 0.0], "row 1, column 1", "positive"),
        ([-1.0, 0.0, -3.0, 2.0], "row 0, column 0", "positive"),
        ([1.0, 0.0, f64::INFINITY, 2.0], "row 1, column 0", "finite"),
    ] {
        let found = message(from(&[1.0, 2.0], whitening), "Invalid");
        assert!(found.contains(place) && found.contains(rule), "{found}");
    }
    let mean = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let square = Tensor::eye(2, DType::F32, &Device::Cpu).unwrap();
    let cast = Gaussian::from_tensors(1, 1, 2, mean.clone(), square.clone()).unwrap();
    assert_eq!(
        (cast.mean().dtype(), cast.whitening().dtype()),
        (DType::F64, DType::F64)
    );
    let (m, s) = (mean.clone(), square.clone());
    message(Gaussian::from_tensors(1, 2, 2, m, s), "Shape");
    let (m, s) = (mean.clone(), square.flatten_all().unwrap());
    message(Gaussian::from_tensors(1, 1, 2, m, s), "Shape");
    let (m, s) = (mean.clone(), square.clone());
    message(Gaussian::from_tensors(0, 1, 2, m, s), "Invalid");
    message(
        Gaussian::from_tensors(usize::MAX, 2, 2, mean, square),
        "Invalid",
    );
}
