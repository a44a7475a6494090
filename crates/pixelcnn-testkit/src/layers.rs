//! Every layer.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Rows};
use pixelcnn_layers::{
    Activation, Condition, ConditionShape, GatedBlock, GatedBlockConfig, Graph, RecurrentLayer,
    RecurrentLayerConfig,
};

/// Which inputs may change an output of a layer.
///
/// # Example
///
/// ```
/// use pixelcnn_testkit::layers::Sees;
///
/// assert!(Sees::Before.allows((0, 0, 0), (-1, 5, 2))); // a row above
/// assert!(!Sees::Before.allows((0, 0, 1), (0, 0, 1))); // itself
/// assert!(Sees::UpTo.allows((0, 0, 1), (0, 0, 1)));
/// assert!(!Sees::RowsAbove.allows((0, 0, 0), (0, -1, 0)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Nothing.
    Nothing,
    /// Rows above.
    RowsAbove,
    /// Rows above and the row of the output.
    RowsUpToOwn,
    /// Earlier pixels, and earlier colours of the same pixel.
    Before,
    /// Earlier pixels, and the same and earlier colours of the same pixel.
    UpTo,
}

impl Sees {
    /// Whether an output at (row, column, colour) may depend on an input.
    pub fn allows(self, output: (isize, isize, usize), input: (isize, isize, usize)) -> bool {
        match self {
            Sees::Nothing => false,
            Sees::RowsAbove => input.0 < output.0,
            Sees::RowsUpToOwn => input.0 <= output.0,
            Sees::Before => input < output,
            Sees::UpTo => input <= output,
        }
    }
}

/// The function of a layer: some maps in, some maps out.
pub type Forward = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>>;

/// One layer in one size; [`table`] lists all.
pub struct LayerCase {
    /// Its name.
    pub name: String,
    /// Groups of each input's maps.
    pub inputs: Vec<ColourGroups>,
    /// Groups of each output's maps.
    pub outputs: Vec<ColourGroups>,
    /// For each output, which values of each input it may depend on.
    pub sees: Vec<Vec<Sees>>,
    /// Makes the layer from its weights.
    #[allow(clippy::type_complexity)]
    pub build: Box<dyn Fn(VarBuilder<'static>) -> Result<Forward>>,
}

/// Every layer for 1, 3 and 4 channels and kernels 1 to 7.
///
/// # Errors
///
/// If a case has impossible sizes.
///
/// # Example
///
/// ```
/// let table = pixelcnn_testkit::layers::table()?;
/// assert!(table.iter().any(|case| case.name.starts_with("gated block")));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn table() -> Result<Vec<LayerCase>> {
    let mut cases = Vec::new();
    for channels in [1, 3, 4] {
        let image = ColourGroups::new(channels, channels)?;
        // This number is not divisible by the number of channels.
        let maps = ColourGroups::new(channels, 2 * channels + 1)?;
        for kernel in [1, 3, 5, 7] {
            cases.extend(convolutions(image, maps, kernel));
            cases.extend(gated_blocks(image, maps, kernel));
            cases.push(residual_block(channels, maps, kernel)?);
        }
        cases.push(head(maps)?);
        cases.extend(recurrent_layers(channels, maps)?);
    }
    Ok(cases)
}

