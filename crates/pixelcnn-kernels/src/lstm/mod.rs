//! The LSTM of the PixelRNN: a scan over the rows or over the diagonals of an image.

mod cells;
mod fast;
mod portable;
mod product;
mod steps;

use candle_core::{Result, Tensor, bail};

use crate::path::Path;
use fast::Scan;
use portable::{Cell, scan};

/// The order in which an LSTM goes through an image, and the states that each pixel reads.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::Direction;
///
/// assert_eq!(Direction::Down.kernel(), (1, 3));
/// assert_eq!(Direction::Left.kernel(), (2, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Row by row from the top, as in the Row LSTM: a pixel reads the three nearest hidden states
    /// of the row above, and the cell state above.
    Down,
    /// Diagonal by diagonal from the top left, as in the first direction of the Diagonal BiLSTM:
    /// a pixel reads the hidden states above and to its left, and the cell state to its left.
    Right,
    /// The same on the mirrored image, from the top right: a pixel reads the hidden states above
    /// and to its right, and the cell state to its right.
    Left,
}

impl Direction {
    /// Height and width of the state-to-state kernel. That of [`Direction::Down`] has the columns
    /// left, middle and right of the row above; the others have the hidden state above, then the
    /// one of the same row.
    pub fn kernel(self) -> (usize, usize) {
        match self {
            Self::Down => (1, 3),
            Self::Right | Self::Left => (2, 1),
        }
    }
}

/// The hidden states of a convolutional LSTM at all pixels ("Pixel Recurrent Neural Networks",
/// van den Oord et al., 2016, equation 3).
///
/// With the sums `s` of a pixel, the hidden states `h'` that it reads, and the cell state `c'`:
///
/// ```text
/// (o, f, i, g) = s + weight * h'              in this order, a quarter of the sums each
/// c = sigmoid(f) c' + sigmoid(i) tanh(g)
/// h = sigmoid(o) tanh(c)
/// ```
///
/// The states before the first step, above the first row or before the first column, are the
/// initial ones. Beyond the other edges, hidden states are zero.
///
/// On the CPU in f32, all images of a batch go through the scan in groups of a few, each step as
/// matrix products, and the gradients are those of a backward pass through time written by hand.
/// The result does not depend on the number of threads.
///
/// # Shapes
///
/// `sums [b, 4m, h, w]`, `weight [4m, m, kh, kw]` with [`Direction::kernel`], `initial [2, m]`
/// with the hidden and then the cell state; the result is `[b, m, h, w]`.
///
/// # Errors
///
/// If shapes do not fit, a size is zero, or dtypes or devices differ.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_kernels::{Direction, lstm};
///
/// let sums = Tensor::zeros((2, 8, 5, 6), DType::F32, &Device::Cpu)?;
/// let weight = Tensor::zeros((8, 2, 1, 3), DType::F32, &Device::Cpu)?;
/// let initial = Tensor::new(&[[0f32, 0.0], [1.0, 1.0]], &Device::Cpu)?;
/// let states = lstm(&sums, &weight, &initial, Direction::Down)?;
/// assert_eq!(states.dims(), [2, 2, 5, 6]);
/// // Half of the cell state of 1 passes the forget gate, and half of its tanh the output gate.
/// let first = states.flatten_all()?.to_vec1::<f32>()?[0];
/// assert!((first - 0.5 * 0.5f32.tanh()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn lstm(
    sums: &Tensor,
    weight: &Tensor,
    initial: &Tensor,
    direction: Direction,
) -> Result<Tensor> {
    let maps = check(sums, weight, direction)?;
    if initial.dims() != [2, maps] {
        let found = initial.dims();
        bail!("lstm: initial states [2, {maps}] expected, found {found:?}");
    }
    let others = [("weight", weight), ("initial", initial)];
    match Path::choose("lstm", ("sums", sums), others)? {
        Path::Portable => scan(sums, weight, &Cell::Lstm(initial), direction),
        Path::Fast(level) => {
            let tracked = [sums, weight, initial].iter().any(|it| it.track_op());
            let scan = Scan::new(level, sums, direction, tracked)?;
            sums.contiguous()?
                .apply_op3(&weight.contiguous()?, &initial.contiguous()?, scan)
        }
    }
}

/// As [`lstm`], but with additions in place of gates and products: the result is positive where
/// a path leads from positive sums through positive weights. For the audit of a network.
///
/// ```text
/// c = (c' + f + i + g) / 4
/// h = (c + o) / 2
/// ```
///
/// The weights are divided by their largest sum for one gate, so that long paths do not overflow.
/// The initial states are zero.
///
/// # Errors
///
/// As [`lstm`].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_kernels::{Direction, lstm_paths};
///
/// let sums = Tensor::ones((1, 4, 3, 3), DType::F64, &Device::Cpu)?;
/// let weight = Tensor::ones((4, 1, 2, 1), DType::F64, &Device::Cpu)?;
/// let paths = lstm_paths(&sums, &weight, Direction::Right)?;
/// assert!(paths.flatten_all()?.to_vec1::<f64>()?.iter().all(|paths| *paths > 0.0));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn lstm_paths(sums: &Tensor, weight: &Tensor, direction: Direction) -> Result<Tensor> {
    let maps = check(sums, weight, direction)?;
    let most = weight.flatten_from(1)?.sum(1)?.max(0)?;
    // All weights may be zero.
    let scale = most.maximum(&(most.ones_like()? * f64::from(f32::MIN_POSITIVE))?)?;
    scan(
        sums,
        &weight.broadcast_div(&scale)?,
        &Cell::Paths(maps),
        direction,
    )
}

/// Checks the shapes of sums and weight; returns the number of hidden maps.
fn check(sums: &Tensor, weight: &Tensor, direction: Direction) -> Result<usize> {
    let (_, count, _, _) = sums.dims4()?;
    let maps = count / 4;
    let (rows, columns) = direction.kernel();
    if sums.elem_count() == 0 || count % 4 != 0 {
        let found = sums.dims();
        bail!("lstm: sums with four gates of at least one map expected, found {found:?}");
    }
    if weight.dims() != [count, maps, rows, columns] {
        let (expected, found) = ([count, maps, rows, columns], weight.dims());
        bail!("lstm: a weight {expected:?} expected, found {found:?}");
    }
    Ok(maps)
}

#[cfg(test)]
mod tests;
