//! The definition of a kind of model.

use std::any::Any;
use std::fmt::Debug;

use candle_nn::VarBuilder;
use pixelcnn_layers::Graph;

use crate::{
    Classes, ConditionEncoder, Conditioning, DensityModel, Distribution, ImageShape, Kind,
    ModelConfig, ModelError, Network, Score, Task,
};

/// A kind of model: its settings, as in `config.json`, and the parts built from
/// them.
///
/// A network of another crate implements this trait under its own `kind` and returns its
/// operations in [`Definition::network`]. It can then be trained, audited, sampled
/// from, saved and loaded like the networks of this crate. A program knows the kinds of
/// the crates that it is linked with.
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
    /// The name of the model, as in table 1 if it is there.
    fn name(&self) -> &'static str;

    /// Shape of the images.
    fn image(&self) -> ImageShape;

    /// Refuses invalid settings; the shape of the images is checked before.
    ///
    /// # Errors
    ///
    /// The error has the setting and the reason.
    fn validate(&self) -> Result<(), ModelError> {
        Ok(())
    }

    /// The operations of a pixel network. The last one gives the parameters of the
    /// distribution of each value.
    ///
    /// # Errors
    ///
    /// If the model is not a pixel network, or the weights do not fit.
    fn network(&self, weights: VarBuilder) -> candle_core::Result<Graph> {
        let _ = weights;
        candle_core::bail!("{} does not predict pixels in order", self.name())
    }

    /// The parts of the model; by default those of a pixel network.
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

    /// Requests every weight, with any values.
    ///
    /// # Errors
    ///
    /// If the source of the weights fails.
    fn ask_for_weights(&self, weights: VarBuilder) -> Result<(), ModelError> {
        self.build(weights).map(drop)
    }

    /// The distribution whose parameters are the outputs of the network.
    fn distribution(&self) -> Distribution {
        Distribution::default()
    }

    /// The conditioning of the model, if any.
    fn conditioning(&self) -> Option<&Conditioning> {
        None
    }

    /// The classes of a classifier or a class-conditional model; `None` for other
    /// models.
    fn classes(&self) -> Option<&Classes> {
        match self.conditioning() {
            Some(Conditioning::Class { classes }) => Some(classes),
            _ => None,
        }
    }

    /// The same, mutable, to set their names.
    fn classes_mut(&mut self) -> Option<&mut Classes> {
        None
    }

    /// The task for training.
    fn task(&self) -> Task {
        Task::Likelihood
    }

    /// The meaning of the model's score.
    fn score(&self) -> Score {
        Score::for_network(self.conditioning())
    }

    /// A copy of the definition.
    fn boxed(&self) -> Box<dyn Definition>;
}

impl<D: Definition> From<D> for ModelConfig {
    fn from(definition: D) -> Self {
        Self::new(Box::new(definition))
    }
}
