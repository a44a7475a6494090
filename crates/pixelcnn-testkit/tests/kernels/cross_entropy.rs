//! Softmax cross-entropy.

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_kernels::{cross_entropy, portable};
use pixelcnn_testkit::{values, wave};

use crate::host::{Launch, as_floats, can_run, close, floats, from_bf16, to_bf16};

fn bytes(values: &Tensor) -> Vec<u8> {
    let values = values.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn nats_and_gradients_are_the_portable_ones() {
    if !can_run() {
        return;
    }
    for (groups, levels, area) in [(1, 2, 1), (3, 5, 33), (2, 256, 20)] {
        // Logits that a sum of exponentials in f32 does not hold.
        let logits = (wave(&[1, groups, levels, 1, area], 0.3).unwrap() * 120.0).unwrap();
        let logits = Var::from_tensor(&logits.to_dtype(DType::F32).unwrap()).unwrap();
        let values = values(&[1, groups, 1, area], levels).unwrap();
        let incoming = wave(&[1, groups, 1, area], 0.9).unwrap();
        let incoming = incoming.to_dtype(DType::F32).unwrap();
        let nats = portable(|| cross_entropy(&logits, &values)).unwrap();
        let loss = (&nats * &incoming).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let gradient = gradients.get(&logits).unwrap();

        let count = groups * area;
        let launch = |name: &str| {
            let sizes = [count, levels, area];
            let start = Launch::new(name, 2, 16);
            sizes
                .iter()
                .fold(start, |launch, size| launch.number(*size as f64))
        };
        let found = launch("cross_entropy_f32")
            .tensor(&logits)
            .buffer(&bytes(&values));
        let found = found.floats(&vec![f32::NAN; count]).run();
        close("nats", &as_floats(&found[2]), &floats(&nats), 1e-6);
        let found = launch("cross_entropy_gradient_f32").tensor(&logits);
        let found = found
            .buffer(&bytes(&values))
            .tensor(&nats)
            .tensor(&incoming);
        let found = found.floats(&vec![f32::NAN; count * levels]).run();
        close("gradient", &as_floats(&found[4]), &floats(gradient), 2e-5);

        // The same from logits in bf16, whose results are those of the rounded logits.
        let logits = to_bf16(&floats(&logits));
        let rounded = from_bf16(&logits);
        let rounded = Tensor::from_vec(rounded, (1, groups, levels, 1, area), &Device::Cpu);
        let nats = portable(|| cross_entropy(&rounded.unwrap(), &values)).unwrap();
        let found = launch("cross_entropy_bf16")
            .buffer(&logits)
            .buffer(&bytes(&values));
        let found = found.floats(&vec![f32::NAN; count]).run();
        close("nats, bf16", &as_floats(&found[2]), &floats(&nats), 1e-6);
    }
}

#[test]
fn a_value_beyond_the_levels_has_no_likelihood_and_the_others_keep_theirs() {
    if !can_run() {
        return;
    }
    let logits = [0.5f32, 0.25, -1.0, 2.0]; // two levels of two positions
    let values: Vec<u8> = [2u32, 1]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let launch = Launch::new("cross_entropy_f32", 1, 2);
    let launch = launch.number(2.0).number(2.0).number(2.0);
    let found = launch
        .floats(&logits)
        .buffer(&values)
        .floats(&[0.0; 2])
        .run();
    let nats = as_floats(&found[2]);
    assert!(nats[0].is_nan());
    let expected = (0.25f32.exp() + 2f32.exp()).ln() - 2.0;
    assert!((nats[1] - expected).abs() < 1e-6, "{nats:?} {expected}");
}

#[test]
fn large_logits_and_those_of_minus_infinity_keep_their_nats_and_gradients() {
    if !can_run() {
        return;
    }
    let logits = [f32::NEG_INFINITY, 1e4, 1e4 - 1.0];
    let launch = |name: &str| {
        let launch = Launch::new(name, 1, 1).number(1.0).number(3.0).number(1.0);
        launch.floats(&logits).buffer(&2u32.to_le_bytes())
    };
    let found = launch("cross_entropy_f32").floats(&[0.0]).run();
    let nats = as_floats(&found[2])[0];
    let expected = (1.0 + 1f64.exp()).ln();
    assert!((f64::from(nats) - expected).abs() < 1e-6, "{nats}");
    let found = launch("cross_entropy_gradient_f32").floats(&[nats]);
    let found = found.floats(&[1.0]).floats(&[f32::NAN; 3]).run();
    let gradient = as_floats(&found[4]);
    let second = 1f64.exp() / (1.0 + 1f64.exp());
    for (found, expected) in gradient.iter().zip([0.0, second, -second]) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{gradient:?}");
    }
}
