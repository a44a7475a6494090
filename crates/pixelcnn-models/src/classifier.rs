//! A small classifier, to test whether samples can be recognised.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::condition::ImageEncoder;
use crate::{Classes, Definition, ImageEncoderConfig, ImageShape, Kind, ModelError, Score, Task};

/// Sizes of a [`Classifier`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::{ClassifierConfig, ImageShape};
///
/// let image = ImageShape { channels: 3, height: 32, width: 32, levels: 256 };
/// let config = ClassifierConfig { image, classes: 10.into(), encoder_maps: vec![32, 64, 128] };
/// assert_eq!(config.classes.count(), 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Shape of the images.
    pub image: ImageShape,
    /// Number of classes, or their names.
    pub classes: Classes,
    /// Feature maps after each halving of height and width.
    #[serde(alias = "encoder")]
    pub encoder_maps: Vec<usize>,
}

/// A convolutional network from an image to a logit for each class.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Classifier, ClassifierConfig, ImageShape, Parameters};
///
/// let image = ImageShape { channels: 1, height: 9, width: 9, levels: 256 };
/// let config = ClassifierConfig { image, classes: 10.into(), encoder_maps: vec![4, 4] };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = Classifier::new(&config, weights)?;
/// let images = Tensor::zeros((2, 1, 9, 9), DType::U8, &Device::Cpu)?;
/// assert_eq!(network.forward(&images)?.dims(), [2, 10]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Classifier {
    image_encoder: ImageEncoder,
}

#[typetag::serde(name = "classifier")]
impl Definition for ClassifierConfig {
    fn name(&self) -> &'static str {
        "Classifier"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        self.classes.validate()?;
        let image_encoder = ImageEncoderConfig {
            length: self.classes.count(),
            encoder_maps: self.encoder_maps.clone(),
        };
        image_encoder.validate()
    }

    fn classes(&self) -> Option<&Classes> {
        Some(&self.classes)
    }

    fn classes_mut(&mut self) -> Option<&mut Classes> {
        Some(&mut self.classes)
    }

    fn score(&self) -> Score {
        Score::ErrorRate
    }

    fn build(&self, weights: VarBuilder) -> std::result::Result<Kind, ModelError> {
        Ok(Kind::Classifier(Box::new(Classifier::new(self, weights)?)))
    }

    fn task(&self) -> Task {
        Task::Classification
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

impl Classifier {
    /// A network for the images of `config`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(config: &ClassifierConfig, weights: VarBuilder) -> Result<Self> {
        let image_encoder = ImageEncoder::new(
            &config.image,
            &config.encoder_maps,
            config.classes.count(),
            weights,
        )?;
        Ok(Self { image_encoder })
    }

    /// Logits of the classes.
    ///
    /// # Shapes
    ///
    /// Values `[b, c, h, w]` to `[b, classes]`.
    ///
    /// # Errors
    ///
    /// If the images do not fit.
    pub fn forward(&self, values: &Tensor) -> Result<Tensor> {
        self.image_encoder.forward(values)
    }
}
