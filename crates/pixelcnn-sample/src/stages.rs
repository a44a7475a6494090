//! Builds the stages of a program, one after the other.

use candle_core::{Result, bail};
use pixelcnn_conv::{ColourGroups, Convolution};
use pixelcnn_kernels::exact::{Chain, Instruction, MOST_POINTWISE, Pointwise, Stage};
use pixelcnn_layers::{ConditionTerm, Maps, Operation, Recurrence};

use crate::compile::Compiler;
use crate::order::When;
use crate::parts::{Order, Parts, TapRows};

/// A stage that can still grow.
pub(crate) struct Open<'a> {
    sums: Option<Sums<'a>>,
    operations: Vec<Pointwise>,
    /// The maps it has computed so far; the last maps are the current ones.
    made: Vec<Made>,
    groups: ColourGroups,
}

/// The sums at the start of a stage.
struct Sums<'a> {
    convolution: &'a Convolution,
    source: Maps,
    /// The first inputs of its chains, after the bias.
    terms: Vec<&'a ConditionTerm>,
    rows: Vec<(&'a Convolution, Maps)>,
    /// The recurrence whose gates they are, and its states.
    recurrence: Option<(&'a Recurrence, Maps)>,
}

struct Made {
    maps: Maps,
    /// Number of operations before them.
    after: usize,
    /// How often the stage itself has used them.
    used: usize,
    /// Whether they are already stored in their own buffer.
    stored: bool,
}

impl Open<'_> {
    /// A stage that starts with the numbers of a buffer, which are `maps`; `stored` if
    /// the buffer belongs to these maps.
    pub(crate) fn load(buffer: usize, maps: Maps, groups: ColourGroups, stored: bool) -> Self {
        let made = Made {
            maps,
            after: 1,
            used: 0,
            stored,
        };
        Self {
            sums: None,
            operations: vec![Pointwise::Load(buffer)],
            made: vec![made],
            groups,
        }
    }

    fn use_last(&mut self) {
        if let Some(made) = self.made.last_mut() {
            made.used += 1;
        }
    }

    fn at_hand(&self) -> Option<Maps> {
        self.made.last().map(|made| made.maps)
    }

    /// Whether `maps` are its unchanged sums.
    fn is_bare(&self, maps: Maps) -> bool {
        self.operations.is_empty() && self.at_hand() == Some(maps)
    }

    /// Whether another operation, and the stores of all results, fit.
    fn has_room(&self, operation: &Operation) -> bool {
        let is_gate = |it: &Pointwise| matches!(it, Pointwise::Gate | Pointwise::Lstm { .. });
        let again = matches!(operation, Operation::Gate(_)) && self.operations.iter().any(is_gate);
        !again && self.operations.len() + self.made.len() + 2 <= MOST_POINTWISE
    }
}

impl<'a> Compiler<'a> {
    /// Adds an operation of the pixel-by-pixel part.
    pub(crate) fn pixel(&mut self, maps: Maps, operation: &'a Operation) -> Result<()> {
        let Some(When::Pixel { groups, .. }) = self.when[maps.index()] else {
            bail!("engine: maps {} are not of pixels", maps.index());
        };
        match operation {
            Operation::Image => {
                self.scaled(maps, [-1.0, 1.0]);
            }
            Operation::Rescaled(range) => {
                self.scaled(maps, range.map(|end| end as f32));
            }
            Operation::Embedding(embedding) => {
                self.input(maps, crate::parts::numbers(embedding)?);
            }
            Operation::Convolution(convolution, source) => {
                self.close()?;
                self.open = Some(Open {
                    sums: Some(Sums {
                        convolution,
                        source: *source,
                        terms: Vec::new(),
                        rows: Vec::new(),
                        recurrence: None,
                    }),
                    operations: Vec::new(),
                    made: Vec::new(),
                    groups,
                });
            }
            Operation::Relu(from) => self.next(*from, operation)?.push(Pointwise::Relu),
            Operation::Elu(from) => self.next(*from, operation)?.push(Pointwise::Elu),
            Operation::Gate(from) => self.next(*from, operation)?.push(Pointwise::Gate),
            Operation::Condition(term, from) => match self.bare_sums(*from) {
                Some(sums) => sums.terms.push(term),
                None => {
                    let term = self.term(term, 0)?;
                    self.next(*from, operation)?.push(Pointwise::Add(term));
                }
            },
            Operation::Sum(one, other) => self.sum(*one, *other, operation)?,
            Operation::Lstm(recurrence, from) => {
                let cells = self.cells(recurrence)?;
                let Some(sums) = self.bare_sums(*from) else {
                    return self.not_alone(recurrence);
                };
                sums.recurrence = Some((&**recurrence, maps));
                if let Some(open) = &mut self.open {
                    open.operations.push(cells);
                }
            }
            Operation::RowAbove(..) => bail!("engine: the row above is known for the whole row"),
        }
        self.made(maps, groups);
        Ok(())
    }

    /// An input of the values, scaled to a range.
    fn scaled(&mut self, maps: Maps, [lowest, highest]: [f32; 2]) {
        let levels = self.program.levels;
        let factor = (highest - lowest) / (levels - 1) as f32;
        let scaled = (0..levels).map(|value| (value as f32).mul_add(factor, lowest));
        let numbers = std::iter::repeat_n(scaled, self.program.channels);
        self.input(maps, numbers.flatten().collect());
    }

    /// Makes the maps just computed the current ones for the next operation.
    fn made(&mut self, maps: Maps, groups: ColourGroups) {
        if let Some(open) = &mut self.open {
            open.groups = groups;
            open.made.push(Made {
                maps,
                after: open.operations.len(),
                used: 0,
                stored: false,
            });
        }
    }

