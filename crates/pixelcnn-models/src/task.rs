//! The task of a model.

/// The task of a model: its training loss, and what it needs from the data.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{ModelConfig, PixelCnnConfig, Task};
///
/// let config = ModelConfig::from(PixelCnnConfig::cifar10());
/// assert_eq!(config.task(), Task::Likelihood);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A likelihood with a closed-form fit: no training steps.
    Fit,
    /// The likelihood of images, with training steps.
    Likelihood,
    /// Means of images: the squared error.
    Reconstruction,
    /// Embeddings: images of one label close to each other, others far.
    Verification,
    /// Classification: the labels of images.
    Classification,
}
