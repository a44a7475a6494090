//! Properties that hold for all parameters.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;

use super::super::LogisticMixture;
use super::{Case, mixtures};
use crate::{Level, portable};

const ONE: LogisticMixture = LogisticMixture {
    components: 1,
    levels: 256,
    channels: 1,
    coupled: false,
};

/// Nats and gradient of one value under one component.
fn single(levels: usize, value: u32, mean: f32, log_scale: f32) -> (f64, Vec<f64>) {
    let case = Case {
        mixture: LogisticMixture { levels, ..ONE },
        parameters: vec![0.0, mean, log_scale],
        values: vec![value],
    };
    let [nats, gradient] = case.pass(DType::F32);
    (nats[0], gradient)
}

/// Runs a test in both paths.
fn both(test: impl Fn()) {
    test();
    portable(test);
}

/// The probabilities of the last channel, for several values of the earlier channels.
#[test]
fn probabilities_of_all_values_add_up_to_1() {
    for mixture in mixtures() {
        let some = Case::new(mixture, 4, 2.0);
        let (planes, channels) = (mixture.parameters(), mixture.channels);
        let pixels = some.parameters.chunks(planes);
        for (parameters, values) in pixels.zip(some.values.chunks(channels)) {
            let all = (0..mixture.levels as u32).flat_map(|value| {
                let earlier = &values[..channels - 1];
                earlier.iter().copied().chain([value]).collect::<Vec<_>>()
            });
            let case = Case {
                mixture,
                parameters: parameters.repeat(mixture.levels),
                values: all.collect(),
            };
            let nats = nats(&case);
            let last = nats.iter().skip(channels - 1).step_by(channels);
            let total: f64 = last.map(|nats| (-nats).exp()).sum();
            assert!((total - 1.0).abs() < 1e-6, "{mixture:?}: {total}");
        }
    }
}

