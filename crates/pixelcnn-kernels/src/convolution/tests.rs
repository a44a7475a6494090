//! Comparisons with the definition, finite differences and the portable path.

use super::*;
use candle_core::{DType, Device, Var};
use proptest::prelude::*;

fn wave(shape: &[usize], phase: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * 0.7 + phase).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    let largest = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    largest.max(0).unwrap().to_scalar::<f64>().unwrap()
}

/// The definition, in plain loops.
fn by_definition(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    padding: Padding,
    dilation: usize,
) -> Tensor {
    let (b, i, h, w) = input.dims4().unwrap();
    let (o, _, kh, kw) = weight.dims4().unwrap();
    let height = (padding.height(h) - ((kh - 1) * dilation) as isize) as usize;
    let width = (padding.width(w) - ((kw - 1) * dilation) as isize) as usize;
    let x: Vec<f64> = input.flatten_all().unwrap().to_vec1().unwrap();
    let k: Vec<f64> = weight.flatten_all().unwrap().to_vec1().unwrap();
    let constant: Vec<f64> = bias.to_vec1().unwrap();
    let at = |n: usize, map: usize, row: isize, column: isize| {
        let inside = (0..h as isize).contains(&row) && (0..w as isize).contains(&column);
        let index = ((n * i + map) as isize * h as isize + row) * w as isize + column;
        if inside { x[index as usize] } else { 0.0 }
    };
    let mut output = Vec::new();
    for index in 0..b * o * height * width {
        let (column, row) = (index % width, index / width % height);
        let (map, n) = (index / width / height % o, index / width / height / o);
        let mut sum = constant[map];
        for (from, r, s) in (0..i * kh * kw).map(|t| (t / kw / kh, t / kw % kh, t % kw)) {
            let y = (row + r * dilation) as isize - padding.top;
            let z = (column + s * dilation) as isize - padding.left;
            sum += k[((map * i + from) * kh + r) * kw + s] * at(n, from, y, z);
        }
        output.push(sum);
    }
    Tensor::from_vec(output, (b, o, height, width), &Device::Cpu).unwrap()
}

/// The output, and the gradients of input, weight and bias. The loss multiplies each output
/// by a different weight.
fn pass(all: &[Tensor; 3], padding: Padding, dilation: usize) -> Result<[Tensor; 4]> {
    let variables = all
        .each_ref()
        .map(|tensor| Var::from_tensor(tensor).unwrap());
    let [input, weight, bias] = variables.each_ref();
    let output = convolve(input, weight, Some(bias), padding, dilation)?;
    let weights = wave(output.dims(), 0.3).to_dtype(output.dtype()).unwrap();
    let gradients = (&output * weights)?.sum_all()?.backward()?;
    let gradient = |of: &Var| gradients.get(of).unwrap().clone();
    Ok([output, gradient(input), gradient(weight), gradient(bias)])
}

fn assert_close(fast: &[Tensor; 4], exact: &[Tensor; 4]) {
    for ((fast, exact), what) in fast
        .iter()
        .zip(exact)
        .zip(["output", "input", "weight", "bias"])
    {
        let fast = fast.to_dtype(DType::F64).unwrap();
        let size = exact.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        let size = size.to_scalar::<f64>().unwrap();
        let error = difference(&fast, exact);
        assert!(error < 1e-4 * size.max(1.0), "{what}: {error} of {size}");
    }
}

fn single(all: &[Tensor; 3]) -> [Tensor; 3] {
    all.each_ref()
        .map(|tensor| tensor.to_dtype(DType::F32).unwrap())
}

proptest! {
    #[test]
    fn equals_the_definition(
        (b, i, o) in (1usize..4, 1usize..20, 1usize..40),
        (h, w) in (1usize..9, 1usize..40),
        (kh, kw) in (1usize..5, 1usize..5),
        (top, bottom, left, right) in (-2isize..5, -2isize..5, -2isize..5, -2isize..5),
        dilation in 1usize..3,
    ) {
        let padding = Padding { top, bottom, left, right };
        let all = [wave(&[b, i, h, w], 0.), wave(&[o, i, kh, kw], 1.), wave(&[o], 2.)];
        let height = padding.height(h) - ((kh - 1) * dilation) as isize;
        let width = padding.width(w) - ((kw - 1) * dilation) as isize;
        let exact = pass(&all, padding, dilation);
        prop_assert_eq!(exact.is_ok(), height > 0 && width > 0);
        let Ok(exact) = exact else { return Ok(()) };
        let [input, weight, bias] = &all;
        let defined = by_definition(input, weight, bias, padding, dilation);
        prop_assert!(difference(&exact[0], &defined) < 1e-11);
        for level in Level::available() {
            let fast = level.scope(|| pass(&single(&all), padding, dilation)).unwrap();
            assert_close(&fast, &exact);
        }
    }
}

