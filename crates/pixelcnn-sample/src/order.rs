//! When the maps of a network can be computed, in the order of the pixels.

use candle_core::{Result, bail};
use pixelcnn_conv::{ColourGroups, Colours, Convolution, Mask};
use pixelcnn_layers::{Graph, Maps, Operation};

/// When maps are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// For a whole row before any of its values: they depend only on rows above.
    Row,
    /// Pixel by pixel, and within a pixel by colour group: before the
    /// values of their group, or only after them, as the image itself.
    Pixel { groups: ColourGroups, after: bool },
}

/// When the maps of each operation that the output needs can be computed.
///
/// # Errors
///
/// If an operation sees a value that it must not see.
pub(crate) fn order(graph: &Graph) -> Result<Vec<Option<When>>> {
    let operations = graph.operations();
    let (_, output) = graph.ends();
    let mut needed = vec![false; operations.len()];
    needed[output.index()] = true;
    for (index, operation) in operations.iter().enumerate().rev() {
        if needed[index] {
            operation
                .reads()
                .iter()
                .for_each(|maps| needed[maps.index()] = true);
        }
    }
    let mut all: Vec<Option<When>> = Vec::with_capacity(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        let when = |maps: &Maps| match all.get(maps.index()).copied().flatten() {
            Some(when) => Ok(when),
            None => bail!("engine: operation {index} reads later maps"),
        };
        all.push(match needed[index] {
            false => None,
            true => Some(one(graph, Maps::at(index), operation, when)?),
        });
    }
    Ok(all)
}

fn one(
    graph: &Graph,
    maps: Maps,
    operation: &Operation,
    when: impl Fn(&Maps) -> Result<When>,
) -> Result<When> {
    let colours = graph.image_groups().channels();
    match operation {
        Operation::Image | Operation::Embedding(_) => Ok(When::Pixel {
            groups: ColourGroups::new(colours, graph.maps(maps))?,
            after: true,
        }),
        Operation::Convolution(convolution, from) => convolved(convolution, when(from)?, colours),
        Operation::Condition(_, from) | Operation::Relu(from) | Operation::Elu(from) => {
            before(when(from)?, operation)
        }
        Operation::Gate(from) => match before(when(from)?, operation)? {
            When::Row => Ok(When::Row),
            When::Pixel { groups, after } => Ok(When::Pixel {
                groups: halved(groups)?,
                after,
            }),
        },
        Operation::Sum(one, other) => {
            let pair = (
                before(when(one)?, operation)?,
                before(when(other)?, operation)?,
            );
            match pair {
                (When::Row, when) | (when, When::Row) => Ok(when),
                (one, other) if one == other => Ok(one),
                (one, other) => bail!("engine: cannot add {one:?} and {other:?}"),
            }
        }
    }
}

/// An elementwise operation needs its inputs before the value is known.
fn before(when: When, operation: &Operation) -> Result<When> {
    match when {
        When::Pixel { after: true, .. } => {
            bail!("engine: {operation:?} of the image itself sees the value that it predicts")
        }
        when => Ok(when),
    }
}

fn convolved(convolution: &Convolution, from: When, colours: usize) -> Result<When> {
    let name = convolution.name();
    let taps = convolution.taps();
    if taps.iter().any(|tap| tap.row > 0) {
        bail!("engine: {name} reads rows below");
    }
    if taps.iter().any(|tap| tap.row == 0 && tap.column > 0) && from != When::Row {
        bail!("engine: {name} reads pixels to the right");
    }
    let When::Pixel { after, .. } = from else {
        return Ok(When::Row);
    };
    let own_row = taps.iter().filter(|tap| tap.row == 0);
    let mut own_row = own_row.peekable();
    if own_row.peek().is_none() {
        return Ok(When::Row);
    }
    for tap in own_row {
        let seen = match (tap.column, tap.colours) {
            (0, Colours::All) if after || colours > 1 => Some("all colours of its own pixel"),
            (0, Colours::Masked(Mask::B)) if after => Some("its own colour of the image"),
            _ => None,
        };
        if let Some(seen) = seen {
            bail!("engine: {name} reads {seen}");
        }
    }
    let groups = convolution.groups();
    if groups.channels() != colours {
        let found = groups.channels();
        bail!("engine: {name}: outputs in {colours} colour groups expected, found {found}");
    }
    let after = false;
    Ok(When::Pixel { groups, after })
}

/// The groups after a gate.
fn halved(groups: ColourGroups) -> Result<ColourGroups> {
    let half = ColourGroups::new(groups.channels(), groups.maps() / 2)?;
    let twice = half.repeated(2);
    match (0..groups.maps()).all(|map| twice.group_of(map) == groups.group_of(map)) {
        true => Ok(half),
        false => bail!("engine: the halves of a gate have different colour groups: {groups:?}"),
    }
}
