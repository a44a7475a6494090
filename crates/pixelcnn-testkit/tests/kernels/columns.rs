//! The views of convolutions.

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_kernels::{Padding, convolve, portable};
use pixelcnn_testkit::wave;

use crate::host::{Launch, as_floats, can_run, close, floats, from_bf16, to_bf16};

struct Case {
    maps: usize,
    outputs: usize,
    size: (usize, usize),
    kernel: (usize, usize),
    padding: Padding,
    dilation: usize,
}

impl Case {
    fn out(&self) -> (usize, usize) {
        let (padding, dilation) = (self.padding, self.dilation);
        let of = |size: usize, before: isize, after: isize, kernel: usize| {
            size.checked_add_signed(before + after).unwrap() - (kernel - 1) * dilation
        };
        (
            of(self.size.0, padding.top, padding.bottom, self.kernel.0),
            of(self.size.1, padding.left, padding.right, self.kernel.1),
        )
    }

    /// `Geometry` of columns.cu.
    fn geometry(&self) -> Vec<u8> {
        let out = self.out();
        let numbers = [
            self.maps,
            self.size.0,
            self.size.1,
            self.kernel.0,
            self.kernel.1,
            out.0,
            out.1,
        ];
        let padding = [self.padding.top, self.padding.left];
        let numbers = numbers.map(|number| number as i32).into_iter();
        numbers
            .chain(padding.map(|number| number as i32))
            .chain([self.dilation as i32])
            .flat_map(i32::to_le_bytes)
            .collect()
    }
}

fn cases() -> [Case; 4] {
    let padding = |top, bottom, left, right| Padding {
        top,
        bottom,
        left,
        right,
    };
    let case = |maps, outputs, size, kernel, padding, dilation| Case {
        maps,
        outputs,
        size,
        kernel,
        padding,
        dilation,
    };
    [
        case(1, 1, (1, 1), (1, 1), padding(0, 0, 0, 0), 1),
        case(3, 4, (5, 7), (2, 3), padding(1, 0, 1, 1), 1), // vertical
        case(2, 3, (6, 5), (1, 3), padding(0, 0, 4, 0), 2), // horizontal, dilated
        case(2, 2, (7, 5), (3, 2), padding(2, -1, -1, 3), 2), // cropped, dilated
    ]
}

/// A convolution is the product of weights and views, and the gradient of its input the sum of
/// the views of the product of turned weights and incoming gradients.
#[test]
fn views_and_their_sums_give_convolutions_and_gradients() {
    if !can_run() {
        return;
    }
    for case in cases() {
        let Case {
            maps,
            outputs,
            size,
            kernel,
            padding,
            dilation,
        } = case;
        let (batch, out) = (2, case.out());
        let (taps, area) = (maps * kernel.0 * kernel.1, out.0 * out.1);
        let new =
            |shape: &[usize], phase| wave(shape, phase).unwrap().to_dtype(DType::F32).unwrap();
        let input = Var::from_tensor(&new(&[batch, maps, size.0, size.1], 0.2)).unwrap();
        let weight = new(&[outputs, maps, kernel.0, kernel.1], 0.4);
        let incoming = new(&[batch, outputs, out.0, out.1], 0.6);
        let expected = portable(|| convolve(&input, &weight, None, padding, dilation)).unwrap();
        let loss = (&expected * &incoming).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();

        let launch = |name: &str, count: usize| {
            Launch::new(name, 3, 32)
                .number(count as f64)
                .bytes(&case.geometry())
        };
        let count = batch * taps * area;
        let found = launch("views_f32", count)
            .tensor(&input)
            .floats(&vec![f32::NAN; count])
            .run();
        let views = as_floats(&found[1]);
        let tensor = Tensor::from_slice(&views, (batch, taps, area), &Device::Cpu).unwrap();
        let flat = weight.reshape((1, outputs, taps)).unwrap();
        let flat = flat
            .broadcast_as((batch, outputs, taps))
            .unwrap()
            .contiguous()
            .unwrap();
        let product = flat.matmul(&tensor).unwrap();
        close("convolution", &floats(&product), &floats(&expected), 1e-5);

        let there = incoming.reshape((batch, outputs, area)).unwrap();
        let turned = flat
            .t()
            .unwrap()
            .contiguous()
            .unwrap()
            .matmul(&there)
            .unwrap();
        let count = input.elem_count();
        let launch = launch("sums_of_views_f32", count).tensor(&turned);
        let found = launch.floats(&vec![f32::NAN; count]).run();
        let gradient = floats(gradients.get(&input).unwrap());
        close("input gradient", &as_floats(&found[1]), &gradient, 1e-5);
    }
}

#[test]
fn views_in_bf16_are_those_of_the_rounded_maps() {
    if !can_run() {
        return;
    }
    let case = &cases()[1];
    let out = case.out();
    let count = case.maps * case.kernel.0 * case.kernel.1 * out.0 * out.1;
    let maps = floats(&wave(&[case.maps * case.size.0 * case.size.1], 0.1).unwrap());
    let rounded = from_bf16(&to_bf16(&maps));
    let launch = |name: &str| {
        Launch::new(name, 1, 8)
            .number(count as f64)
            .bytes(&case.geometry())
    };
    let expected = launch("views_f32")
        .floats(&rounded)
        .floats(&vec![0.0; count])
        .run();
    let found = launch("views_bf16")
        .buffer(&to_bf16(&maps))
        .buffer(&vec![0; 2 * count])
        .run();
    assert_eq!(from_bf16(&found[1]), as_floats(&expected[1]));
    let count = maps.len();
    let launch = |name: &str| {
        Launch::new(name, 1, 8)
            .number(count as f64)
            .bytes(&case.geometry())
    };
    let sums = launch("sums_of_views_bf16")
        .buffer(&found[1])
        .buffer(&vec![0; 2 * count])
        .run();
    let exact = launch("sums_of_views_f32")
        .buffer(&expected[1])
        .floats(&vec![0.0; count])
        .run();
    close("sums", &from_bf16(&sums[1]), &as_floats(&exact[1]), 5e-3);
}
