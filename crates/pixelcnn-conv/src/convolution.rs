//! A convolution with its weight, mask and padding.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::{ColourGroups, Colours, Kernel, Padding, Tap};

/// A convolution of one of the stacks: weight, optional bias, mask, padding
/// and dilation.
///
/// The weight is stored `[out, in, height, width]` under `weight`, the bias
/// under `bias`. Entries that the mask closes are multiplied by zero, so that
/// whatever a file holds there has no effect and gets no gradient; rows and
/// columns closed altogether at the end of a kernel are not computed.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use pixelcnn_conv::{Convolution, Rows};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let vertical = Convolution::vertical(3, 8, 7, 1, Rows::Above, weights)?;
/// let image = Tensor::zeros((2, 3, 5, 6), DType::F32, &Device::Cpu)?;
/// assert_eq!(vertical.forward(&image)?.dims(), [2, 8, 5, 6]);
/// assert_eq!(vertical.weight().dims(), [8, 3, 3, 7]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Convolution {
    name: String,
    weight: Tensor,
    bias: Option<Tensor>,
    mask: Option<Tensor>,
    padding: Padding,
    dilation: usize,
    live: (usize, usize),
    taps: Vec<Tap>,
    groups: ColourGroups,
}

/// What a constructor says of its kernel; rows of `None` or colours.
pub(crate) struct Pattern {
    pub cells: Vec<Vec<Option<Colours>>>,
    /// Rows above and columns left of the output's position.
    pub above: usize,
    pub left: usize,
    pub dilation: usize,
    /// Of what comes out when the weights are drawn, for inputs of deviation 1.
    pub deviation: f64,
}

/// Feature maps on one side of a convolution: grouped by colour or not.
#[derive(Clone, Copy)]
pub(crate) enum Maps {
    Plain(usize),
    Grouped(ColourGroups),
}

impl Maps {
    fn count(&self) -> usize {
        match self {
            Maps::Plain(maps) => *maps,
            Maps::Grouped(groups) => groups.maps(),
        }
    }

    /// Number of maps of each group.
    fn group_sizes(&self) -> Vec<f64> {
        let groups = match self {
            Maps::Plain(_) => 1,
            Maps::Grouped(groups) => groups.channels(),
        };
        let mut sizes = vec![0.0; groups];
        for map in 0..self.count() {
            sizes[self.group(map)] += 1.0;
        }
        sizes
    }

    fn group(&self, map: usize) -> usize {
        match self {
            Maps::Plain(_) => 0,
            Maps::Grouped(groups) => groups.of(map),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bias {
    Learned,
    None,
}

impl Convolution {
    pub(crate) fn build(
        inputs: Maps,
        outputs: Maps,
        kernel: &Pattern,
        bias: Bias,
        weights: VarBuilder,
    ) -> Result<Self> {
        if kernel.dilation == 0 || inputs.count() == 0 || outputs.count() == 0 {
            bail!(
                "convolution {}: {} maps in, {} out, dilation {}: all must be at least 1",
                weights.prefix(),
                inputs.count(),
                outputs.count(),
                kernel.dilation
            );
        }
        let shape = (
            outputs.count(),
            inputs.count(),
            kernel.cells.len(),
            kernel.cells[0].len(),
        );
        let live_inputs = open_count(inputs, outputs, kernel) / outputs.count() as f64;
        let bound = kernel.deviation * (3.0 / live_inputs.max(1.0)).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let weight = weights.get_with_hints(shape, "weight", init)?;
        let bias = match bias {
            Bias::None => None,
            Bias::Learned => Some(weights.get_with_hints(shape.0, "bias", Init::Const(0.))?),
        };
        let all = weight.elem_count() as f64;
        let mask = match open_count(inputs, outputs, kernel) < all {
            false => None,
            true => {
                let open = open_entries(inputs, outputs, kernel);
                let mask = Tensor::from_vec(open, shape, &Device::Cpu)?;
                let mask = mask.to_dtype(weights.dtype())?;
                Some(mask.to_device(weights.device())?)
            }
        };
        Ok(Self {
            name: weights.prefix(),
            weight,
            bias,
            mask,
            padding: kernel.padding(),
            dilation: kernel.dilation,
            live: kernel.live(),
            taps: kernel.taps(),
            groups: match outputs {
                Maps::Plain(maps) => ColourGroups::new(1, maps)?,
                Maps::Grouped(groups) => groups,
            },
        })
    }

    /// The convolution of `input`; the result has the input's height and
    /// width.
    ///
    /// # Shapes
    ///
    /// `[b, in, h, w]` to `[b, out, h, w]`.
    ///
    /// # Errors
    ///
    /// If the input has another rank or number of maps.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.kernel()?.convolve(input)
    }

    /// The weight with its mask applied and without what is closed at its end,
    /// and all else that [`Kernel::convolve`] needs.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn kernel(&self) -> Result<Kernel> {
        let weight = self.masked_weight()?;
        let weight = weight.narrow(2, 0, self.live.0)?;
        Ok(Kernel {
            weight: weight.narrow(3, 0, self.live.1)?,
            bias: self.bias.clone(),
            padding: self.padding,
            dilation: self.dilation,
        })
    }

    /// The same convolution as a centred square kernel `[out, in, n, n]` to
    /// be applied with symmetric padding `(n / 2) * dilation`: the masked
    /// form of section 2.2, equal to the shifted form that is stored.
    pub fn masked_form(&self) -> Result<Tensor> {
        let (_, _, height, width) = self.weight.dims4()?;
        let dilation = self.dilation as isize;
        let above = self.padding.top / dilation;
        let left = self.padding.left / dilation;
        let below = height as isize - 1 - above;
        let right = width as isize - 1 - left;
        let half = above.max(below).max(left).max(right);
        let zeros = |side: isize| (half - side) as usize;
        self.masked_weight()?
            .pad_with_zeros(2, zeros(above), zeros(below))?
            .pad_with_zeros(3, zeros(left), zeros(right))
    }

    /// The weight with the mask applied, `[out, in, height, width]`.
    pub fn masked_weight(&self) -> Result<Tensor> {
        match &self.mask {
            Some(mask) => self.weight.mul(mask),
            None => Ok(self.weight.clone()),
        }
    }

    /// The weight as stored, `[out, in, height, width]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// 1 where the weight is used, 0 where the mask closes it; `None` if
    /// nothing is closed. Shaped like the weight.
    pub fn mask(&self) -> Option<&Tensor> {
        self.mask.as_ref()
    }

    /// The name under which `weight` and `bias` are stored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The positions that are read, relative to the one written.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// The colour groups of the outputs; a single one where they have none.
    pub fn groups(&self) -> ColourGroups {
        self.groups
    }

    /// Number of weights and biases that are used; masked ones do not count.
    pub fn parameters(&self) -> Result<usize> {
        Ok(self.multiply_adds()? + self.bias.as_ref().map_or(0, Tensor::elem_count))
    }

    /// Number of weights that are used: the multiplications of a position.
    pub fn multiply_adds(&self) -> Result<usize> {
        match &self.mask {
            None => Ok(self.weight.elem_count()),
            Some(mask) => {
                let open = mask.to_dtype(DType::F64)?.sum_all()?;
                Ok(open.to_scalar::<f64>()? as usize)
            }
        }
    }
}

impl Pattern {
    fn live(&self) -> (usize, usize) {
        let open = |cell: &Option<Colours>| cell.is_some();
        let rows = self.cells.iter().rposition(|row| row.iter().any(open));
        let columns = self
            .cells
            .iter()
            .filter_map(|row| row.iter().rposition(open));
        (
            rows.map_or(1, |last| last + 1),
            columns.max().map_or(1, |last| last + 1),
        )
    }

