//! What a kind of model is.

use std::any::Any;
use std::fmt::Debug;

use candle_nn::VarBuilder;
use pixelcnn_layers::Graph;

use crate::{
    Classes, ConditionEncoder, Conditioning, DensityModel, Distribution, ImageShape, Kind,
    ModelConfig, ModelError, Network, Score, Task,
};

/// A kind of model: its settings as `config.json` holds them, and what is built of
/// them.
///
/// A network of another crate implements this under a `kind` of its own, gives its
/// operations by [`Definition::network`], and can then be trained, audited, sampled
/// from, saved and loaded like those of this crate. A program knows the kinds of the
/// crates that it is linked with.
///
/// # Example
///
/// A network of a single masked convolution:
///
/// ```
/// use candle_core::{Device, Result};
/// use candle_nn::VarBuilder;
/// use pixelcnn_conv::{ColourGroups, Convolution, Mask};
/// use pixelcnn_layers::Graph;
/// use pixelcnn_models::{Definition, ImageShape, Model, ModelConfig};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Single {
///     image: ImageShape,
/// }
///
/// #[typetag::serde(name = "single")]
/// impl Definition for Single {
///     fn name(&self) -> &'static str {
///         "Single convolution"
///     }
///     fn image(&self) -> ImageShape {
///         self.image
///     }
///     fn network(&self, weights: VarBuilder) -> Result<Graph> {
///         let ImageShape { channels, levels, .. } = self.image;
///         let image = ColourGroups::new(channels, channels)?;
///         let logits = ColourGroups::new(channels, channels * levels)?;
///         let mut graph = Graph::new(image);
///         let only = Convolution::masked(Mask::A, image, logits, 3, weights)?;
///         let logits = graph.convolution(only, graph.image());
///         Ok(graph.with_head(logits, logits))
///     }
///     fn boxed(&self) -> Box<dyn Definition> {
///         Box::new(self.clone())
///     }
/// }
///
/// let text = r#"{"kind": "single",
///     "image": {"channels": 1, "height": 4, "width": 4, "levels": 8}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// assert_eq!(model.parameters(), 8 * 4 + 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[typetag::serde(tag = "kind")]
pub trait Definition: Any + Debug + Send + Sync {
    /// The model's name, as in table 1 where it is there.
    fn name(&self) -> &'static str;

    /// The images it is for.
    fn image(&self) -> ImageShape;

    /// Refuses settings that make no sense; the images' shape is checked before.
    ///
    /// # Errors
    ///
    /// The setting and why it is refused.
    fn validate(&self) -> Result<(), ModelError> {
        Ok(())
    }

    /// The operations of a network of pixels in order, which end with the parameters
    /// of each value's distribution.
    ///
    /// # Errors
    ///
    /// If the model is none, or the weights do not fit.
    fn network(&self, weights: VarBuilder) -> candle_core::Result<Graph> {
        let _ = weights;
        candle_core::bail!("{} does not predict pixels in order", self.name())
    }

    /// The model's parts: those of a network, unless it is another kind of model.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    fn build(&self, weights: VarBuilder) -> Result<Kind, ModelError> {
        let condition = weights.pp("condition");
        let graph = self.network(weights)?;
        let network = Network::new(graph, self.image(), self.distribution())?;
        let encoder = ConditionEncoder::new(self.conditioning(), self.image(), condition)?;
        let density = DensityModel::from_network(network, encoder)?;
        Ok(Kind::Density(Box::new(density)))
    }

    /// Asks for every weight, whatever is in it.
    ///
    /// # Errors
    ///
    /// Those of the source of the weights.
    fn ask_for_weights(&self, weights: VarBuilder) -> Result<(), ModelError> {
        self.build(weights).map(drop)
    }

    /// The distribution that a network's outputs are the parameters of.
    fn distribution(&self) -> Distribution {
        Distribution::default()
    }

    /// What the model is conditioned on, if on anything.
    fn conditioning(&self) -> Option<&Conditioning> {
        None
    }

    /// The classes that the model tells apart or is conditioned on; `None` where it
    /// knows of none.
    fn classes(&self) -> Option<&Classes> {
        match self.conditioning() {
            Some(Conditioning::Class { classes }) => Some(classes),
            _ => None,
        }
    }

    /// The same, to be given their names.
    fn classes_mut(&mut self) -> Option<&mut Classes> {
        None
    }

    /// What training makes of it.
    fn task(&self) -> Task {
        Task::Likelihood
    }

    /// What the number is that the model is scored by.
    fn score(&self) -> Score {
        Score::for_network(self.conditioning())
    }

    /// The same definition once more.
    fn boxed(&self) -> Box<dyn Definition>;
}

impl<D: Definition> From<D> for ModelConfig {
    fn from(definition: D) -> Self {
        Self::new(Box::new(definition))
    }
}
