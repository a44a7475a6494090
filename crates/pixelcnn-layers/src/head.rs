//! The head, which computes the parameters of the distributions.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};

use crate::{Graph, Maps};

impl Graph {
    /// Completes the network with a head after the given maps: a ReLU and a 1x1
    /// convolution with mask B for each of `layers`, which are names and outputs. The paper
    /// has two layers, and the last one gives logits.
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
    /// let layers = [("hidden", hidden), ("logits", logits)];
    /// let graph = graph.with_layers_of_head((image, maps), layers, weights)?;
    /// let maps = Tensor::ones((1, 12, 5, 5), DType::F32, &Device::Cpu)?;
    /// assert_eq!(graph.head(&maps)?.dims(), [1, 768, 5, 5]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_layers_of_head<const N: usize>(
        mut self,
        (maps, mut inputs): (Maps, ColourGroups),
        layers: [(&str, ColourGroups); N],
        weights: VarBuilder,
    ) -> Result<Self> {
        let mut output = maps;
        for (name, outputs) in layers {
            let convolution = Convolution::masked(Mask::B, inputs, outputs, 1, weights.pp(name))?;
            let rectified = self.relu(output);
            (output, inputs) = (self.convolution(convolution, rectified), outputs);
        }
        Ok(self.with_head(maps, output))
    }

    /// Adds to the output of the head a 1x1 convolution with mask B of its input maps, of the
    /// groups `inputs`, without a ReLU: linear functions of the stack then reach the parameters of
    /// the distributions directly.
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
    /// let (maps, logits) = (ColourGroups::new(1, 4)?, ColourGroups::new(1, 2)?);
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let graph = Graph::new(maps);
    /// let image = graph.image();
    /// let graph = graph.with_layers_of_head((image, maps), [("logits", logits)], weights.clone())?;
    /// let graph = graph.with_shortcut_of_head((maps, logits), weights.pp("shortcut"))?;
    /// let names: Vec<_> = graph.convolutions().iter().map(|it| it.name()).collect();
    /// assert_eq!(names, ["logits", "shortcut"]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_shortcut_of_head(
        mut self,
        (inputs, outputs): (ColourGroups, ColourGroups),
        weights: VarBuilder,
    ) -> Result<Self> {
        let (head, output) = self.ends();
        let shortcut = Convolution::masked(Mask::B, inputs, outputs, 1, weights)?;
        let shortcut = self.convolution(shortcut, head);
        let output = self.sum(output, shortcut);
        Ok(self.with_head(head, output))
    }
}
