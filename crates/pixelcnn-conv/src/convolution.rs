//! A convolution: weight, mask and padding.

use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::pattern::Pattern;
use crate::{ColourGroups, Kernel, Padding, Tap};

/// A convolution of one of the stacks: weight, optional bias, mask, padding
/// and dilation.
///
/// The weight is stored as `[out, in, height, width]` under `weight`, the bias
/// under `bias`. Masked entries are multiplied by zero, so that their values in a
/// file have no effect and they get no gradient. Fully masked rows and columns at
/// the end of a kernel are not computed.
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
    pattern: Pattern,
    /// What the mask needs in every forward pass: of a variable, the mask; of a weight that never
    /// changes, the weight with the mask applied. Made at first use, because counting a network
    /// does not need it.
    cached: Arc<OnceLock<Tensor>>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bias {
    Learned,
    None,
}

impl Convolution {
    pub(crate) fn build(pattern: Pattern, bias: Bias, weights: VarBuilder) -> Result<Self> {
        let (inputs, outputs) = (pattern.inputs, pattern.outputs);
        if pattern.dilation == 0 || inputs == 0 || outputs == 0 {
            bail!(
                "convolution {}: input maps, output maps and dilation must be at least 1, found \
                 {inputs}, {outputs} and {}",
                weights.prefix(),
                pattern.dilation
            );
        }
        let live_inputs = pattern.open_entries() as f64 / outputs as f64;
        let bound = pattern.deviation * (3.0 / live_inputs.max(1.0)).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let weight = weights.get_with_hints(pattern.shape(), "weight", init)?;
        let bias = match bias {
            Bias::None => None,
            Bias::Learned => Some(weights.get_with_hints(outputs, "bias", Init::Const(0.))?),
        };
        Ok(Self {
            name: weights.prefix(),
            weight,
            bias,
            pattern,
            cached: Arc::default(),
        })
    }

    /// Convolves `input`; the result has the same height and width.
    ///
    /// # Shapes
    ///
    /// `[b, in, h, w]` to `[b, out, h, w]`.
    ///
    /// # Errors
    ///
    /// If the input has a wrong rank or number of maps.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.kernel()?.convolve(input)
    }

    /// The masked weight without fully masked rows and columns at its end, and
    /// everything else that [`Kernel::convolve`] needs.
    ///
    /// # Errors
    ///
    /// If a tensor operation fails.
    pub fn kernel(&self) -> Result<Kernel> {
        let weight = self.masked_weight()?;
        let (rows, columns) = self.pattern.live();
        Ok(Kernel {
            weight: weight.narrow(2, 0, rows)?.narrow(3, 0, columns)?,
            bias: self.bias.clone(),
            padding: self.pattern.padding(),
            dilation: self.pattern.dilation,
        })
    }

    /// The same convolution as a centred square kernel `[out, in, n, n]` with
    /// symmetric padding `(n / 2) * dilation`: the masked form of section 2.2, which
    /// is equal to the stored, shifted form.
    pub fn masked_form(&self) -> Result<Tensor> {
        let Pattern {
            rows,
            columns,
            above,
            left,
            ..
        } = self.pattern;
        // From the end of the stored kernel to the position; negative after the end.
        let after = |side: usize, before: usize| side as isize - 1 - before as isize;
        let (below, right) = (after(rows, above), after(columns, left));
        let (above, left) = (above as isize, left as isize);
        let half = above.max(below).max(left).max(right);
        let zeros = |side: isize| (half - side) as usize;
        self.masked_weight()?
            .pad_with_zeros(2, zeros(above), zeros(below))?
            .pad_with_zeros(3, zeros(left), zeros(right))
    }

    /// The weight with the mask applied, `[out, in, height, width]`.
    ///
    /// # Errors
    ///
    /// If a tensor operation fails.
    pub fn masked_weight(&self) -> Result<Tensor> {
        if !self.is_masked() {
            return Ok(self.weight.clone());
        }
        if self.weight.is_variable() {
            let mask = self.cache(|| self.pattern.mask(&self.weight))?;
            return self.weight.mul(&mask);
        }
        self.cache(|| {
            let masked = self.weight.mul(&self.pattern.mask(&self.weight)?)?;
            // The usual weight has zeros there already, and is not kept twice.
            let differs = masked.ne(&self.weight)?.max_all()?.to_scalar::<u8>()?;
            Ok(match differs {
                0 => self.weight.clone(),
                _ => masked,
            })
        })
    }

    fn cache(&self, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if let Some(tensor) = self.cached.get() {
            return Ok(tensor.clone());
        }
        let tensor = make()?;
        // Another thread may have set it in the meantime, to the same tensor.
        Ok(self.cached.get_or_init(|| tensor).clone())
    }

    /// The weight as stored, `[out, in, height, width]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[out]`, if there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// 1 where the weight is used, 0 where it is masked; `None` if
    /// nothing is masked. It has the shape of the weight.
    ///
    /// # Errors
    ///
    /// If a tensor operation fails.
    pub fn mask(&self) -> Result<Option<Tensor>> {
        let masked = self.is_masked();
        masked.then(|| self.pattern.mask(&self.weight)).transpose()
    }

    /// Whether some entries of the weight are masked.
    pub fn is_masked(&self) -> bool {
        self.pattern.open_entries() < self.pattern.entries()
    }

    /// The name under which `weight` and `bias` are stored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The positions that are read, relative to the output position.
    pub fn taps(&self) -> Vec<Tap> {
        self.pattern.taps()
    }

    /// The colour groups of its outputs; a single group if there is no grouping.
    pub fn groups(&self) -> ColourGroups {
        self.pattern.groups()
    }

    /// Rows and columns of the kernel without those at its end that are masked everywhere.
    pub fn live(&self) -> (usize, usize) {
        self.pattern.live()
    }

    /// Zeros around the input of [`Convolution::kernel`].
    pub fn padding(&self) -> Padding {
        self.pattern.padding()
    }

    /// Distance of two taps; 1 without dilation.
    pub fn dilation(&self) -> usize {
        self.pattern.dilation
    }

    /// Number of weights and biases, without masked ones.
    pub fn parameters(&self) -> usize {
        self.multiply_adds() + self.bias.as_ref().map_or(0, Tensor::elem_count)
    }

    /// Number of unmasked weights: the multiplications per position.
    pub fn multiply_adds(&self) -> usize {
        self.pattern.open_entries()
    }
}
