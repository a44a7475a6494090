//! Checkpoints of other programs, with weights from a formula.

mod pickle;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use pixelcnn_import::Format;

use crate::wave;
pub use pickle::{Wrapping, archive, entries, pickle, zipped};

/// The sizes of a checkpoint; a format uses those that it has.
///
/// # Example
///
/// ```
/// assert_eq!(pixelcnn_testkit::foreign::Sizes::small().maps, 6);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Feature maps of each stack.
    pub maps: usize,
    /// Feature maps inside the head.
    pub head: usize,
    /// Layers after the first.
    pub blocks: usize,
    /// Side of the first kernel.
    pub first_kernel: usize,
    /// Side of the later kernels.
    pub kernel: usize,
    /// Outputs for each channel.
    pub levels: usize,
    /// Labels.
    pub classes: usize,
}

impl Sizes {
    /// Small sizes, that tests evaluate in a moment.
    pub fn small() -> Self {
        Self {
            maps: 6,
            head: 4,
            blocks: 2,
            first_kernel: 5,
            kernel: 3,
            levels: 4,
            classes: 3,
        }
    }
}

/// The tensors of a checkpoint by their names in the other program, with the masks that it
/// keeps. Closed taps of masked kernels are not zero.
///
/// # Errors
///
/// If a tensor cannot be made.
///
/// # Example
///
/// ```
/// use pixelcnn_import::Format;
/// use pixelcnn_testkit::foreign::{Sizes, tensors};
///
/// let tensors = tensors(Format::Uvadlc, Sizes::small())?;
/// assert_eq!(tensors["conv_hstack.conv.weight"].dims(), [6, 1, 1, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn tensors(format: Format, sizes: Sizes) -> Result<BTreeMap<String, Tensor>> {
    let shapes = match format {
        Format::Uvadlc => uvadlc(sizes),
        Format::PytorchVqvae => pytorch_vqvae(sizes),
        Format::Anordertoreclaim => anordertoreclaim(sizes),
        _ => pytorch_generative(sizes),
    };
    let mut tensors = BTreeMap::new();
    for (name, shape) in shapes {
        if name.ends_with(".mask") {
            tensors.insert(name.clone(), mask(&name, &shape)?);
            continue;
        }
        let phase = name.bytes().map(f64::from).sum::<f64>() / 10.0;
        let inputs: usize = shape.iter().skip(1).product();
        let scale = 1.5 / (inputs.max(4) as f64).sqrt();
        let mut tensor = (wave(&shape, phase)? * scale)?.to_dtype(DType::F32)?;
        if HIDDEN.contains(&name.as_str()) {
            // Above zero, so that the ReLU after it lets something through.
            tensor = (tensor.abs()? + 0.5)?;
        }
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// A mask as the other programs make it: 1 for what comes before the output position, whole rows
/// for vertical kernels, and at the position 1 for the colours that it may see. Map `j` belongs
/// to colour `j mod 3`.
fn mask(name: &str, shape: &[usize]) -> Result<Tensor> {
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let is_first = has(&["conv_vstack", "conv_hstack", "causal_conv"]);
    let is_vertical = has(&["conv_vstack", "conv_vert"]);
    let [outputs, inputs, height, width] = *shape else {
        bail!("mask {name}: four sides expected, found {shape:?}");
    };
    let mut numbers = Vec::new();
    for output in 0..outputs {
        for input in 0..inputs {
            let (one, other) = (input % 3, output % 3);
            let own = if is_first { one < other } else { one <= other };
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |at| (row, at))) {
                let in_row = match column.cmp(&(width / 2)) {
                    _ if is_vertical => own,
                    Ordering::Less => true,
                    Ordering::Equal => own,
                    Ordering::Greater => false,
                };
                let open = row < height / 2 || (row == height / 2 && in_row);
                numbers.push(if open { 1f32 } else { 0.0 });
            }
        }
    }
    Tensor::from_vec(numbers, shape, &Device::Cpu)
}

/// The biases of the layers before the last ReLU.
const HIDDEN: [&str; 3] = ["out_hidden_conv.bias", "output_conv.0.bias", "_head.1.bias"];

/// The settings that say what a checkpoint of [`tensors`] does not store.
///
/// # Example
///
/// ```
/// use pixelcnn_import::Format;
///
/// assert!(pixelcnn_testkit::foreign::settings(Format::PytorchVqvae).is_empty());
/// ```
pub fn settings(format: Format) -> &'static [&'static str] {
    match format {
        Format::Uvadlc => &["dilations=1,2"],
        _ => &[],
    }
}

type Shapes = Vec<(String, Vec<usize>)>;

/// A convolution with a bias.
fn convolution(shapes: &mut Shapes, name: impl AsRef<str>, shape: [usize; 4]) {
    let name = name.as_ref();
    shapes.push((format!("{name}.weight"), shape.to_vec()));
    shapes.push((format!("{name}.bias"), vec![shape[0]]));
}

/// A convolution with a bias and a mask of its own.
fn masked(shapes: &mut Shapes, name: impl AsRef<str>, shape: [usize; 4]) {
    let name = name.as_ref();
    convolution(shapes, name, shape);
    shapes.push((format!("{name}.mask"), shape.to_vec()));
}

/// A convolution inside a module with a mask, which is the same for all maps.
fn within_mask(shapes: &mut Shapes, name: impl AsRef<str>, shape: [usize; 4]) {
    let (name, [.., height, width]) = (name.as_ref(), shape);
    convolution(shapes, format!("{name}.conv"), shape);
    shapes.push((format!("{name}.mask"), vec![1, 1, height, width]));
}