    /// The operations of a stage whose current maps are `from`: the open stage, or a new
    /// stage that starts with them.
    fn next(&mut self, from: Maps, operation: &Operation) -> Result<&mut Vec<Pointwise>> {
        let fits = |open: &Open| open.at_hand() == Some(from) && open.has_room(operation);
        if !self.open.as_ref().is_some_and(fits) {
            self.close()?;
            let Some(When::Pixel { groups, .. }) = self.when[from.index()] else {
                bail!("engine: maps {} are not of pixels", from.index());
            };
            let open = Open::load(self.buffer(from), from, groups, true);
            self.open = Some(open);
        }
        match &mut self.open {
            Some(open) => {
                open.use_last();
                Ok(&mut open.operations)
            }
            None => bail!("engine: no stage is open"),
        }
    }

    /// A sum continues with the current maps; maps that are known for the whole row
    /// may start its chains instead.
    fn sum(&mut self, one: Maps, other: Maps, operation: &Operation) -> Result<()> {
        let graph = self.graph;
        let last = self.open.as_ref().and_then(Open::at_hand);
        let of_row = |maps: Maps| self.when[maps.index()] == Some(When::Row);
        let (from, other) = match of_row(one) || (last == Some(other) && !of_row(other)) {
            true => (other, one),
            false => (one, other),
        };
        if !of_row(other) {
            let other = self.buffer(other);
            self.next(from, operation)?.push(Pointwise::Add(other));
            return Ok(());
        }
        if let Operation::Convolution(convolution, source) = &graph.operations()[other.index()]
            && self.reads(other) == 1
            && let Some(sums) = self.bare_sums(from)
        {
            sums.rows.push((convolution, *source));
            return Ok(());
        }
        let other = self.row(other)?;
        self.next(from, operation)?.push(Pointwise::Add(other));
        Ok(())
    }

    /// The current, unchanged sums `maps`, if no other operation needs them; they count
    /// as used.
    fn bare_sums(&mut self, maps: Maps) -> Option<&mut Sums<'a>> {
        let once = self.reads(maps) == 1;
        let open = self.open.as_mut()?;
        match once && open.is_bare(maps) {
            true => {
                open.use_last();
                open.sums.as_mut()
            }
            false => None,
        }
    }

    /// Completes the open stage, and stores the maps that others read.
    pub(crate) fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let parts = open.operations.iter().find_map(|it| match it {
            Pointwise::Gate => Some(2),
            Pointwise::Lstm { .. } => Some(4),
            _ => None,
        });
        let parts = parts.unwrap_or(1);
        let order = Order::by_colour(open.groups, parts);
        let (chain, seen) = match &open.sums {
            None => (None, vec![0; order.tiles.len()]),
            Some(sums) => {
                let (chain, seen) = self.chain(sums, &order)?;
                (Some(chain), seen)
            }
        };
        let output = self.graph.ends().1;
        match &chain {
            // An output is long, so sums that are already in its order are not copied.
            Some(chain) if open.is_bare(output) && order.is_in_a_row() => {
                self.buffers[output.index()] = Some(chain.sums);
            }
            _ => {
                for made in open.made.iter().rev() {
                    if made.used < self.reads(made.maps) && !made.stored {
                        let store = Pointwise::Store(self.buffer(made.maps));
                        open.operations.insert(made.after, store);
                    }
                }
            }
        }
        self.program.stages.push(Stage {
            chain,
            groups: order.groups(&seen),
            operations: open.operations,
        });
        Ok(())
    }

    /// The chains of sums, in this order: bias, condition, maps known for the
    /// row, hidden states above, taps above, to the left, hidden states to the left, and the pixel
    /// itself.
    fn chain(&mut self, sums: &Sums, order: &Order) -> Result<(Chain, Vec<usize>)> {
        let lanes = &order.lanes;
        let parts = Parts::new(sums.convolution)?;
        let target = self.row_buffer(lanes.len());
        let mut bias = parts.bias(lanes);
        for (convolution, _) in &sums.rows {
            let more = Parts::new(convolution)?.bias(lanes);
            bias.iter_mut()
                .zip(&more)
                .for_each(|(bias, more)| *bias += more);
        }
        let mut bias = Some(bias);
        let of_image = sums
            .terms
            .iter()
            .any(|term| matches!(term, ConditionTerm::Vector(_)));
        let begun = match of_image {
            true => self.image_buffer(lanes.len()),
            false => target,
        };
        for term in &sums.terms {
            self.begin_with(term, bias.take(), lanes, begun)?;
        }
        if begun != target {
            self.program.instructions.push(Instruction::Copy {
                source: begun,
                target,
            });
        }
        for (convolution, maps) in &sums.rows {
            let source = self.source(*maps)?;
            let stride = self.program.buffers[source].maps;
            let sum = Parts::new(convolution)?.sum(TapRows::Everything, lanes, stride);
            self.product(bias.take(), source, sum, target);
            self.has_read(*maps);
        }
        let state = match sums.recurrence {
            None => None,
            Some((recurrence, states)) => {
                self.states_above(recurrence, states, &mut bias, (lanes, target))?
            }
        };
        let source = self.buffer(sums.source);
        let stride = self.program.buffers[source].maps;
        if let Some(above) = parts.sum(TapRows::Above, lanes, stride) {
            self.product(bias.take(), source, Some(above), target);
        }
        let Some(When::Pixel { groups, .. }) = self.when[sums.source.index()] else {
            bail!("engine: {} reads no pixels", sums.convolution.name());
        };
        let (centre, seen) = parts.centre(lanes, groups);
        let chain = Chain {
            source,
            bias,
            left: parts.sum(TapRows::Left, lanes, stride),
            state,
            centre,
            sums: target,
        };
        Ok((chain, seen))
    }
}
