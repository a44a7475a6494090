//! The plain PixelCNN as a program.

use candle_core::{Result, bail};
use pixelcnn_conv::ColourGroups;
use pixelcnn_kernels::exact::{Activation, Program, Store};
use pixelcnn_layers::Graph;
use pixelcnn_models::PixelCnnConfig;

use crate::builder::{Builder, Layer};

/// What a masked convolution reads above is summed for a whole row; its own
/// row, pixel by pixel. The stream is kept twice: as it is, for the residual
/// paths, and rectified, as the next layer reads it.
pub(crate) fn program(graph: &Graph, config: &PixelCnnConfig) -> Result<Program> {
    let channels = config.image.channels;
    let groups = |maps| ColourGroups::new(channels, maps);
    let (stream, maps) = (groups(2 * config.maps)?, groups(config.maps)?);
    let convolutions = graph.convolutions();
    let [first, blocks @ .., _, _] = &convolutions[..] else {
        bail!("a network without a head");
    };
    let mut builder = Builder::new(channels, config.image.levels, &[first])?;
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
    builder.stage(layer(first, 0, image, both(rectified)))?;
    for block in blocks.chunks(3) {
        let [narrow, convolve, widen] = block else {
            bail!("a residual block without three convolutions");
        };
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
    builder.finish(graph, rectified, stream)
}