fn nats(case: &Case) -> Vec<f64> {
    let (planes, channels) = (case.mixture.parameters(), case.mixture.channels);
    let pixels = case.values.len() / channels;
    let parameters = Tensor::from_slice(&case.parameters, (1, pixels, planes), &Device::Cpu);
    let values = Tensor::from_slice(&case.values, (1, pixels, channels), &Device::Cpu);
    let image = |tensor: Tensor| tensor.transpose(1, 2).unwrap().unsqueeze(2).unwrap();
    let nats = case
        .mixture
        .nats(&image(parameters.unwrap()), &image(values.unwrap()));
    let nats = nats.unwrap().squeeze(2).unwrap().transpose(1, 2).unwrap();
    let nats = nats.to_dtype(DType::F64).unwrap();
    nats.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_mean_that_is_far_away_moves() {
    both(|| {
        for levels in [2, 256, 65_536] {
            for mean in [5.0, 1e3, 1e4] {
                for (value, mean) in [(0, mean), (levels as u32 - 1, -mean)] {
                    for log_scale in [-20.0, 0.0] {
                        let (nats, gradient) = single(levels, value, mean, log_scale);
                        assert!(nats > 1.0 && nats.is_finite(), "{levels} {mean}: {nats}");
                        let slope = gradient[1] * f64::from(mean.signum());
                        assert!(slope > 0.1, "{levels} {mean} {log_scale}: {gradient:?}");
                        // A larger scale reduces the nats, also from below the least scale.
                        // scale.
                        assert!(gradient[2] < -1.0, "{levels} {mean}: {gradient:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn below_the_least_scale_the_gradient_passes_outside_the_bin() {
    both(|| {
        let mean = |level: f32| level / 127.5 - 1.0;
        for (value, level, outside) in [
            (100, 100.2, false),
            (100, 100.6, true),
            (100, 99.4, true),
            (0, -0.5, false),
            (0, 0.4, false),
            (0, 0.6, true),
            (255, 255.5, false),
            (255, 254.6, false),
            (255, 254.4, true),
        ] {
            let (at, there) = single(256, value, mean(level), -7.0);
            let (below, here) = single(256, value, mean(level), -9.0);
            assert_eq!((at, there[1]), (below, here[1]), "{value} {level}");
            assert!(there[2] != 0.0, "{value} {level}");
            let expected = if outside { there[2] } else { 0.0 };
            assert_eq!(here[2], expected, "{value} {level}");
            assert!(here[2] <= 0.0, "{value} {level}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nothing_is_infinite_or_no_number(
        which in 0..mixtures().len(),
        size in prop::sample::select(vec![1e4f32, 100.0, 12.0]),
        seed in any::<u64>(),
    ) {
        let mixture = mixtures()[which];
        let mut case = Case::new(mixture, 70, 1.0);
        let mut next = super::noise(seed);
        case.parameters.fill_with(|| size * (2.0 * next() - 1.0));
        let pass = || case.pass(DType::F32);
        let mut all = vec![portable(pass)];
        all.extend(Level::available().iter().map(|level| level.scope(pass)));
        for numbers in &all {
            let finite = numbers.iter().flatten().all(|number| number.is_finite());
            prop_assert!(finite, "{mixture:?}");
        }
    }
}

#[test]
fn nan_stays_nan() {
    both(|| {
        let mixture = LogisticMixture {
            components: 2,
            ..ONE
        };
        for index in 0..mixture.parameters() {
            let mut case = Case::new(mixture, 1, 1.0);
            case.parameters[index] = f32::NAN;
            assert!(nats(&case)[0].is_nan(), "parameter {index}");
        }
    });
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for mixture in mixtures() {
        let case = Case::new(mixture, 70, 1e3);
        let batch = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| batch(&case))
        };
        let one = batch(1);
        assert!((2..=4).all(|threads| batch(threads) == one), "{mixture:?}");
    }
}

/// Nats and gradient of seven images of ten pixels.
fn batch(case: &Case) -> [Vec<f32>; 2] {
    let (planes, channels) = (case.mixture.parameters(), case.mixture.channels);
    let parameters = Tensor::from_slice(&case.parameters, (7, planes, 2, 5), &Device::Cpu);
    let parameters = candle_core::Var::from_tensor(&parameters.unwrap()).unwrap();
    let values = Tensor::from_slice(&case.values, (7, channels, 2, 5), &Device::Cpu);
    let nats = case.mixture.nats(&parameters, &values.unwrap()).unwrap();
    let gradients = nats.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = gradients.get(&parameters).unwrap().clone();
    [nats, gradient].map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap())
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let parameters = zeros(&[1, 3, 1, 1], DType::F32);
    let value = |value: u32| Tensor::full(value, (1, 1, 1, 1), &Device::Cpu).unwrap();
    let message = |mixture: LogisticMixture, parameters: &Tensor, values: &Tensor| {
        mixture.nats(parameters, values).unwrap_err().to_string()
    };
    let of = |mixture| message(mixture, &parameters, &value(0));
    for (mixture, expected) in [
        (
            LogisticMixture {
                components: 0,
                ..ONE
            },
            "1 to 64 components expected, found 0",
        ),
        (
            LogisticMixture {
                components: 65,
                ..ONE
            },
            "1 to 64 components expected, found 65",
        ),
        (
            LogisticMixture { levels: 1, ..ONE },
            "2 to 65536 levels expected, found 1",
        ),
        (
            LogisticMixture { channels: 0, ..ONE },
            "channels expected, found 0",
        ),
        (
            LogisticMixture {
                components: 2,
                ..ONE
            },
            "parameters [b, 6, h, w] expected",
        ),
    ] {
        let found = of(mixture);
        assert!(found.contains(expected), "{found}");
    }
    let found = message(ONE, &parameters, &value(256));
    assert!(
        found.contains("values below 256 expected, found 256"),
        "{found}"
    );
    let found = message(ONE, &parameters, &zeros(&[1, 1, 1, 1], DType::F32));
    assert!(found.contains("u8 or u32 expected, found f32"), "{found}");
    let found = message(ONE, &parameters, &zeros(&[1, 1, 1, 2], DType::U8));
    assert!(found.contains("values [1, 1, 1, 1] expected"), "{found}");
    let found = message(
        ONE,
        &zeros(&[0, 3, 1, 1], DType::F32),
        &zeros(&[0, 1, 1, 1], DType::U8),
    );
    assert!(found.contains("a size is zero"), "{found}");
}