    /// What keeps the output the size of the input: `above` rows on top, and
    /// at the bottom the live rows below the output's position.
    fn padding(&self) -> Padding {
        let after = |live: usize, before: usize| live as isize - 1 - before as isize;
        let (rows, columns) = self.live();
        let dilation = self.dilation as isize;
        Padding {
            top: self.above as isize * dilation,
            bottom: after(rows, self.above) * dilation,
            left: self.left as isize * dilation,
            right: after(columns, self.left) * dilation,
        }
    }

    fn taps(&self) -> Vec<Tap> {
        let offset = |index: usize, before: usize| {
            (index as isize - before as isize) * self.dilation as isize
        };
        let mut taps = Vec::new();
        for (r, row) in self.cells.iter().enumerate() {
            for (c, cell) in row.iter().enumerate() {
                taps.extend(cell.map(|colours| Tap {
                    row: offset(r, self.above),
                    column: offset(c, self.left),
                    colours,
                }));
            }
        }
        taps
    }
}

/// How many entries are used, without listing them: a shape that does not fit
/// is found before anything of its size is made.
fn open_count(inputs: Maps, outputs: Maps, kernel: &Pattern) -> f64 {
    let (to, from) = (outputs.group_sizes(), inputs.group_sizes());
    let mut count = 0.0;
    for colours in kernel.cells.iter().flatten().flatten() {
        for (output, outputs) in to.iter().enumerate() {
            let seen = from.iter().enumerate();
            let seen = seen.filter(|(input, _)| colours.sees(output, *input));
            count += outputs * seen.map(|(_, inputs)| inputs).sum::<f64>();
        }
    }
    count
}

/// 1 for each entry `[out, in, row, column]` that is used, 0 for the others.
fn open_entries(inputs: Maps, outputs: Maps, kernel: &Pattern) -> Vec<f32> {
    let cells: Vec<_> = kernel.cells.iter().flatten().collect();
    let mut open = Vec::with_capacity(inputs.count() * outputs.count() * cells.len());
    for output in 0..outputs.count() {
        for input in 0..inputs.count() {
            let (to, from) = (outputs.group(output), inputs.group(input));
            open.extend(cells.iter().map(|cell| match cell {
                Some(colours) if colours.sees(to, from) => 1f32,
                _ => 0.0,
            }));
        }
    }
    open
}

/// Half of an odd kernel; anything else is an error that names `weights`.
pub(crate) fn half(kernel: usize, weights: &VarBuilder) -> Result<usize> {
    if kernel.is_multiple_of(2) {
        bail!(
            "convolution {}: kernels are odd, found {kernel}",
            weights.prefix()
        );
    }
    Ok(kernel / 2)
}
