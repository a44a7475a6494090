//! When the maps of a network can be computed, in the order of the pixels.

use candle_core::{Result, bail};
use pixelcnn_conv::{ColourGroups, Colours, Convolution, Mask};
use pixelcnn_layers::{Direction, Graph, Maps, Operation, Recurrence};

/// When maps are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// For a whole row before any of its values: they depend only on rows above.
    Row,
    /// Pixel by pixel, and within a pixel by colour group: before the
    /// values of their group, or only after them, as the image itself.
    Pixel { groups: ColourGroups, after: bool },
    /// Only when the row is complete: maps that see their own values or later ones of the row,
    /// since an operation with this index. Operations that read only rows above may read them.
    Late { since: usize },
}

impl When {
    /// By how many rows the maps are computed late.
    pub(crate) fn lag(self) -> usize {
        usize::from(matches!(self, Self::Late { .. }))
    }
}

/// When the maps of each operation that the output needs can be computed.
///
/// # Errors
///
/// If the output sees a value that it must not see.
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
    wait_for_scans(operations, &mut all);
    match all[output.index()] {
        Some(When::Late { since }) => {
            let operation = &operations[since];
            let read = operation.reads().first().map(|maps| all[maps.index()]);
            let Some(Some(from)) = read else {
                bail!("engine: the output is the image itself");
            };
            let colours = graph.image_groups().channels();
            bail!("engine: {}", too_much(operation, from, colours))
        }
        _ => Ok(all),
    }
}

/// What makes the maps of an operation late.
fn too_much(operation: &Operation, from: When, colours: usize) -> String {
    match operation {
        Operation::Convolution(convolution, _) => {
            let seen = seen_late(convolution, from, colours).unwrap_or("its own row");
            format!("{} reads {seen}", convolution.name())
        }
        Operation::Lstm(recurrence, _) => {
            format!("{} reads states of pixels to the right", recurrence.name())
        }
        _ => format!("{operation:?} of the image itself sees the value that it predicts"),
    }
}

fn one(
    graph: &Graph,
    maps: Maps,
    operation: &Operation,
    when: impl Fn(&Maps) -> Result<When>,
) -> Result<When> {
    let colours = graph.image_groups().channels();
    // An elementwise operation needs its inputs before the value is known, or is late.
    let elementwise = |from: &Maps| {
        Ok::<_, candle_core::Error>(match when(from)? {
            When::Pixel { after: true, .. } => When::Late {
                since: maps.index(),
            },
            when => when,
        })
    };
    match operation {
        Operation::Image | Operation::Rescaled(_) | Operation::Embedding(_) => Ok(When::Pixel {
            groups: ColourGroups::new(colours, graph.maps(maps))?,
            after: true,
        }),
        Operation::Convolution(convolution, from) => {
            convolved(convolution, when(from)?, colours, maps.index())
        }
        Operation::Condition(_, from) | Operation::Relu(from) | Operation::Elu(from) => {
            elementwise(from)
        }
        Operation::RowAbove(_, from) => when(from).map(|_| When::Row),
        Operation::Lstm(recurrence, from) => scanned(recurrence, when(from)?, maps.index()),
        Operation::Gate(from) => match elementwise(from)? {
            When::Pixel { groups, after } => Ok(When::Pixel {
                groups: part_of(groups, 2)?,
                after,
            }),
            when => Ok(when),
        },
        Operation::Sum(one, other) => match (elementwise(one)?, elementwise(other)?) {
            (late @ When::Late { .. }, _) | (_, late @ When::Late { .. }) => Ok(late),
            (When::Row, when) | (when, When::Row) => Ok(when),
            (one, other) if one == other => Ok(one),
            (one, other) => bail!("engine: cannot add {one:?} and {other:?}"),
        },
    }
}

/// What a convolution reads that is not known before its own values.
fn seen_late(convolution: &Convolution, from: When, colours: usize) -> Option<&'static str> {
    let taps = convolution.taps();
    let mut own_row = taps.iter().filter(|tap| tap.row == 0).peekable();
    let after = match from {
        When::Row => return None,
        When::Late { .. } => return own_row.peek().map(|_| "its own row"),
        When::Pixel { after, .. } => after,
    };
    if own_row.clone().any(|tap| tap.column > 0) {
        return Some("pixels to the right");
    }
    own_row.find_map(|tap| match (tap.column, tap.colours) {
        (0, Colours::All) if after || colours > 1 => Some("all colours of its own pixel"),
        (0, Colours::Masked(Mask::B)) if after => Some("its own colour of the image"),
        _ => None,
    })
}

fn convolved(convolution: &Convolution, from: When, colours: usize, index: usize) -> Result<When> {
    let name = convolution.name();
    let taps = convolution.taps();
    if taps.iter().any(|tap| tap.row > 0) {
        bail!("engine: {name} reads rows below");
    }
    if from == When::Row || taps.iter().all(|tap| tap.row < 0) {
        return Ok(When::Row);
    }
    if seen_late(convolution, from, colours).is_some() {
        return Ok(match from {
            When::Late { since } => When::Late { since },
            _ => When::Late { since: index },
        });
    }
    let groups = convolution.groups();
    if groups.channels() != colours {
        let found = groups.channels();
        bail!("engine: {name}: outputs in {colours} colour groups expected, found {found}");
    }
    let after = false;
    Ok(When::Pixel { groups, after })
}

/// When the states of an LSTM are known, from its sums.
fn scanned(recurrence: &Recurrence, sums: When, index: usize) -> Result<When> {
    match (recurrence.direction(), sums) {
        (Direction::Left, When::Pixel { .. } | When::Late { .. }) => {
            Ok(When::Late { since: index })
        }
        (_, When::Pixel { groups, after }) if !after => Ok(When::Pixel {
            groups: part_of(groups, 4)?,
            after,
        }),
        _ => bail!(
            "engine: {} can only read sums that are computed pixel by pixel",
            recurrence.name()
        ),
    }
}

/// Sums that only a late scan reads are computed late too, for whole rows.
fn wait_for_scans(operations: &[Operation], all: &mut [Option<When>]) {
    let mut readers = vec![0; operations.len()];
    let needed = operations
        .iter()
        .zip(&*all)
        .filter(|(_, when)| when.is_some());
    for maps in needed.flat_map(|(operation, _)| operation.reads()) {
        readers[maps.index()] += 1;
    }
    for (index, operation) in operations.iter().enumerate() {
        let (Operation::Lstm(_, sums), Some(When::Late { since })) = (operation, all[index]) else {
            continue;
        };
        let mut next = Some(*sums);
        while let Some(maps) = next.take() {
            let is_of_pixels = matches!(all[maps.index()], Some(When::Pixel { after: false, .. }));
            if is_of_pixels && readers[maps.index()] == 1 {
                match &operations[maps.index()] {
                    Operation::Convolution(..) => {}
                    Operation::Condition(_, from) => next = Some(*from),
                    _ => continue,
                }
                all[maps.index()] = Some(When::Late { since });
            }
        }
    }
}

/// The groups after a gate of so many parts.
fn part_of(groups: ColourGroups, parts: usize) -> Result<ColourGroups> {
    let part = ColourGroups::new(groups.channels(), groups.maps() / parts)?;
    let all = part.repeated(parts);
    match (0..groups.maps()).all(|map| all.group_of(map) == groups.group_of(map)) {
        true => Ok(part),
        false => bail!("engine: the parts of a gate have different colour groups: {groups:?}"),
    }
}
