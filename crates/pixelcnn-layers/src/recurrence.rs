//! The recurrent layers of the PixelRNN.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_kernels::{Direction, lstm, lstm_paths};
use serde::{Deserialize, Serialize};

use crate::{ConditionShape, ConditionTerm, Graph, Maps};

/// The kind of a recurrent layer ("Pixel Recurrent Neural Networks", van den Oord et al., 2016,
/// section 3).
///
/// # Example
///
/// ```
/// use pixelcnn_layers::RecurrentLayer;
///
/// assert_eq!(RecurrentLayer::RowLstm.directions().len(), 1);
/// assert_eq!(RecurrentLayer::DiagonalBilstm.directions().len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecurrentLayer {
    /// The Row LSTM: sees a triangle above the pixel.
    RowLstm,
    /// The Diagonal BiLSTM: sees all rows above.
    DiagonalBilstm,
}

impl RecurrentLayer {
    /// The names of its directions, which begin the names of their weights, and the directions.
    pub fn directions(self) -> &'static [(&'static str, Direction)] {
        match self {
            Self::RowLstm => &[("down", Direction::Down)],
            Self::DiagonalBilstm => &[("right", Direction::Right), ("left", Direction::Left)],
        }
    }
}

/// The state-to-state part of an LSTM: the states at all pixels from the sums of the
/// input-to-state convolution. [`lstm`] has the equations.
///
/// It needs no mask: a pixel reads only states of earlier pixels (with [`Direction::Left`], of
/// later pixels of its row), with all their colours.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use pixelcnn_layers::{Direction, Recurrence};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let recurrence = Recurrence::new(Direction::Down, 4, weights)?;
/// let sums = Tensor::ones((2, 16, 5, 6), DType::F32, &Device::Cpu)?;
/// assert_eq!(recurrence.forward(&sums)?.dims(), [2, 4, 5, 6]);
/// assert_eq!(recurrence.parameters(), 16 * 4 * 3 + 2 * 4);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recurrence {
    name: String,
    direction: Direction,
    weight: Tensor,
    hidden: Tensor,
    cell: Tensor,
}

impl Recurrence {
    /// With `maps` hidden maps, and weights `weight`, `hidden` and `cell`; the last two are the
    /// initial states, which are learned.
    ///
    /// # Shapes
    ///
    /// `weight [4 maps, maps, kh, kw]` with [`Direction::kernel`], `hidden [maps]`,
    /// `cell [maps]`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(direction: Direction, maps: usize, weights: VarBuilder) -> Result<Self> {
        let (rows, columns) = direction.kernel();
        let bound = (3.0 / (rows * columns * maps).max(1) as f64).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Ok(Self {
            name: weights.prefix(),
            direction,
            weight: weights.get_with_hints((4 * maps, maps, rows, columns), "weight", init)?,
            hidden: weights.get_with_hints(maps, "hidden", Init::Const(0.0))?,
            cell: weights.get_with_hints(maps, "cell", Init::Const(0.0))?,
        })
    }

    /// The hidden states at all pixels.
    ///
    /// # Shapes
    ///
    /// `sums [b, 4 maps, h, w]` to `[b, maps, h, w]`.
    ///
    /// # Errors
    ///
    /// If the sums do not fit.
    pub fn forward(&self, sums: &Tensor) -> Result<Tensor> {
        let initial = Tensor::stack(&[&self.hidden, &self.cell], 0)?;
        lstm(sums, &self.weight, &initial, self.direction)
    }

    /// Positive where a path leads from the sums to the hidden states, for non-negative sums and
    /// weights: [`lstm_paths`].
    ///
    /// # Errors
    ///
    /// If the sums do not fit.
    pub fn paths(&self, sums: &Tensor) -> Result<Tensor> {
        lstm_paths(sums, &self.weight, self.direction)
    }

    /// The name under which its weights are stored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The order of the scan.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Number of hidden maps.
    pub fn maps(&self) -> usize {
        self.hidden.elem_count()
    }

    /// The state-to-state weight, `[4 maps, maps, kh, kw]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The initial hidden and cell states, `[maps]` each.
    pub fn initial(&self) -> [&Tensor; 2] {
        [&self.hidden, &self.cell]
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.weight.elem_count() + 2 * self.maps()
    }
}

