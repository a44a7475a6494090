//! A small model for unit tests.

use candle_core::Device;
use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};

/// An untrained network for grey images.
pub(crate) fn grey(levels: usize) -> Model {
    let image = ImageShape {
        channels: 1,
        height: 4,
        width: 4,
        levels,
    };
    let config = ModelConfig::from(PixelCnnConfig {
        image,
        blocks: 1,
        maps: 3,
        head: 3,
        ..PixelCnnConfig::cifar10()
    });
    Model::initialise(&config, 1, &Device::Cpu).unwrap().0
}