fn uvadlc(sizes: Sizes) -> Shapes {
    let (p, k) = (sizes.maps, sizes.kernel);
    let first = sizes.first_kernel;
    let mut shapes = Vec::new();
    within_mask(&mut shapes, "conv_vstack", [p, 1, first, first]);
    within_mask(&mut shapes, "conv_hstack", [p, 1, 1, first]);
    for layer in 0..sizes.blocks {
        let name = |part: &str| format!("conv_layers.{layer}.{part}");
        within_mask(&mut shapes, name("conv_vert"), [2 * p, p, k, k]);
        within_mask(&mut shapes, name("conv_horiz"), [2 * p, p, 1, k]);
        convolution(
            &mut shapes,
            name("conv_vert_to_horiz"),
            [2 * p, 2 * p, 1, 1],
        );
        convolution(&mut shapes, name("conv_horiz_1x1"), [p, p, 1, 1]);
    }
    convolution(&mut shapes, "conv_out", [sizes.levels, p, 1, 1]);
    shapes
}

fn pytorch_vqvae(sizes: Sizes) -> Shapes {
    let d = sizes.maps;
    let mut shapes = vec![("embedding.weight".to_string(), vec![sizes.levels, d])];
    for layer in 0..=sizes.blocks {
        let k = if layer == 0 {
            sizes.first_kernel
        } else {
            sizes.kernel
        };
        let name = |part: &str| format!("layers.{layer}.{part}");
        let class = name("class_cond_embedding.weight");
        shapes.push((class, vec![sizes.classes, 2 * d]));
        convolution(&mut shapes, name("vert_stack"), [2 * d, d, k / 2 + 1, k]);
        convolution(&mut shapes, name("vert_to_horiz"), [2 * d, 2 * d, 1, 1]);
        convolution(&mut shapes, name("horiz_stack"), [2 * d, d, 1, k / 2 + 1]);
        convolution(&mut shapes, name("horiz_resid"), [d, d, 1, 1]);
    }
    convolution(&mut shapes, "output_conv.0", [sizes.head, d, 1, 1]);
    convolution(
        &mut shapes,
        "output_conv.2",
        [sizes.levels, sizes.head, 1, 1],
    );
    shapes
}

fn anordertoreclaim(sizes: Sizes) -> Shapes {
    let p = sizes.maps;
    let mut shapes = Vec::new();
    let block = |shapes: &mut Shapes, block: String, inputs: usize, k: usize| {
        let name = |part: &str| format!("{block}.{part}");
        convolution(shapes, name("v_conv"), [2 * p, inputs, k / 2 + 1, k]);
        convolution(shapes, name("v_fc"), [2 * p, inputs, 1, 1]);
        let link = match block.as_str() {
            "causal_conv" => convolution,
            _ => masked,
        };
        link(shapes, name("v_to_h"), [2 * p, 2 * p, 1, 1]);
        masked(shapes, name("h_conv"), [2 * p, inputs, 1, k]);
        masked(shapes, name("h_fc"), [p, p, 1, 1]);
    };
    block(
        &mut shapes,
        "causal_conv".to_string(),
        3,
        sizes.first_kernel,
    );
    for layer in 0..sizes.blocks {
        let name = format!("hidden_conv.{layer}");
        block(&mut shapes, name.clone(), p, sizes.kernel);
        masked(&mut shapes, format!("{name}.h_skip"), [p, p, 1, 1]);
        let class = format!("{name}.label_embedding.weight");
        shapes.push((class, vec![sizes.classes, 2 * p]));
    }
    let class = "label_embedding.weight".to_string();
    shapes.push((class, vec![sizes.classes, p]));
    masked(&mut shapes, "out_hidden_conv", [sizes.head, p, 1, 1]);
    masked(
        &mut shapes,
        "out_conv",
        [3 * sizes.levels, sizes.head, 1, 1],
    );
    shapes
}

fn pytorch_generative(sizes: Sizes) -> Shapes {
    let p = sizes.maps;
    let mut shapes = Vec::new();
    for layer in 0..=sizes.blocks {
        let (name, inputs, k) = match layer {
            0 => ("_input".to_string(), 1, sizes.first_kernel),
            _ => (format!("_gated_layers.{}", layer - 1), p, sizes.kernel),
        };
        let name = |part: &str| format!("{name}.{part}");
        convolution(&mut shapes, name("_vstack_1xN"), [p, inputs, 1, k]);
        convolution(&mut shapes, name("_vstack_Nx1"), [2 * p, p, k / 2 + 1, 1]);
        convolution(&mut shapes, name("_vstack_1x1"), [2 * p, inputs, 1, 1]);
        convolution(&mut shapes, name("_link"), [2 * p, 2 * p, 1, 1]);
        let row = [2 * p, inputs, 1, k / 2 + 1];
        convolution(&mut shapes, name("_hstack_1xN"), row);
        convolution(&mut shapes, name("_hstack_skip"), [p, p, 1, 1]);
        convolution(&mut shapes, name("_hstack_residual"), [p, p, 1, 1]);
    }
    convolution(&mut shapes, "_head.1", [sizes.head, p, 1, 1]);
    convolution(&mut shapes, "_head.3", [sizes.levels, sizes.head, 1, 1]);
    shapes
}