/// Sizes of a recurrent layer; see [`Graph::recurrent_layer`].
#[derive(Clone, Copy, Debug)]
pub struct RecurrentLayerConfig {
    /// Its kind.
    pub layer: RecurrentLayer,
    /// The maps that the layer reads and adds to, `2p`.
    pub stream: ColourGroups,
    /// The hidden maps of each direction, `p`.
    pub hidden: ColourGroups,
    /// The kind and size of the condition.
    pub condition: ConditionShape,
}

impl Graph {
    /// The hidden states of a recurrence, from the sums of its input-to-state convolution.
    pub fn lstm(&mut self, recurrence: Recurrence, sums: Maps) -> Maps {
        let maps = recurrence.maps();
        self.push(crate::Operation::Lstm(Box::new(recurrence), sums), maps)
    }

    /// A residual LSTM layer: `maps + output(states)`. The states of each direction come from an
    /// input-to-state convolution with mask B (`input`; along the row for the Row LSTM, else 1x1)
    /// plus the condition's term, and a [`Recurrence`] (`state`). The states of the mirrored
    /// direction are shifted down by one row before they are added to the others, so that a pixel
    /// sees none of its own row to the right. `output` is 1x1 with mask B.
    ///
    /// # Errors
    ///
    /// If a size is impossible or the weights do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::ColourGroups;
    /// use pixelcnn_layers::{Condition, ConditionShape, Graph, RecurrentLayer, RecurrentLayerConfig};
    ///
    /// let config = RecurrentLayerConfig {
    ///     layer: RecurrentLayer::DiagonalBilstm,
    ///     stream: ColourGroups::new(3, 12)?,
    ///     hidden: ColourGroups::new(3, 6)?,
    ///     condition: ConditionShape::None,
    /// };
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let mut graph = Graph::new(config.stream);
    /// let maps = graph.recurrent_layer(graph.image(), &config, weights)?;
    /// let image = Tensor::ones((1, 12, 5, 5), DType::F32, &Device::Cpu)?;
    /// let same = graph.with_head(maps, maps).before_head(&image, &Condition::None)?;
    /// assert_eq!(same.sum_all()?.to_scalar::<f32>()?, 300.0);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn recurrent_layer(
        &mut self,
        maps: Maps,
        config: &RecurrentLayerConfig,
        weights: VarBuilder,
    ) -> Result<Maps> {
        let (stream, hidden) = (config.stream, config.hidden);
        let sums = hidden.repeated(4);
        let mut states = None;
        for (name, direction) in config.layer.directions() {
            let weights = weights.pp(name);
            let input = weights.pp("input");
            let input = match direction {
                Direction::Down => Convolution::horizontal(Mask::B, stream, sums, 3, 1, input)?,
                _ => Convolution::masked(Mask::B, stream, sums, 1, input)?,
            };
            let term = ConditionTerm::new(config.condition, sums.maps(), weights.pp("condition"))?;
            let input = self.convolution(input, maps);
            let input = self.condition(term, input);
            let state = Recurrence::new(*direction, hidden.maps(), weights.pp("state"))?;
            let mut state = self.lstm(state, input);
            if *direction == Direction::Left {
                let above = Tensor::zeros(hidden.maps(), weights.dtype(), weights.device())?;
                state = self.row_above(above, state)?;
            }
            states = Some(match states {
                None => state,
                Some(others) => self.sum(others, state),
            });
        }
        let output = Convolution::masked(Mask::B, hidden, stream, 1, weights.pp("output"))?;
        let change = self.convolution(output, states.unwrap_or(maps));
        Ok(self.sum(maps, change))
    }
}
