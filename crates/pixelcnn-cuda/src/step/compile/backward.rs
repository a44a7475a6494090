//! The backward pass.

use candle_core::Result;

use super::{Argument, Compiler, EIGHT, Place, Product, Rows, Target};
use crate::kernel::{Source, grid};
use crate::step::StepOperation;

impl Compiler<'_> {
    /// Where the gradient of maps is collected.
    pub(super) fn target(&mut self, maps: usize) -> Result<Target> {
        if let Some(rows) = self.gradients[maps] {
            return Ok((rows, true));
        }
        let [count, channels] = self.shapes[maps];
        let rows = self.new_rows(count, channels);
        self.gradients[maps] = Some(rows);
        Ok((rows, false))
    }

    /// Passes the gradient of an operation's maps on to what it read.
    pub(super) fn backward(&mut self, index: usize) -> Result<()> {
        // Without a gradient, nothing read the maps, or a sum has done it.
        let Some(incoming) = self.gradients[index].take() else {
            return Ok(());
        };
        match self.plan.operations[index] {
            StepOperation::Image { .. } => {}
            StepOperation::Condition => self.through_condition(incoming)?,
            StepOperation::Convolution(..) => self.through_convolution(index, incoming)?,
            StepOperation::Gate(input) => {
                let from = self.maps(input)?;
                let (to, adds) = self.target(input)?;
                self.of_rows(
                    "row_gate_gradient",
                    incoming,
                    &[from.stride, incoming.stride, to.stride],
                    &[
                        from.place(),
                        incoming.place(),
                        Argument::Number(adds.into()),
                        to.place(),
                    ],
                )?;
            }
            StepOperation::Relu(input) => self.through_unit(index, input, incoming, 0)?,
            StepOperation::Elu(input) => self.through_unit(index, input, incoming, 1)?,
            StepOperation::Sum(one, other) => {
                let [own, others] = self.operands([one, other]);
                for convolution in own {
                    self.through_convolution(convolution, incoming)?;
                }
                for (number, other) in others.iter().enumerate() {
                    if self.shapes[*other][0] < incoming.count {
                        self.through_images(*other, incoming)?;
                        continue;
                    }
                    let is_last = number + 1 == others.len();
                    if is_last && self.gradients[*other].is_none() {
                        // The same numbers are the gradient of the last operand.
                        self.gradients[*other] = Some(incoming);
                        return Ok(());
                    }
                    let (to, adds) = self.target(*other)?;
                    self.add(incoming, adds.then_some(to), to)?;
                }
            }
        }
        self.memory.give(incoming.place);
        Ok(())
    }

    fn through_unit(
        &mut self,
        index: usize,
        input: usize,
        incoming: Rows,
        kind: u32,
    ) -> Result<()> {
        let outputs = self.maps(index)?;
        let (to, adds) = self.target(input)?;
        self.of_rows(
            "row_unit_gradient",
            incoming,
            &[outputs.stride, incoming.stride, to.stride],
            &[
                Argument::Number(kind),
                outputs.place(),
                incoming.place(),
                Argument::Number(adds.into()),
                to.place(),
            ],
        )
    }

    /// The gradients of a convolution's parameters and of its input.
    fn through_convolution(&mut self, index: usize, incoming: Rows) -> Result<()> {
        let factor = self.factor(index)?;
        let convolution = self.prepared(index)?;
        let (stride, outputs) = (convolution.stride, convolution.outputs);
        let of_outputs = (incoming.at(), incoming.stride);
        self.product(Product {
            transposed: [false, true],
            sizes: [stride, outputs, incoming.count],
            factors: [(factor, stride), of_outputs],
            result: (Place::Memory(convolution.gradient), stride),
            wide: true,
            adds: false,
            precision: self.plan.precision,
        });
        let input = self.input(index)?;
        if !matches!(self.plan.operations[input], StepOperation::Image { .. }) {
            let (to, adds) = self.target(input)?;
            // The place of the views is free for their gradient.
            let (result, adds_there) = match convolution.window {
                None => ((to.at(), to.stride), adds),
                Some(_) => ((factor, stride), false),
            };
            self.product(Product {
                transposed: [false, false],
                sizes: [convolution.seen(), incoming.count, outputs],
                factors: [(Place::Memory(convolution.parameters), stride), of_outputs],
                result,
                wide: false,
                adds: adds_there,
                precision: self.plan.precision,
            });
            if let Some(window) = convolution.window {
                let arguments = vec![
                    Argument::Number(self.rows as u32),
                    Argument::Window(window),
                    Argument::Place(factor),
                    Argument::Number(to.stride as u32),
                    Argument::Number(adds.into()),
                    to.place(),
                ];
                let grid = grid(self.rows * convolution.inputs.div_ceil(EIGHT));
                let name = self.typed("sums_of_row_views");
                self.kernel(Source::Step, &name, grid, arguments)?;
            }
        }
        Ok(())
    }
}
