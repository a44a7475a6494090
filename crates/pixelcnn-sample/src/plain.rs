//! The plain PixelCNN as a program.

use candle_core::Result;
use pixelcnn_conv::ColourGroups;
use pixelcnn_kernels::exact::{Activation, Program, Store};
use pixelcnn_models::{PixelCnn, PixelCnnConfig};

use crate::builder::{Builder, Layer};

/// What a masked convolution reads above is summed for a whole row; its own
/// row, pixel by pixel. The stream is kept twice: as it is, for the residual
/// paths, and rectified, as the next layer reads it.
pub(crate) fn program(network: &PixelCnn, config: &PixelCnnConfig) -> Result<Program> {
    let channels = config.image.channels;
    let groups = |maps| ColourGroups::new(channels, maps);
    let (stream, maps) = (groups(2 * config.maps)?, groups(config.maps)?);
    let mut builder = Builder::new(channels, config.image.levels, &[network.first()])?;
    let kept = builder.row(stream.maps());
    let mut rectified = builder.row(stream.maps());
    let layer = |convolution, source, groups, targets| Layer {
        convolution,
        source,
        groups,
        activation: Activation::None,
        residual: None,
        targets,
    };
    let both = |rectified| vec![(kept, Store::AsIs), (rectified, Store::Rectified)];
    let image = (groups(channels)?, stream);
    builder.stage(layer(network.first(), 0, image, both(rectified)))?;
    for block in network.blocks() {
        let [narrow, convolve, widen] = block.convolutions();
        let narrowed = builder.maps_read_by(maps.maps(), &[convolve])?;
        let convolved = builder.row(maps.maps());
        let next = builder.row(stream.maps());
        let only = |target| vec![(target, Store::Rectified)];
        builder.stage(layer(narrow, rectified, (stream, maps), only(narrowed)))?;
        builder.stage(layer(convolve, narrowed, (maps, maps), only(convolved)))?;
        builder.stage(Layer {
            residual: Some(kept),
            ..layer(widen, convolved, (maps, stream), both(next))
        })?;
        rectified = next;
    }
    builder.finish(network.head(), rectified, stream)
}