fn single(
    name: String,
    inputs: ColourGroups,
    outputs: ColourGroups,
    sees: Sees,
    build: impl Fn(VarBuilder<'static>) -> Result<Convolution> + 'static,
) -> LayerCase {
    LayerCase {
        name,
        inputs: vec![inputs],
        outputs: vec![outputs],
        sees: vec![vec![sees]],
        build: Box::new(move |weights| {
            let convolution = build(weights)?;
            Ok(Box::new(move |maps: &[Tensor]| {
                Ok(vec![convolution.forward(&maps[0])?])
            }))
        }),
    }
}

fn convolutions(image: ColourGroups, maps: ColourGroups, kernel: usize) -> Vec<LayerCase> {
    let doubled = maps.repeated(2);
    let c = image.channels();
    let name = |what: &str| format!("{what}, kernel {kernel}, {c} channels");
    let (from, to) = (maps.maps(), doubled.maps());
    let mut cases = vec![
        single(
            name("vertical, own row"),
            maps,
            doubled,
            Sees::RowsUpToOwn,
            {
                move |weights| {
                    Convolution::vertical(from, to, kernel, 1, Rows::AboveAndOwn, weights)
                }
            },
        ),
        single(name("horizontal A"), image, doubled, Sees::Before, {
            move |weights| Convolution::horizontal(Mask::A, image, doubled, kernel, 1, weights)
        }),
        single(name("horizontal B, dilated"), maps, doubled, Sees::UpTo, {
            move |weights| Convolution::horizontal(Mask::B, maps, doubled, kernel, 2, weights)
        }),
        single(name("masked A"), image, maps, Sees::Before, {
            move |weights| Convolution::masked(Mask::A, image, maps, kernel, weights)
        }),
        single(name("masked B"), maps, doubled, Sees::UpTo, {
            move |weights| Convolution::masked(Mask::B, maps, doubled, kernel, weights)
        }),
    ];
    if kernel > 1 {
        cases.push(single(
            name("vertical, rows above"),
            image,
            doubled,
            Sees::RowsAbove,
            move |weights| Convolution::vertical(c, to, kernel, 2, Rows::Above, weights),
        ));
    }
    cases
}

fn gated_blocks(image: ColourGroups, maps: ColourGroups, kernel: usize) -> Vec<LayerCase> {
    let mut cases = Vec::new();
    for condition in [
        ConditionShape::None,
        ConditionShape::Vector { length: 3 },
        ConditionShape::Map { maps: 2 },
    ] {
        for (name, mask, vertical_after) in [
            ("First", Mask::A, true),
            ("Middle", Mask::B, true),
            ("Last", Mask::B, false),
        ] {
            if mask == Mask::A && kernel == 1 {
                continue;
            }
            let config = GatedBlockConfig {
                mask,
                vertical_after,
                inputs: match mask {
                    Mask::A => image,
                    Mask::B => maps,
                },
                outputs: maps,
                kernel,
                dilation: 1,
                activation: Activation::Gate,
                vertical_residual: false,
                condition,
            };
            cases.push(gated_block(name, config));
        }
    }
    cases
}

fn gated_block(name: &str, config: GatedBlockConfig) -> LayerCase {
    use Sees::{Before, Nothing, RowsAbove, RowsUpToOwn, UpTo};
    // What each output sees of the image, or of the vertical and the horizontal maps.
    let (vertical, horizontal) = match config.mask {
        Mask::A => (vec![RowsAbove], vec![Before]),
        Mask::B => (vec![RowsUpToOwn, Nothing], vec![RowsUpToOwn, UpTo]),
    };
    let sees = match config.vertical_after {
        false => vec![horizontal],
        true => vec![vertical, horizontal],
    };
    LayerCase {
        name: format!(
            "gated block {name}, kernel {}, {} channels, {:?}",
            config.kernel,
            config.inputs.channels(),
            config.condition
        ),
        inputs: vec![config.inputs; sees[0].len()],
        outputs: vec![config.outputs; sees.len()],
        sees,
        build: Box::new(move |weights| {
            let block = GatedBlock::new(&config, weights)?;
            Ok(Box::new(move |maps: &[Tensor]| {
                let condition = condition_of(config.condition, &maps[0])?;
                let stacks = [&maps[0], &maps[maps.len() - 1]];
                let (vertical, horizontal) = block.forward(stacks, &condition)?;
                Ok(vertical.into_iter().chain([horizontal]).collect())
            }))
        }),
    }
}

fn residual_block(channels: usize, maps: ColourGroups, kernel: usize) -> Result<LayerCase> {
    let stream = ColourGroups::new(channels, 2 * maps.maps())?;
    Ok(LayerCase {
        name: format!("residual block, kernel {kernel}, {channels} channels"),
        inputs: vec![stream],
        outputs: vec![stream],
        sees: vec![vec![Sees::UpTo]],
        build: Box::new(move |weights| {
            let mut graph = Graph::new(stream);
            let changed = graph.residual_block(graph.image(), [stream, maps], kernel, weights)?;
            let graph = graph.with_head(changed, changed);
            Ok(Box::new(move |maps: &[Tensor]| {
                Ok(vec![graph.before_head(&maps[0], &Condition::None)?])
            }))
        }),
    })
}

fn recurrent_layers(channels: usize, hidden: ColourGroups) -> Result<Vec<LayerCase>> {
    let stream = ColourGroups::new(channels, 2 * hidden.maps())?;
    let mut cases = Vec::new();
    for (name, layer) in [
        ("row lstm", RecurrentLayer::RowLstm),
        ("diagonal bilstm", RecurrentLayer::DiagonalBilstm),
    ] {
        for condition in [
            ConditionShape::None,
            ConditionShape::Vector { length: 3 },
            ConditionShape::Map { maps: 2 },
        ] {
            let config = RecurrentLayerConfig {
                layer,
                stream,
                hidden,
                condition,
            };
            cases.push(LayerCase {
                name: format!("{name}, kernel 3, {channels} channels, {condition:?}"),
                inputs: vec![stream],
                outputs: vec![stream],
                sees: vec![vec![Sees::UpTo]],
                build: Box::new(move |weights| {
                    let mut graph = Graph::new(stream);
                    let changed = graph.recurrent_layer(graph.image(), &config, weights)?;
                    let graph = graph.with_head(changed, changed);
                    Ok(Box::new(move |maps: &[Tensor]| {
                        let condition = condition_of(condition, &maps[0])?;
                        Ok(vec![graph.before_head(&maps[0], &condition)?])
                    }))
                }),
            });
        }
    }
    Ok(cases)
}

/// A condition for maps, of their type and on their device.
fn condition_of(shape: ConditionShape, maps: &Tensor) -> Result<Condition> {
    let (b, _, h, w) = maps.dims4()?;
    Ok(match crate::condition(shape, b, h, w, maps.dtype())? {
        Condition::None => Condition::None,
        Condition::Vector(vector) => Condition::Vector(vector.to_device(maps.device())?),
        Condition::Map(map) => Condition::Map(map.to_device(maps.device())?),
    })
}

fn head(maps: ColourGroups) -> Result<LayerCase> {
    let levels = 5;
    let channels = maps.channels();
    let logits = ColourGroups::new(channels, channels * levels)?;
    Ok(LayerCase {
        name: format!("head, {channels} channels"),
        inputs: vec![maps],
        outputs: vec![logits],
        sees: vec![vec![Sees::UpTo]],
        build: Box::new(move |weights| {
            let graph = Graph::new(maps);
            let image = graph.image();
            let graph = graph.with_layers_of_head(
                (image, maps),
                [("hidden", maps), ("logits", logits)],
                weights,
            )?;
            Ok(Box::new(move |maps: &[Tensor]| {
                Ok(vec![graph.head(&maps[0])?])
            }))
        }),
    })
}