#[test]
fn closed_weights_make_no_difference() {
    // Blocks of zeros at the start, the end and in the middle, all for some outputs.
    let mut weight = vec![0f64; 30 * 140 * 2];
    for (index, value) in weight.iter_mut().enumerate() {
        let (output, input, tap) = (index / 280, index / 2 % 140, index % 2);
        let open = match output {
            0..10 => false,
            10..20 => input > 100 || tap == 1,
            _ => input < 40 && tap == 0,
        };
        *value = if open { (index as f64).sin() } else { 0.0 };
    }
    let weight = Tensor::from_vec(weight, (30, 140, 1, 2), &Device::Cpu).unwrap();
    let all = [wave(&[2, 140, 5, 9], 0.), weight, wave(&[30], 1.)];
    let padding = Padding {
        left: 1,
        ..Padding::default()
    };
    let exact = pass(&all, padding, 1).unwrap();
    for level in Level::available() {
        let fast = level.scope(|| pass(&single(&all), padding, 1)).unwrap();
        assert_close(&fast, &exact);
    }
}

#[test]
fn single_taps_equal_the_definition() {
    // Read in place, with a remainder of maps or positions, and shifted.
    for (maps, size, shift) in [(16, 8, 0), (136, 8, 0), (12, 8, 0), (16, 5, 0), (16, 8, 1)] {
        let padding = Padding {
            top: shift,
            bottom: -shift,
            ..Padding::default()
        };
        let all = [
            wave(&[2, maps, size, size], 0.),
            wave(&[maps, maps, 1, 1], 1.),
            wave(&[maps], 2.),
        ];
        let exact = pass(&all, padding, 1).unwrap();
        for level in Level::available() {
            let fast = level.scope(|| pass(&single(&all), padding, 1)).unwrap();
            assert_close(&fast, &exact);
        }
    }
}

#[test]
fn views_that_are_not_contiguous_are_read_right() {
    let input = wave(&[5, 2, 3, 7], 0.).permute((1, 2, 3, 0)).unwrap();
    let weight = wave(&[3, 3, 2, 4], 1.).permute((3, 0, 1, 2)).unwrap();
    let all = [input, weight.narrow(3, 1, 1).unwrap(), wave(&[4], 2.)];
    let padding = Padding {
        top: 1,
        ..Padding::default()
    };
    let copies = all.each_ref().map(|tensor| tensor.contiguous().unwrap());
    let fast = pass(&single(&all), padding, 1).unwrap();
    assert_close(&fast, &pass(&copies, padding, 1).unwrap());
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let all = single(&[
        wave(&[5, 20, 9, 33], 0.),
        wave(&[150, 20, 3, 3], 1.),
        wave(&[150], 2.),
    ]);
    let padding = Padding {
        top: 2,
        left: 1,
        right: 1,
        bottom: 0,
    };
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let all = pool.install(|| pass(&all, padding, 1)).unwrap();
        all.map(|tensor| {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
    };
    let one = bits(1);
    assert!(one == bits(2) && one == bits(5));
}

#[test]
fn an_image_needs_no_gradient() {
    let weight =
        Var::from_tensor(&single(&[wave(&[4, 3, 1, 1], 0.), wave(&[1], 0.), wave(&[1], 0.)])[0])
            .unwrap();
    let image = Tensor::ones((1, 3, 2, 2), DType::F32, &Device::Cpu).unwrap();
    let output = convolve(&image, &weight, None, Padding::default(), 1).unwrap();
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&image).is_none());
    let gradient = gradients.get(&weight).unwrap().flatten_all().unwrap();
    assert_eq!(gradient.to_vec1::<f32>().unwrap(), [4.0; 12]);
}

