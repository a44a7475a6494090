//! What stands between the convolutions.

use candle_core::{Result, Tensor};
use pixelcnn_kernels::Gate;

/// Which non-linearities a network uses.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_layers::Activation;
///
/// let maps = Tensor::new(&[[[[-2f32]], [[1.0]]]], &Device::Cpu)?;
/// assert_eq!(Activation::Linear.rectify(&maps)?.flatten_all()?.to_vec1::<f32>()?, [-2.0, 1.0]);
/// let positive = Activation::Paper.rectify(&maps)?;
/// assert_eq!(positive.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Gates (eq. 2) and rectifiers, as in the paper.
    #[default]
    Paper,
    /// None: a gate adds its halves, a rectifier passes everything. The
    /// network is then linear, and with absolute weights the gradient of an
    /// output is a sum over paths, positive exactly where a path exists: what
    /// an audit of the receptive field needs.
    Linear,
}

impl Activation {
    /// What the gates of a block do.
    pub fn gate(self) -> Gate {
        match self {
            Activation::Paper => Gate::TanhSigmoid,
            Activation::Linear => Gate::Sum,
        }
    }

    /// The positive part, or everything.
    ///
    /// # Errors
    ///
    /// Those of the tensor operation.
    pub fn rectify(self, maps: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Paper => maps.relu(),
            Activation::Linear => Ok(maps.clone()),
        }
    }
}
