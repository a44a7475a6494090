//! The Gated PixelCNN as a program.

use candle_core::{Result, Tensor};
use pixelcnn_conv::{ColourGroups, Convolution};
use pixelcnn_kernels::exact::{Activation, Extent, Program, Run, Step, Store, Weights};
use pixelcnn_layers::{ConditionShape, ConditionTerm, GatedBlock, Graph};
use pixelcnn_models::GatedPixelCnnConfig;

use crate::builder::{Builder, Layer};
use crate::parts::{Order, Parts, Reads, in_a_row, numbers};

/// The vertical stack and the link depend on rows above and the condition:
/// they are steps. The horizontal stack's chains go on from the link, pixel by
/// pixel.
pub(crate) fn program(graph: &Graph, config: &GatedPixelCnnConfig) -> Result<Program> {
    let (channels, levels) = (config.image.channels, config.image.levels);
    let maps = ColourGroups::new(channels, config.maps)?;
    let image = ColourGroups::new(channels, channels)?;
    let blocks: Vec<_> = graph.composites().iter().map(|it| &it.block).collect();
    let first = blocks.first().map_or(Vec::new(), |first| readers(first));
    let mut builder = Builder::new(channels, levels, &first)?;
    let condition = match config.condition_shape() {
        ConditionShape::None => None,
        ConditionShape::Vector { length } => Some(builder.condition(length, Extent::Image)),
        ConditionShape::Map { maps } => Some(builder.condition(maps, Extent::Row)),
    };
    let doubled = in_a_row(2 * maps.maps()).len();
    let scratch = Scratch {
        condition,
        sums: builder.row(doubled),
        term: builder.row(doubled),
    };
    // Both stacks read the image first.
    let mut stacks = Stacks {
        vertical: 0,
        horizontal: 0,
        groups: image,
    };
    for (index, block) in blocks.iter().enumerate() {
        let next = blocks.get(index + 1).copied();
        stacks = add_block(&mut builder, block, next, stacks, maps, &scratch)?;
    }
    builder.finish(graph, stacks.horizontal, maps)
}

/// Buffers that every block uses anew.
struct Scratch {
    condition: Option<usize>,
    /// The vertical sums.
    sums: usize,
    /// What maps that the image is conditioned on add to them.
    term: usize,
}

/// Where a block finds its inputs.
struct Stacks {
    vertical: usize,
    horizontal: usize,
    groups: ColourGroups,
}

/// What of a block reads the stacks.
fn readers(block: &GatedBlock) -> Vec<&Convolution> {
    vec![block.vertical(), block.horizontal()]
}

fn add_block(
    builder: &mut Builder,
    block: &GatedBlock,
    next: Option<&GatedBlock>,
    stacks: Stacks,
    maps: ColourGroups,
    scratch: &Scratch,
) -> Result<Stacks> {
    let (vertical, horizontal, output) = (block.vertical(), block.horizontal(), block.output());
    let vertical_term = block.vertical_condition();
    builder.whole(vertical, stacks.vertical, scratch.sums)?;
    let above = match next {
        None => stacks.vertical,
        Some(next) => {
            let term = add_term(builder, vertical_term, scratch, 2 * maps.maps())?;
            let target = builder.maps_read_by(maps.maps(), &[next.vertical()])?;
            builder.step(Step::Gate {
                source: scratch.sums,
                term,
                maps: maps.maps(),
                target,
            });
            target
        }
    };
    let sums = link_row(builder, block, maps, scratch)?;
    let gated = builder.row(maps.maps());
    builder.stage_from(
        Layer {
            convolution: horizontal,
            source: stacks.horizontal,
            groups: (stacks.groups, maps),
            activation: Activation::Gate,
            residual: None,
            targets: vec![(gated, Store::AsIs)],
        },
        None,
        sums,
    )?;
    let row = add_output(builder, output, next, (gated, stacks.horizontal), maps)?;
    Ok(Stacks {
        vertical: above,
        horizontal: row,
        groups: maps,
    })
}

