//! The scan in candle's own operations, for any device and type.

use candle_core::{Result, Tensor};

use super::Direction;
use super::steps::Steps;

/// What a step computes from its sums.
pub(super) enum Cell<'a> {
    /// The LSTM, with its initial states, `[2, m]`.
    Lstm(&'a Tensor),
    /// Its paths as numbers, of so many maps, as in [`super::lstm_paths`].
    Paths(usize),
}

impl Cell<'_> {
    /// The initial hidden and cell states, `[m, 1, 1]`.
    fn initial(&self, like: &Tensor) -> Result<[Tensor; 2]> {
        match self {
            Self::Lstm(initial) => {
                let of = |state: usize| initial.get(state)?.reshape(((), 1, 1));
                Ok([of(0)?, of(1)?])
            }
            Self::Paths(maps) => {
                let zeros = Tensor::zeros((*maps, 1, 1), like.dtype(), like.device())?;
                Ok([zeros.clone(), zeros])
            }
        }
    }

    /// Hidden and cell states from the gates o, f, i, g and the cell states before.
    fn states(&self, [o, f, i, g]: [Tensor; 4], cell: &Tensor) -> Result<[Tensor; 2]> {
        match self {
            Self::Lstm(_) => {
                let sigmoid = |gate: Tensor| gate.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5);
                let cell = ((sigmoid(f)? * cell)? + (sigmoid(i)? * g.tanh()?)?)?;
                Ok([(sigmoid(o)? * cell.tanh()?)?, cell])
            }
            Self::Paths(_) => {
                let cell = (((cell + f)? + (i + g)?)? * 0.25)?;
                Ok([((&cell + o)? * 0.5)?, cell])
            }
        }
    }
}

/// The scan of a cell, of checked shapes.
pub(super) fn scan(
    sums: &Tensor,
    weight: &Tensor,
    kind: &Cell,
    direction: Direction,
) -> Result<Tensor> {
    let (_, count, height, width) = sums.dims4()?;
    let maps = count / 4;
    let steps = Steps::new(direction, (height, width));
    let weight = weight.reshape((count, maps, ()))?.permute((0, 2, 1))?;
    let weight = weight.reshape((count, ()))?.contiguous()?;
    let initial = kind.initial(&weight)?;
    let sums = in_steps(sums, direction)?;
    let mut states: Option<[Tensor; 2]> = None;
    let mut all = Vec::with_capacity(steps.count());
    for step in 0..steps.count() {
        // Lanes that are done are computed too; nothing reads them.
        let lanes = steps.lanes(step).end;
        let before = begun(states.take(), &initial, sums.dim(1)?, lanes)?;
        let own = sums.narrow(3, step, 1)?.squeeze(3)?.narrow(2, 0, lanes)?;
        let after = one_step(&own, &weight, &before, (kind, direction))?;
        all.push(after[0].pad_with_zeros(2, 0, steps.most_lanes() - lanes)?);
        states = Some(after);
    }
    of_steps(&Tensor::stack(&all, 3)?, (height, width), direction)
}

/// Adds the initial states of lanes that begin with this step.
fn begun(
    states: Option<[Tensor; 2]>,
    initial: &[Tensor; 2],
    batch: usize,
    lanes: usize,
) -> Result<[Tensor; 2]> {
    let begin = |state: &Tensor, lanes: usize| {
        let maps = state.dim(0)?;
        state.broadcast_as((maps, batch, lanes))?.contiguous()
    };
    let [hidden, cell] = initial;
    match states {
        None => Ok([begin(hidden, lanes)?, begin(cell, lanes)?]),
        Some(states) if states[0].dim(2)? == lanes => Ok(states),
        Some([one, other]) => {
            let more = lanes - one.dim(2)?;
            Ok([
                Tensor::cat(&[one, begin(hidden, more)?], 2)?,
                Tensor::cat(&[other, begin(cell, more)?], 2)?,
            ])
        }
    }
}

/// Hidden and cell states `[m, b, lanes]` after a step.
fn one_step(
    sums: &Tensor,
    weight: &Tensor,
    [hidden, cell]: &[Tensor; 2],
    (kind, direction): (&Cell, Direction),
) -> Result<[Tensor; 2]> {
    let (maps, batch, lanes) = hidden.dims3()?;
    let before = hidden.pad_with_zeros(2, 1, 0)?.narrow(2, 0, lanes)?;
    let seen = match direction {
        Direction::Right | Direction::Left => Tensor::cat(&[&before, hidden], 0)?,
        Direction::Down => {
            let after = hidden.pad_with_zeros(2, 0, 1)?.narrow(2, 1, lanes)?;
            Tensor::cat(&[&before, hidden, &after], 0)?
        }
    };
    let seen = seen.reshape(((), batch * lanes))?;
    let sums = (sums + weight.matmul(&seen)?.reshape((4 * maps, batch, lanes))?)?;
    let gate = |index: usize| sums.narrow(0, index * maps, maps);
    kind.states([gate(0)?, gate(1)?, gate(2)?, gate(3)?], cell)
}

/// `[b, maps, h, w]` as `[maps, b, lanes, steps]`.
fn in_steps(maps: &Tensor, direction: Direction) -> Result<Tensor> {
    match direction {
        Direction::Down => maps.permute((1, 0, 3, 2))?.contiguous(),
        Direction::Right => skewed(&maps.permute((1, 0, 2, 3))?),
        Direction::Left => skewed(&maps.permute((1, 0, 2, 3))?.contiguous()?.flip(&[3])?),
    }
}

/// The inverse of [`in_steps`].
fn of_steps(
    steps: &Tensor,
    (height, width): (usize, usize),
    direction: Direction,
) -> Result<Tensor> {
    let maps = match direction {
        Direction::Down => steps.permute((1, 0, 3, 2))?,
        Direction::Right => unskewed(steps, (height, width))?.permute((1, 0, 2, 3))?,
        Direction::Left => {
            let mirrored = unskewed(steps, (height, width))?;
            let mirrored = mirrored.permute((1, 0, 2, 3))?.contiguous()?;
            return mirrored.flip(&[3]);
        }
    };
    maps.contiguous()
}

/// Offsets each row by one column from the row above: `[.., h, w]` to `[.., h, h + w - 1]`.
fn skewed(maps: &Tensor) -> Result<Tensor> {
    let (outer, inner, height, width) = maps.dims4()?;
    let columns = height + width - 1;
    // A row that is longer by one than those it is read as begins one column later in each.
    let long = maps.pad_with_zeros(3, 0, height)?;
    let flat = long.contiguous()?.flatten_from(2)?;
    let flat = flat.narrow(2, 0, height * columns)?;
    flat.contiguous()?.reshape((outer, inner, height, columns))
}

/// The inverse of [`skewed`].
fn unskewed(maps: &Tensor, (height, width): (usize, usize)) -> Result<Tensor> {
    let (outer, inner, _, _) = maps.dims4()?;
    let flat = maps.contiguous()?.flatten_from(2)?;
    let flat = flat.pad_with_zeros(2, 0, height)?.contiguous()?;
    let long = flat.reshape((outer, inner, height, height + width))?;
    long.narrow(3, 0, width)?.contiguous()
}
