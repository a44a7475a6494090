//! Models use their conditions, on data with a known distribution.

use candle_core::{Device, Tensor};
use pixelcnn_data::{Images, Split};
use pixelcnn_models::{Likelihood, Model};
use pixelcnn_train::{RunConfig, evaluate};

use crate::synthetic::{Case, Laboratory, NOISE, conditional, finish, variational};

/// The likelihoods of the test images, with their own conditions and with those of other
/// images, after `steps` steps of training.
fn trained(case: &Case, steps: usize) -> (Laboratory, [Likelihood; 2]) {
    let laboratory = Laboratory::new(case.squares, NOISE);
    let config = laboratory.config(case, steps);
    let folder = tempfile::tempdir().unwrap();
    finish(&config, &laboratory.dataset, folder.path());
    let model = Model::load(folder.path().join("best"), &Device::Cpu).unwrap();
    let likelihoods = likelihoods(&config, &laboratory, &model);
    (laboratory, likelihoods)
}

fn likelihoods(config: &RunConfig, laboratory: &Laboratory, model: &Model) -> [Likelihood; 2] {
    let right = config
        .conditioned(&laboratory.dataset, Split::Test)
        .unwrap();
    let shuffled = right.clone().shuffled(1);
    [right, shuffled].map(|conditioned| {
        evaluate(model.density().unwrap(), &conditioned, 32, &mut |_| ())
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The best possible likelihood: nats of each image with its bit known or unknown, by the
/// distribution of the data.
fn truth(images: &Images, known: bool) -> Likelihood {
    let of = |(image, label): (usize, &u32)| {
        let values = images.read(image..image + 1).unwrap();
        let values = values.as_bytes().unwrap();
        let bright = values.iter().filter(|value| **value > 128).count() as f64;
        let nats = |bright: f64| {
            let dark = values.len() as f64 - bright;
            -bright * (1.0 - NOISE).ln() - dark * NOISE.ln()
        };
        let [if_dark, if_bright] = [nats(values.len() as f64 - bright), nats(bright)];
        match (known, label) {
            (true, 0) => if_dark,
            (true, _) => if_bright,
            (false, _) => -(((-if_dark).exp() + (-if_bright).exp()) / 2.0).ln(),
        }
    };
    let nats = images.labels().iter().enumerate().map(of);
    // The split among the channels does not matter here.
    let nats: Vec<f64> = nats.flat_map(|nats| [nats, 0.0, 0.0]).collect();
    let nats = Tensor::from_vec(nats, (images.len(), 3), &Device::Cpu).unwrap();
    let (_, height, width) = images.shape();
    let mut likelihood = Likelihood::new();
    likelihood.add_nats(&nats, (height, width)).unwrap();
    likelihood
}

/// The difference in bits/dim of the second from the first, with its standard error.
fn difference(first: &Likelihood, second: &Likelihood) -> (f64, f64) {
    let (difference, std_err) = first.difference(second).unwrap();
    (difference, std_err.unwrap())
}

/// The entropy with the bit known, in bits per value.
fn entropy() -> f64 {
    -NOISE * NOISE.log2() - (1.0 - NOISE) * (1.0 - NOISE).log2()
}

#[test]
fn every_model_is_better_with_the_right_condition() {
    for case in conditional() {
        let (_, [right, shuffled]) = trained(&case, 150);
        let (difference, std_err) = difference(&right, &shuffled);
        let bits = right.bits_per_dim();
        assert!(
            difference > 3.0 * std_err && difference > 0.02,
            "{}: {difference} ± {std_err}",
            case.name
        );
        assert!(bits < 1.5, "{}: {bits}", case.name);
    }
}

#[test]
fn a_class_conditional_model_reaches_the_entropy() {
    let case = &conditional()[0];
    let (laboratory, [right, _]) = trained(case, 300);
    let truth = truth(laboratory.dataset.images(Split::Test).unwrap(), true);
    assert!((truth.bits_per_dim() - entropy()).abs() < 3.0 * truth.std_err().unwrap());
    let (excess, std_err) = difference(&truth, &right);
    assert!(excess > -3.0 * std_err, "{excess} ± {std_err}");
    assert!(excess < 0.06, "{excess} bits/dim above the entropy");
}

#[test]
fn the_bound_of_a_variational_code_is_a_bound() {
    let (laboratory, [right, _]) = trained(&variational("1.0"), 300);
    let divergence = right.divergence_bits_per_dim().unwrap();
    // The bit of an image costs one bit, so the entropy with the bit unknown is the limit.
    let truth = truth(laboratory.dataset.images(Split::Test).unwrap(), false);
    let (excess, std_err) = difference(&truth, &right);
    assert!(divergence > 0.3 / 48.0, "{divergence}");
    assert!(excess > -3.0 * std_err, "{excess} ± {std_err}");
    assert!(excess < 0.15, "{excess} bits/dim above the entropy");
}

#[test]
fn a_code_that_costs_too_much_is_not_used() {
    let (_, [right, shuffled]) = trained(&variational("1e4"), 150);
    let divergence = right.divergence_bits_per_dim().unwrap();
    let (difference, std_err) = difference(&right, &shuffled);
    assert!((0.0..1e-4).contains(&divergence), "{divergence}");
    assert!(difference.abs() < 0.01, "{difference} ± {std_err}");
}