/// The 1x1 convolution after the gate, and the residual path: the buffer of
/// the horizontal stack after the block.
fn add_output(
    builder: &mut Builder,
    output: &Convolution,
    next: Option<&GatedBlock>,
    (gated, before): (usize, usize),
    maps: ColourGroups,
) -> Result<usize> {
    // The head reads the last maps rectified.
    let (row, store) = match next {
        None => (builder.row(maps.maps()), Store::Rectified),
        Some(next) => {
            let row = builder.maps_read_by(maps.maps(), &[next.horizontal()])?;
            (row, Store::AsIs)
        }
    };
    builder.stage(Layer {
        convolution: output,
        source: gated,
        groups: (maps, maps),
        activation: Activation::None,
        // The image has no residual path.
        residual: (before != 0).then_some(before),
        targets: vec![(row, store)],
    })?;
    Ok(row)
}

/// What the condition adds before the vertical gate: a buffer of its terms.
fn add_term(
    builder: &mut Builder,
    term: &ConditionTerm,
    scratch: &Scratch,
    outputs: usize,
) -> Result<Option<usize>> {
    let lanes = in_a_row(outputs);
    let zeros = vec![0.0; lanes.len()];
    let Some(sum) = term_sum(term, &lanes)? else {
        return Ok(None);
    };
    let Some(condition) = scratch.condition else {
        return Ok(None);
    };
    Ok(Some(begin_with(
        builder,
        condition,
        (zeros, sum),
        scratch.term,
    )))
}

/// The chains of the horizontal sums as far as a row can be done at once:
/// bias, condition, link.
fn link_row(
    builder: &mut Builder,
    block: &GatedBlock,
    maps: ColourGroups,
    scratch: &Scratch,
) -> Result<usize> {
    let (link, horizontal) = (block.link(), block.horizontal());
    let term = block.horizontal_condition();
    let order = Order::by_colour(maps, Activation::Gate);
    let mut bias = Some(Parts::new(horizontal)?.bias(&order.lanes));
    let sums = builder.row(order.lanes.len());
    if let (Some(sum), Some(condition)) = (term_sum(term, &order.lanes)?, scratch.condition) {
        let numbers = bias.take().unwrap_or_default();
        let source = begin_with(builder, condition, (numbers, sum), sums);
        if source != sums {
            builder.step(Step::Copy {
                source,
                target: sums,
            });
        }
    }
    let linked = Parts::new(link)?.sum(Reads::Everything, &order.lanes);
    builder.product(bias, scratch.sums, linked, sums);
    Ok(sums)
}

/// Numbers, and on top of them the product with the condition: of a vector
/// once an image, in a buffer of its own; of maps in each row of `row`.
fn begin_with(
    builder: &mut Builder,
    condition: usize,
    (numbers, (runs, weights, extent)): (Vec<f32>, Sum),
    row: usize,
) -> usize {
    let target = match extent {
        Extent::Row => row,
        Extent::Image => builder.of_image(numbers.len()),
    };
    let step = Step::Product {
        bias: Some(numbers),
        source: condition,
        runs,
        weights,
        target,
    };
    match extent {
        Extent::Row => builder.step(step),
        Extent::Image => builder.once(step),
    }
    target
}

type Sum = (Vec<Run>, Weights, Extent);

/// The product of a condition's term, and where the condition has a position.
fn term_sum(term: &ConditionTerm, lanes: &[Option<usize>]) -> Result<Option<Sum>> {
    Ok(match term {
        ConditionTerm::None => None,
        ConditionTerm::Vector(weight) => Some(vector_sum(weight, lanes)?),
        ConditionTerm::Map(convolution) => {
            let sum = Parts::new(convolution)?.sum(Reads::Everything, lanes);
            sum.map(|(runs, weights)| (runs, weights, Extent::Row))
        }
    })
}

fn vector_sum(weight: &Tensor, lanes: &[Option<usize>]) -> Result<Sum> {
    let length = weight.dim(1)?;
    let weight = numbers(weight)?;
    let run = Run {
        row: 0,
        column: 0,
        length,
    };
    let weights = Weights::pack(length, lanes, |output, input| {
        weight[output * length + input]
    });
    Ok((vec![run], weights, Extent::Image))
}
