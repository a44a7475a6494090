//! The distribution is compared with the definition and with the loss.

use candle_core::DType;

use crate::exact::Frequencies;
use crate::mixture::tests::{Case, mixtures, noise, reference};
use crate::{Level, LogisticMixture};

/// A channel of a pixel.
struct Channel<'a> {
    parameters: &'a [f32],
    earlier: &'a [u32],
    value: usize,
    /// The index among all channels of all pixels.
    index: usize,
}

/// Every channel of some pixels.
fn channels(case: &Case) -> Vec<Channel<'_>> {
    let mixture = &case.mixture;
    let pixels = case.parameters.chunks(mixture.parameters());
    let pixels = pixels.zip(case.values.chunks(mixture.channels)).enumerate();
    let mut channels = Vec::new();
    for (pixel, (parameters, values)) in pixels {
        let own = parameters.chunks(3 * mixture.components);
        for (channel, own) in (0..mixture.channels).zip(own.chain(std::iter::repeat(&[][..]))) {
            channels.push(Channel {
                parameters: match mixture.coupled {
                    false => own,
                    true => parameters,
                },
                earlier: &values[..channel],
                value: values[channel] as usize,
                index: pixel * mixture.channels + channel,
            });
        }
    }
    channels
}

impl Channel<'_> {
    fn frequencies(&self, mixture: &LogisticMixture) -> Frequencies {
        let mut frequencies = Frequencies::default();
        let set = frequencies.set_mixture(mixture, self.parameters, self.earlier);
        set.unwrap();
        frequencies
    }

    /// Probabilities of all values by the definition.
    fn exact(&self, mixture: &LogisticMixture) -> Vec<f64> {
        let parameters: Vec<f64> = self.parameters.iter().copied().map(f64::from).collect();
        let all = 0..mixture.levels as u32;
        let probabilities = all.map(|value| {
            let (mixture, mut values) = match mixture.coupled {
                false => (
                    LogisticMixture {
                        channels: 1,
                        ..*mixture
                    },
                    vec![value],
                ),
                true => (*mixture, [self.earlier, &[value]].concat()),
            };
            values.resize(mixture.channels, 0);
            let nats = reference::nats(&mixture, &parameters, &values);
            let channel = if mixture.channels == 1 {
                0
            } else {
                self.earlier.len()
            };
            (-nats[channel]).exp()
        });
        probabilities.collect()
    }
}

#[test]
fn weights_are_the_probabilities() {
    for mixture in mixtures() {
        let case = Case::new(mixture, if mixture.levels > 256 { 1 } else { 6 }, 5.0);
        for channel in channels(&case) {
            let frequencies = channel.frequencies(&mixture);
            let weights = frequencies.weights();
            assert_eq!(weights.iter().max(), Some(&(1 << 31)));
            // Each weight is rounded down.
            let most = 1e-6 + mixture.levels as f64 / (1u64 << 31) as f64;
            for (weight, exact) in weights.iter().zip(channel.exact(&mixture)) {
                let share = f64::from(*weight) / frequencies.total() as f64;
                assert!((share - exact).abs() < most, "{mixture:?}: {share} {exact}");
            }
        }
    }
}

#[test]
fn bits_are_those_of_the_loss() {
    for mixture in mixtures() {
        let case = Case::new(mixture, 12, 100.0);
        let [nats, _] = case.pass(DType::F32);
        for channel in channels(&case) {
            let exact = nats[channel.index] / std::f64::consts::LN_2;
            let found = channel.frequencies(&mixture).bits(channel.value);
            let error = (found - exact).abs() / exact.max(1.0);
            assert!(error < 1e-4, "{mixture:?}: {found} {exact}");
        }
    }
}

#[test]
fn every_level_gives_the_same_weights() {
    for mixture in mixtures() {
        let case = Case::new(mixture, 2, 100.0);
        for channel in channels(&case) {
            let set = |level: &Level| level.scope(|| channel.frequencies(&mixture));
            let all: Vec<_> = Level::available().iter().map(set).collect();
            for pair in all.windows(2) {
                assert_eq!(pair[0].weights(), pair[1].weights());
                let bits = [0, 1].map(|index: usize| pair[index].bits(channel.value));
                assert_eq!(bits[0], bits[1]);
            }
        }
    }
}

/// A checksum that every machine must reproduce.
#[test]
fn weights_are_these_on_every_machine() {
    let mixture = LogisticMixture {
        components: 10,
        levels: 256,
        channels: 3,
        coupled: true,
    };
    // Made without functions of the system's library.
    let mut next = noise(7);
    let parameters: Vec<f32> = (0..mixture.parameters())
        .map(|_| 8.0 * next() - 5.0)
        .collect();
    let mut frequencies = Frequencies::default();
    let set = frequencies.set_mixture(&mixture, &parameters, &[3, 200]);
    set.unwrap();
    let mut print = 0xcbf2_9ce4_8422_2325u64;
    for weight in frequencies.weights() {
        print = (print ^ u64::from(*weight)).wrapping_mul(0x100_0000_01b3);
    }
    assert_eq!(print, 0x3955_a8c1_74b6_aa45, "{print:#x}");
}

#[test]
fn a_temperature_acts_on_the_logarithms() {
    let mixture = mixtures()[3 * 15 + 14];
    let case = Case::new(mixture, 1, 1.0);
    let [first, ..] = &channels(&case)[..] else {
        panic!("a channel expected");
    };
    let mut frequencies = first.frequencies(&mixture);
    frequencies.temper(0.7).unwrap();
    let exact = first.exact(&mixture).into_iter().map(|p| p.powf(1.0 / 0.7));
    let exact: Vec<f64> = exact.collect();
    let total: f64 = exact.iter().sum();
    for (weight, exact) in frequencies.weights().iter().zip(exact) {
        let share = f64::from(*weight) / frequencies.total() as f64;
        assert!((share - exact / total).abs() < 1e-6);
    }
    for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(frequencies.temper(wrong).is_err());
    }
}

#[test]
fn invalid_distributions_are_refused() {
    let mixture = LogisticMixture {
        components: 1,
        levels: 16,
        channels: 2,
        coupled: true,
    };
    let message = |mixture: LogisticMixture, parameters: &[f32], earlier: &[u32]| {
        let mut frequencies = Frequencies::default();
        let set = frequencies.set_mixture(&mixture, parameters, earlier);
        set.unwrap_err().to_string()
    };
    let found = message(mixture, &[0.0; 5], &[]);
    assert!(found.contains("6 parameters expected, found 5"), "{found}");
    let found = message(mixture, &[0.0; 6], &[16]);
    assert!(found.contains("below 16 expected, found 16"), "{found}");
    let found = message(mixture, &[0.0; 6], &[1, 2]);
    assert!(
        found.contains("at most 1 earlier values expected, found 2"),
        "{found}"
    );
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let found = message(mixture, &[0.0, 0.0, wrong, 0.0, 0.0, 0.0], &[]);
        assert!(
            found.contains("parameter 2: a finite number expected"),
            "{found}"
        );
    }
    let found = message(mixture, &[0.0, f32::MAX, 0.0, 0.0, 0.0, 0.0], &[]);
    assert!(found.contains("they define no distribution"), "{found}");
    let none = LogisticMixture {
        components: 0,
        ..mixture
    };
    assert!(message(none, &[], &[]).contains("components expected, found 0"));
}
