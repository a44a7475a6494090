//! The residual block of the plain PixelCNN.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};

use crate::{Graph, Maps};

impl Graph {
    /// `maps + widen(relu(convolve(relu(narrow(relu(maps))))))`: 1x1 to half the
    /// maps, `n x n`, 1x1 back, all with mask B (figure 5 of "Pixel Recurrent
    /// Neural Networks", van den Oord et al., 2016). The weights are `narrow`,
    /// `convolve` and `widen`.
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
    /// use pixelcnn_layers::{Condition, Graph};
    ///
    /// let (stream, inside) = (ColourGroups::new(3, 12)?, ColourGroups::new(3, 6)?);
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let mut graph = Graph::new(stream);
    /// let maps = graph.residual_block(graph.image(), [stream, inside], 3, weights)?;
    /// let image = Tensor::ones((1, 12, 5, 5), DType::F32, &Device::Cpu)?;
    /// let same = graph.with_head(maps, maps).before_head(&image, &Condition::None)?;
    /// assert_eq!(same.sum_all()?.to_scalar::<f32>()?, 300.0);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn residual_block(
        &mut self,
        maps: Maps,
        [stream, inside]: [ColourGroups; 2],
        kernel: usize,
        weights: VarBuilder,
    ) -> Result<Maps> {
        let mut change = maps;
        for (name, inputs, outputs, kernel) in [
            ("narrow", stream, inside, 1),
            ("convolve", inside, inside, kernel),
            ("widen", inside, stream, 1),
        ] {
            let weights = weights.pp(name);
            let convolution = Convolution::masked(Mask::B, inputs, outputs, kernel, weights)?;
            let rectified = self.relu(change);
            change = self.convolution(convolution, rectified);
        }
        Ok(self.sum(maps, change))
    }
}