#[test]
fn gradients_equal_finite_differences() {
    let padding = Padding {
        top: 2,
        bottom: -1,
        left: 1,
        right: 0,
    };
    let input = Var::from_tensor(&wave(&[2, 2, 4, 3], 0.)).unwrap();
    let weight = Var::from_tensor(&wave(&[3, 2, 2, 2], 1.)).unwrap();
    let bias = Var::from_tensor(&wave(&[3], 2.)).unwrap();
    let loss = || {
        let output = convolve(&input, &weight, Some(&bias), padding, 1).unwrap();
        output.sqr().unwrap().sum_all().unwrap()
    };
    let gradients = loss().backward().unwrap();
    for variable in [&input, &weight, &bias] {
        let gradient = gradients.get(variable).unwrap().flatten_all().unwrap();
        let gradient: Vec<f64> = gradient.to_vec1().unwrap();
        let original: Vec<f64> = variable.flatten_all().unwrap().to_vec1().unwrap();
        for (index, expected) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut values = original.clone();
                values[index] += step;
                let moved = Tensor::from_vec(values, variable.shape(), &Device::Cpu);
                variable.set(&moved.unwrap()).unwrap();
                loss().to_scalar::<f64>().unwrap()
            };
            let found = (at(1e-5) - at(-1e-5)) / 2e-5;
            at(0.0);
            assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0));
        }
    }
}

/// The taps of a kernel may be further from each other than the image is large.
#[test]
fn large_dilations_need_no_large_memory() {
    let all = [
        wave(&[2, 40, 5, 6], 0.),
        wave(&[3, 40, 2, 3], 1.),
        wave(&[3], 2.),
    ];
    // Beyond the image, all distances give the same.
    let far = |dilation: usize| {
        let side = dilation as isize;
        let padding = Padding {
            top: side,
            bottom: 0,
            left: side,
            right: side,
        };
        (padding, dilation)
    };
    let (padding, dilation) = far(6);
    let exact = pass(&all, padding, dilation).unwrap();
    for (padding, dilation) in [6, 1 << 16, (1 << 30) - 1].map(far) {
        for level in Level::available() {
            let fast = level
                .scope(|| pass(&single(&all), padding, dilation))
                .unwrap();
            assert_close(&fast, &exact);
        }
    }
}

/// A product that overflows would give too short a buffer.
#[test]
fn outputs_of_more_numbers_than_any_memory_are_refused() {
    let half = 1 << 30;
    let padding = Padding {
        top: half,
        bottom: half - 1,
        left: half,
        right: half - 1,
    };
    let (input, weight) = (wave(&[1, 1, 1, 1], 0.), wave(&[4, 1, 1, 1], 0.));
    for dtype in [DType::F32, DType::F64] {
        let [input, weight] = [&input, &weight].map(|it| it.to_dtype(dtype).unwrap());
        let error = convolve(&input, &weight, None, padding, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("[1, 4, 2147483648, 2147483648]"), "{error}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let (input, weight) = (wave(&[1, 2, 3, 3], 0.), wave(&[4, 2, 3, 3], 0.));
    let none = Padding::default();
    let message = |result: Result<Tensor>| result.unwrap_err().to_string();
    let other = wave(&[4, 3, 1, 1], 0.);
    assert!(message(convolve(&input, &other, None, none, 1)).contains("3 maps"));
    let bias = wave(&[5], 0.);
    assert!(message(convolve(&input, &weight, Some(&bias), none, 1)).contains("bias"));
    assert!(message(convolve(&input, &weight, None, none, 0)).contains("zero"));
    assert!(message(convolve(&input, &weight, None, none, 2)).contains("is empty with"));
    let flat = wave(&[2, 3, 3], 0.);
    assert!(message(convolve(&flat, &weight, None, none, 1)).contains("[b, i, h, w]"));
    let empty = Tensor::zeros((0, 2, 3, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(message(convolve(&empty, &weight, None, none, 1)).contains("zero"));
    let single = weight.to_dtype(DType::F32).unwrap();
    let found = message(convolve(&input, &single, None, none, 1));
    assert!(found.contains("input is f64, weight is f32"), "{found}");
}
