//! The mixture of logistics.

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_kernels::{LogisticMixture, portable};
use pixelcnn_testkit::{values, wave};

use crate::host::{Launch, as_floats, can_run, close, floats};

const SIZE: (usize, usize) = (3, 11);

/// `Mixture` of mixture.cu.
fn bytes(mixture: &LogisticMixture, channels: usize) -> Vec<u8> {
    let last = mixture.levels as u32 - 1;
    let whole = [mixture.components as u32, channels as u32, last];
    let mut bytes: Vec<u8> = whole.iter().flat_map(|it| it.to_le_bytes()).collect();
    for number in [0.5 * last as f32, mixture.least_log_scale() as f32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

/// Parameters whose scales are also below the least one, and whose means are near the values
/// and far from them.
fn parameters(mixture: &LogisticMixture, batch: usize) -> Var {
    let shape = [batch, mixture.parameters(), SIZE.0, SIZE.1];
    let wave = (wave(&shape, 0.3).unwrap() * 3.0).unwrap();
    let steep = (wave.cos().unwrap() * 8.0).unwrap();
    let even: Vec<u8> = (0..shape[1]).map(|plane| (plane % 2) as u8).collect();
    let even = Tensor::from_vec(even, (1, shape[1], 1, 1), &Device::Cpu).unwrap();
    let even = even.broadcast_as(&shape[..]).unwrap();
    let mixed = even.where_cond(&wave, &steep).unwrap();
    Var::from_tensor(&mixed.to_dtype(DType::F32).unwrap()).unwrap()
}

struct Case {
    mixture: LogisticMixture,
    parameters: Var,
    values: Tensor,
    incoming: Tensor,
}

impl Case {
    fn new(components: usize, levels: usize, channels: usize, coupled: bool) -> Self {
        let mixture = LogisticMixture {
            components,
            levels,
            channels,
            coupled,
        };
        let shape = [2, channels, SIZE.0, SIZE.1];
        Self {
            mixture,
            parameters: parameters(&mixture, 2),
            values: values(&shape, levels).unwrap(),
            incoming: wave(&shape, 0.8).unwrap().to_dtype(DType::F32).unwrap(),
        }
    }

    fn launch(&self, name: &str) -> Launch {
        let area = SIZE.0 * SIZE.1;
        let (groups, channels) = match self.mixture.coupled {
            true => (2, self.mixture.channels),
            false => (2 * self.mixture.channels, 1),
        };
        let values = self.values.flatten_all().unwrap().to_vec1::<u32>().unwrap();
        let values: Vec<u8> = values.iter().flat_map(|it| it.to_le_bytes()).collect();
        Launch::new(name, 2, 32)
            .number((groups * area) as f64)
            .number(area as f64)
            .bytes(&bytes(&self.mixture, channels))
            .tensor(&self.parameters)
            .buffer(&values)
    }
}

#[test]
fn nats_and_gradients_are_the_portable_ones() {
    if !can_run() {
        return;
    }
    for case in [
        Case::new(1, 2, 1, false),
        Case::new(5, 256, 3, false),
        Case::new(10, 256, 3, true),
        Case::new(2, 65_536, 2, true),
    ] {
        let what = format!("{:?}", case.mixture);
        let nats = portable(|| case.mixture.nats(&case.parameters, &case.values)).unwrap();
        let loss = (&nats * &case.incoming).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let gradient = floats(gradients.get(&case.parameters).unwrap());
        let nats = floats(&nats);
        let found = case
            .launch("mixture_f32")
            .floats(&vec![f32::NAN; nats.len()])
            .run();
        let found = as_floats(&found[2]);
        for (found, expected) in found.iter().zip(&nats) {
            let allowed = 2e-5 * expected.abs().max(1.0);
            assert!(
                (found - expected).abs() <= allowed,
                "{what}: {found} {expected}"
            );
        }
        let found = case.launch("mixture_gradient_f32").tensor(&case.incoming);
        let found = found.floats(&vec![f32::NAN; gradient.len()]).run();
        close(&what, &as_floats(&found[3]), &gradient, 2e-5);
    }
}

/// Its nats are NaN, and it has no gradient; the other values keep theirs.
#[test]
fn a_value_beyond_the_levels_has_no_likelihood() {
    if !can_run() {
        return;
    }
    let mut case = Case::new(2, 16, 1, false);
    let before = case.launch("mixture_f32").floats(&[0.0; 66]).run();
    let mut values = case.values.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    values[5] = 16;
    case.values = Tensor::from_vec(values, case.values.shape(), case.values.device()).unwrap();
    let after = case.launch("mixture_f32").floats(&[0.0; 66]).run();
    let (before, after) = (as_floats(&before[2]), as_floats(&after[2]));
    assert!(after[5].is_nan());
    assert!((0..66).all(|index| index == 5 || before[index] == after[index]));
    let found = case.launch("mixture_gradient_f32").tensor(&case.incoming);
    let gradient = found
        .floats(&vec![f32::NAN; case.parameters.elem_count()])
        .run();
    let gradient = as_floats(&gradient[3]);
    let area = SIZE.0 * SIZE.1;
    assert!((0..6).all(|plane| gradient[plane * area + 5] == 0.0));
    assert!(gradient.iter().all(|number| number.is_finite()));
}
