//! What a model is made for.

/// What a model is made for: what its training lowers, and what it needs of the data.
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
    /// A likelihood in closed form: nothing is trained by steps.
    Fit,
    /// The likelihood of images, by steps.
    Likelihood,
    /// Means of images, by the squared error.
    Reconstruction,
    /// Images of one label close to each other, those of others far.
    Verification,
    /// The labels of images.
    Classification,
}
