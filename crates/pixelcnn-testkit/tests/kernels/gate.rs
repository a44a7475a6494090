//! The gate.

use candle_core::{DType, Tensor, Var};
use pixelcnn_testkit::wave;

use crate::host::{Launch, as_floats, can_run, close, floats, from_bf16, to_bf16};

/// The gate and its gradient by candle.
fn expected(maps: &Var, incoming: &Tensor) -> (Tensor, Tensor) {
    let half = maps.dim(1).unwrap() / 2;
    let value = maps.narrow(1, 0, half).unwrap().tanh().unwrap();
    let open = maps
        .narrow(1, half, half)
        .unwrap()
        .neg()
        .unwrap()
        .exp()
        .unwrap();
    let open = (open + 1.0).unwrap().recip().unwrap();
    let gated = (value * open).unwrap();
    let loss = (&gated * incoming).unwrap().sum_all().unwrap();
    let gradient = loss.backward().unwrap().get(maps).unwrap().clone();
    (gated, gradient)
}

#[test]
fn the_gate_and_its_gradient_are_candles() {
    if !can_run() {
        return;
    }
    for (b, p, area) in [(1, 1, 1), (2, 3, 35), (3, 5, 64)] {
        let new = |shape: &[usize], phase| {
            let wave = (wave(shape, phase).unwrap() * 4.0).unwrap();
            wave.to_dtype(DType::F32).unwrap()
        };
        let maps = Var::from_tensor(&new(&[b, 2 * p, area], 0.1)).unwrap();
        let incoming = new(&[b, p, area], 0.7);
        let (gated, gradient) = expected(&maps, &incoming);
        let (count, per_image) = (b * p * area, p * area);
        let launch = |name: &str| {
            Launch::new(name, 2, 32)
                .number(count as f64)
                .number(per_image as f64)
        };
        let empty = vec![f32::NAN; count];
        let found = launch("gate_f32").tensor(&maps).floats(&empty).run();
        close("gate", &as_floats(&found[1]), &floats(&gated), 5e-6);
        let found = launch("gate_gradient_f32").tensor(&maps).tensor(&incoming);
        let found = found.floats(&vec![f32::NAN; 2 * count]).run();
        close("gradient", &as_floats(&found[2]), &floats(&gradient), 5e-6);

        // In bf16 inputs and results have 8 bits.
        let [maps, incoming] = [floats(&maps), floats(&incoming)].map(|values| to_bf16(&values));
        let found = launch("gate_bf16")
            .buffer(&maps)
            .buffer(&vec![0; 2 * count])
            .run();
        close("gate, bf16", &from_bf16(&found[1]), &floats(&gated), 0.02);
        let found = launch("gate_gradient_bf16").buffer(&maps).buffer(&incoming);
        let found = found.buffer(&vec![0; 4 * count]).run();
        close(
            "gradient, bf16",
            &from_bf16(&found[2]),
            &floats(&gradient),
            0.04,
        );
    }
}
