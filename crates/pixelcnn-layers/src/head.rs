//! The head, which gives logits.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};

use crate::{Graph, Maps};

impl Graph {
    /// The complete network, with a ReLU, a 1x1 convolution, a ReLU and a 1x1
    /// convolution to `outputs`, both with mask B, behind some maps. Its weights
    /// are `hidden` and `logits`.
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
    /// use pixelcnn_layers::Graph;
    ///
    /// let (maps, hidden) = (ColourGroups::new(3, 12)?, ColourGroups::new(3, 6)?);
    /// let logits = ColourGroups::new(3, 3 * 256)?;
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let graph = Graph::new(maps);
    /// let image = graph.image();
    /// let graph = graph.with_layers_of_head(image, [maps, hidden, logits], weights)?;
    /// let maps = Tensor::ones((1, 12, 5, 5), DType::F32, &Device::Cpu)?;
    /// assert_eq!(graph.head(&maps)?.dims(), [1, 768, 5, 5]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_layers_of_head(
        mut self,
        maps: Maps,
        [inputs, hidden, outputs]: [ColourGroups; 3],
        weights: VarBuilder,
    ) -> Result<Self> {
        let mut output = maps;
        for (name, inputs, outputs) in [("hidden", inputs, hidden), ("logits", hidden, outputs)] {
            let convolution = Convolution::masked(Mask::B, inputs, outputs, 1, weights.pp(name))?;
            let rectified = self.relu(output);
            output = self.convolution(convolution, rectified);
        }
        Ok(self.with_head(maps, output))
    }
}
