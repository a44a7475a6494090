//! The states of an LSTM in a program.

use candle_core::{Result, bail};
use pixelcnn_kernels::exact::{Extent, Instruction, Pointwise, Run, Scan, Side, Weights};
use pixelcnn_layers::{Direction, Maps, Recurrence};

use crate::compile::Compiler;
use crate::parts::{in_a_row, numbers, state_sum};

/// The hidden states to the left that a chain reads: their buffer, and the sum over them.
type State = (usize, Vec<Run>, Weights);

impl Compiler<'_> {
    /// The operation that computes the states from their gates, with buffers for the cell states.
    pub(crate) fn cells(&mut self, recurrence: &Recurrence) -> Result<Pointwise> {
        let maps = recurrence.maps();
        let [_, initial] = recurrence.initial();
        let first = numbers(initial)?;
        let (side, column) = match recurrence.direction() {
            Direction::Down => {
                let cell = self.new_buffer(maps, 2, 0, Extent::Row);
                let before = self.new_buffer(maps, 1, 0, Extent::Row);
                self.program.instructions.push(Instruction::RowAbove {
                    source: cell,
                    first,
                    target: before,
                });
                let column = 0;
                return Ok(Pointwise::Lstm {
                    before,
                    column,
                    cell,
                });
            }
            Direction::Right => (Side::Left, -1),
            Direction::Left => (Side::Right, 1),
        };
        let cell = self.new_buffer(maps, 1, 1, Extent::Row);
        self.program.once.push(Instruction::Beside {
            side,
            numbers: first,
            target: cell,
        });
        Ok(Pointwise::Lstm {
            before: cell,
            column,
            cell,
        })
    }

    /// Continues the chains of the gates with the hidden states of the row above; returns those to
    /// the left, if it reads any.
    pub(crate) fn states_above(
        &mut self,
        recurrence: &Recurrence,
        states: Maps,
        bias: &mut Option<Vec<f32>>,
        (lanes, target): (&[Option<usize>], usize),
    ) -> Result<Option<State>> {
        let (maps, buffer) = (recurrence.maps(), self.buffer(states));
        let [initial, _] = recurrence.initial();
        let first = numbers(initial)?;
        match recurrence.direction() {
            Direction::Down => {
                // A copy whose first row is the initial state.
                let above = self.new_buffer(maps, 1, 1, Extent::Row);
                self.program.instructions.push(Instruction::RowAbove {
                    source: buffer,
                    first,
                    target: above,
                });
                let sum = state_sum(recurrence, 0..3, (0, -1), lanes)?;
                self.product(bias.take(), above, Some(sum), target);
                Ok(None)
            }
            Direction::Right => {
                self.begin_beside(recurrence, states, (Side::Left, first, buffer))?;
                let above = state_sum(recurrence, 0..1, (-1, 0), lanes)?;
                self.product(bias.take(), buffer, Some(above), target);
                let (runs, weights) = state_sum(recurrence, 1..2, (0, -1), lanes)?;
                Ok(Some((buffer, runs, weights)))
            }
            Direction::Left => bail!("engine: {} is not of pixels", recurrence.name()),
        }
    }

    /// Computes the states of a scan from the right, one row late.
    pub(crate) fn late_scan(
        &mut self,
        recurrence: &Recurrence,
        from: Maps,
        states: Maps,
    ) -> Result<usize> {
        if self.reads(from) != 1 {
            return self.not_alone(recurrence);
        }
        let sums = self.source(from)?;
        let buffer = self.buffer(states);
        let cells = self.cells(recurrence)?;
        let lanes = in_a_row(4 * recurrence.maps());
        let [initial, _] = recurrence.initial();
        let first = numbers(initial)?;
        self.begin_beside(recurrence, states, (Side::Right, first, buffer))?;
        let (runs, weights) = state_sum(recurrence, 0..1, (-1, 0), &lanes)?;
        let above = Instruction::Product {
            bias: None,
            source: buffer,
            runs,
            weights,
            target: sums,
        };
        self.instruct(states, above);
        let (runs, weights) = state_sum(recurrence, 1..2, (0, 1), &lanes)?;
        let scan = Scan {
            source: buffer,
            runs,
            weights,
            target: sums,
            maps: recurrence.maps(),
            operations: vec![Pointwise::Load(sums), cells, Pointwise::Store(buffer)],
        };
        self.instruct(states, Instruction::Scan(scan));
        self.has_read(from);
        Ok(buffer)
    }

    /// Writes the initial hidden states beside each row, where others would read zeros.
    fn begin_beside(
        &mut self,
        recurrence: &Recurrence,
        states: Maps,
        (side, numbers, target): (Side, Vec<f32>, usize),
    ) -> Result<()> {
        if self.is_read_beside(states) {
            bail!(
                "engine: a convolution reads states of {} at other columns than its own",
                recurrence.name()
            );
        }
        self.program.once.push(Instruction::Beside {
            side,
            numbers,
            target,
        });
        Ok(())
    }

    /// Refuses sums that are not only those of the recurrence.
    pub(crate) fn not_alone<T>(&self, recurrence: &Recurrence) -> Result<T> {
        bail!(
            "engine: {} can only read the sums of a convolution, with a condition or without, that \
             nothing else reads",
            recurrence.name()
        )
    }
}
