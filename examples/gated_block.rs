//! Gated blocks in your own network: `cargo run --release --example gated_block`
//!
//! A network is a type with settings, a `kind` in `config.json`, and a list of operations.
//! With these it can be trained, audited, sampled from, saved and loaded like the models of
//! `pixelcnn-models`.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Mask};
use pixelcnn_layers::{Activation, ConditionShape, GatedBlock, GatedBlockConfig, Graph};
use pixelcnn_models::audit::audit;
use pixelcnn_models::{Condition, Definition, Given, ImageShape, Model, ModelConfig};
use pixelcnn_sample::{Engine, SampleConfig, sample};
use serde::{Deserialize, Serialize};

/// Gated blocks whose horizontal stacks all reach the head.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Skipping {
    image: ImageShape,
    blocks: usize,
    maps: usize,
}

#[typetag::serde(name = "skipping")]
impl Definition for Skipping {
    fn name(&self) -> &'static str {
        "Gated blocks with skips"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let ImageShape {
            channels, levels, ..
        } = self.image;
        let groups = |maps| ColourGroups::new(channels, maps);
        let mut graph = Graph::new(groups(channels)?);
        let (mut stacks, mut skip) = ([graph.image(); 2], None);
        for index in 0..self.blocks {
            // The first block reads the image; mask A hides the predicted value from it.
            let (mask, inputs) = match index {
                0 => (Mask::A, channels),
                _ => (Mask::B, self.maps),
            };
            let config = GatedBlockConfig {
                mask,
                vertical_after: index + 1 < self.blocks,
                inputs: groups(inputs)?,
                outputs: groups(self.maps)?,
                kernel: 3,
                dilation: 1,
                activation: Activation::Gate,
                vertical_residual: false,
                condition: ConditionShape::None,
            };
            let block = GatedBlock::new(&config, weights.pp("blocks").pp(index))?;
            stacks = graph.gated_block(block, stacks);
            skip = Some(match skip {
                None => stacks[1],
                Some(skip) => graph.sum(skip, stacks[1]),
            });
        }
        let skip = skip.unwrap_or(graph.image());
        let layers = [
            ("hidden", groups(self.maps)?),
            ("logits", groups(channels * levels)?),
        ];
        graph.with_layers_of_head((skip, groups(self.maps)?), layers, weights.pp("head"))
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let text = r#"{"kind": "skipping", "blocks": 3, "maps": 12,
        "image": {"channels": 3, "height": 8, "width": 8, "levels": 16}}"#;
    let config: ModelConfig = serde_json::from_str(text)?;
    let (model, _variables) = Model::initialise(&config, 1, &Device::Cpu)?;
    println!("{}: {} weights", config.name(), model.parameters());

    // The audit finds outputs that see too much or too little.
    let report = audit(&config, model.tensors())?;
    let seen = report.reached[0].len();
    println!(
        "audit: {} faults; an output sees {seen} values",
        report.findings.len()
    );

    let density = model.density()?;
    let images = Tensor::zeros((2, 3, 8, 8), DType::U8, &Device::Cpu)?;
    println!(
        "black images: {}",
        density.bits_per_dim(&images, &Given::Nothing)?
    );
    let drawing = SampleConfig {
        count: 1,
        ..SampleConfig::new(config.image())
    };
    let engine = Engine::new(density)?;
    let image = sample(&engine, &drawing, &Condition::None, &|_, _, _| ())?;
    println!("a sample: {:?}", image.dims());
    Ok(())
}
