//! A network of an unusual design, to test that new designs work.

use candle_core::Result;
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Rows};
use pixelcnn_layers::Graph;
use pixelcnn_models::{Definition, ImageShape};
use serde::{Deserialize, Serialize};

/// Values are embedded; each dilated block has a vertical stack with an identity path
/// and a horizontal one, ELUs instead of gates, and a skip connection into the head.
///
/// # Example
///
/// ```
/// use pixelcnn_models::ModelConfig;
/// use pixelcnn_testkit::odd::OddConfig;
///
/// let text = r#"{"kind": "odd", "maps": 7, "dilations": [1, 2],
///     "image": {"channels": 3, "height": 4, "width": 4, "levels": 8}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert!(config.get::<OddConfig>().is_some());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OddConfig {
    /// The shape of its images.
    pub image: ImageShape,
    /// Feature maps of each stack.
    pub maps: usize,
    /// The dilation of each block.
    pub dilations: Vec<usize>,
}

#[typetag::serde(name = "odd")]
impl Definition for OddConfig {
    fn name(&self) -> &'static str {
        "Odd network"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let (channels, levels) = (self.image.channels, self.image.levels);
        let groups = |maps| ColourGroups::new(channels, maps);
        let (maps, embedded) = (groups(self.maps)?, groups(2 * channels)?);
        let mut graph = Graph::new(groups(channels)?);
        let tables = Init::Uniform { lo: -1.0, up: 1.0 };
        let tables = weights.get_with_hints((channels, levels, 2), "embedding", tables)?;
        let image = graph.embedding(tables)?;

        let first = weights.pp("first");
        let [above, left] = [first.pp("above"), first.pp("left")];
        let above = Convolution::vertical(embedded.maps(), self.maps, 3, 1, Rows::Above, above)?;
        let left = Convolution::horizontal(Mask::A, embedded, maps, 3, 1, left)?;
        let mut vertical = graph.convolution(above, image);
        let horizontal = graph.convolution(left, image);
        let mut horizontal = graph.sum(horizontal, vertical);

        let mut skip = horizontal;
        for (block, dilation) in self.dilations.iter().enumerate() {
            let weights = weights.pp("blocks").pp(block);
            let [above, left] = [weights.pp("above"), weights.pp("left")];
            let rows = Rows::AboveAndOwn;
            let above = Convolution::vertical(self.maps, self.maps, 3, *dilation, rows, above)?;
            let left = Convolution::horizontal(Mask::B, maps, maps, 3, *dilation, left)?;
            let link = Convolution::pointwise(self.maps, self.maps, 1.0, weights.pp("link"))?;
            let output = Convolution::masked(Mask::B, maps, maps, 1, weights.pp("output"))?;

            let change = graph.convolution(above, vertical);
            let change = graph.elu(change);
            vertical = graph.sum(change, vertical);
            let linked = graph.convolution(link, vertical);
            let row = graph.convolution(left, horizontal);
            let row = graph.sum(row, linked);
            let row = graph.elu(row);
            let change = graph.convolution(output, row);
            horizontal = graph.sum(horizontal, change);
            skip = graph.sum(skip, change);
        }
        let logits = groups(channels * levels)?;
        let layers = [("hidden", maps), ("logits", logits)];
        graph.with_layers_of_head((skip, maps), layers, weights.pp("head"))
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}
