//! Compiles the operations of a network into a program of the engine.
//!
//! Operations that depend only on rows above are computed once per row, the others
//! pixel by pixel and colour by colour. A convolution starts a stage; elementwise
//! operations on its sums follow in the same stage.

use candle_core::{Result, bail};
use pixelcnn_conv::ColourGroups;
use pixelcnn_kernels::exact::{
    Buffer, Extent, Input, Instruction, MOST_POINTWISE, Pointwise, Program, ProgramParts,
};
use pixelcnn_layers::{ConditionTerm, Direction, Graph, Maps, Operation, Recurrence};

use crate::order::{When, order};
use crate::parts::{Parts, TapRows, in_a_row, term_sum};
use crate::stages::Open;

/// The program of a network for values of `levels` levels.
///
/// # Errors
///
/// If an operation cannot be computed in the order of the pixels; the error says why.
pub(crate) fn program(graph: &Graph, levels: usize) -> Result<Program> {
    Program::new(parts(graph, levels)?)
}

fn parts(graph: &Graph, levels: usize) -> Result<ProgramParts> {
    let mut compiler = Compiler::new(graph, levels)?;
    let (_, output) = graph.ends();
    for (index, operation) in graph.operations().iter().enumerate() {
        let pixelwise = matches!(compiler.when[index], Some(When::Pixel { .. }));
        if pixelwise {
            compiler.pixel(Maps::at(index), operation)?;
        }
    }
    if compiler.when[output.index()] == Some(When::Row) {
        let groups = ColourGroups::new(graph.image_groups().channels(), compiler.maps(output))?;
        let row = compiler.row(output)?;
        compiler.buffers[output.index()] = None;
        compiler.open = Some(Open::load(row, output, groups, false));
    }
    compiler.close()?;
    compiler.program.output = compiler.buffer(output);
    Ok(compiler.program)
}

pub(crate) struct Compiler<'a> {
    pub graph: &'a Graph,
    pub program: ProgramParts,
    /// When the operations that the output needs can be computed.
    pub when: Vec<Option<When>>,
    /// The operations that read each maps, once per read.
    readers: Vec<Vec<usize>>,
    /// The buffer of each maps.
    pub buffers: Vec<Option<usize>>,
    /// For each maps, the number of readers without a step.
    unread: Vec<usize>,
    /// Row buffers that no later step reads and that can be reused.
    free: Vec<usize>,
    /// The incomplete stage.
    pub open: Option<Open<'a>>,
}

impl<'a> Compiler<'a> {
    fn new(graph: &'a Graph, levels: usize) -> Result<Self> {
        let operations = graph.operations();
        let when = order(graph)?;
        let mut readers = vec![Vec::new(); operations.len()];
        for (index, operation) in operations.iter().enumerate() {
            if when[index].is_some() {
                operation
                    .reads()
                    .iter()
                    .for_each(|maps| readers[maps.index()].push(index));
            }
        }
        let groups = graph.image_groups();
        let mut compiler = Self {
            graph,
            program: ProgramParts {
                channels: groups.maps(),
                levels,
                groups: groups.channels(),
                buffers: Vec::new(),
                inputs: Vec::new(),
                condition: None,
                once: Vec::new(),
                instructions: Vec::new(),
                stages: Vec::new(),
                output: 0,
            },
            buffers: vec![None; operations.len()],
            unread: readers.iter().map(Vec::len).collect(),
            free: Vec::new(),
            when,
            readers,
            open: None,
        };
        compiler.program.condition = compiler.condition()?;
        Ok(compiler)
    }

    /// The buffer of the condition.
    fn condition(&mut self) -> Result<Option<usize>> {
        Ok(match self.graph.terms().first() {
            None | Some(ConditionTerm::None) => None,
            Some(ConditionTerm::Vector(weight)) => {
                Some(self.new_buffer(weight.dim(1)?, 1, 0, Extent::Image))
            }
            Some(ConditionTerm::Map(convolution)) => {
                let maps = convolution.weight().dim(1)?;
                Some(self.new_buffer(maps, 1, 0, Extent::Row))
            }
        })
    }

    pub(crate) fn maps(&self, maps: Maps) -> usize {
        self.graph.maps(maps)
    }

    fn recurrence(&self, maps: Maps) -> Option<&'a Recurrence> {
        match &self.graph.operations()[maps.index()] {
            Operation::Lstm(recurrence, _) => Some(recurrence),
            _ => None,
        }
    }

    /// Whether a convolution reads these maps at other columns than its own.
    pub(crate) fn is_read_beside(&self, maps: Maps) -> bool {
        let mut readers = self.readers[maps.index()].iter();
        readers.any(|reader| match &self.graph.operations()[*reader] {
            Operation::Convolution(convolution, _) => {
                convolution.taps().iter().any(|tap| tap.column != 0)
            }
            _ => false,
        })
    }

    /// How often maps are read; once more for the output.
    pub(crate) fn reads(&self, maps: Maps) -> usize {
        let output = maps == self.graph.ends().1;
        // An LSTM reads its own states.
        let own = self.recurrence(maps).is_some();
        self.readers[maps.index()].len() + usize::from(output) + usize::from(own)
    }

    pub(crate) fn new_buffer(
        &mut self,
        maps: usize,
        rows: usize,
        margin: usize,
        extent: Extent,
    ) -> usize {
        self.program.buffers.push(Buffer {
            maps,
            rows,
            margin,
            extent,
        });
        self.program.buffers.len() - 1
    }

    /// A buffer with numbers for each column.
    pub(crate) fn row_buffer(&mut self, maps: usize) -> usize {
        self.new_buffer(maps, 1, 0, Extent::Row)
    }

    /// A buffer with numbers for the image.
    pub(crate) fn image_buffer(&mut self, maps: usize) -> usize {
        self.new_buffer(maps, 1, 0, Extent::Image)
    }

    /// The buffer of maps.
    pub(crate) fn buffer(&mut self, maps: Maps) -> usize {
        let count = self.maps(maps);
        // A late scan continues chains where its sums are stored.
        let is_lstm = |reader: &usize| self.recurrence(Maps::at(*reader)).is_some();
        let count = match self.readers[maps.index()].iter().any(is_lstm) {
            true => in_a_row(count).len(),
            false => count,
        };
        self.buffer_of(maps, count)
    }

    /// The same with space for `count` maps, and the rows and margins that its
    /// readers need.
    fn buffer_of(&mut self, maps: Maps, count: usize) -> usize {
        if let Some(buffer) = self.buffers[maps.index()] {
            return buffer;
        }
        let (mut rows, mut margin) = match self.recurrence(maps).map(Recurrence::direction) {
            None => (1, 0),
            Some(Direction::Down) => (2, 0),
            Some(Direction::Right | Direction::Left) => (2 + self.lag(maps), 1),
        };
        for reader in &self.readers[maps.index()] {
            let lag = self.lag(Maps::at(*reader));
            rows = rows.max(1 + lag);
            match &self.graph.operations()[*reader] {
                Operation::Convolution(convolution, _) => {
                    for tap in convolution.taps() {
                        rows = rows.max(tap.row.unsigned_abs() + 1 + lag);
                        margin = margin.max(tap.column.unsigned_abs());
                    }
                }
                Operation::RowAbove(..) => rows = rows.max(2),
                _ => {}
            }
        }
        let fits = |buffer: &usize| {
            let found = &self.program.buffers[*buffer];
            (found.maps, 1, 0) == (count, rows, margin)
        };
        let reused = match self.is_passing(maps) {
            true => self.free.iter().position(fits),
            false => None,
        };
        let buffer = match reused {
            Some(index) => self.free.swap_remove(index),
            None => self.new_buffer(count, rows, margin, Extent::Row),
        };
        self.buffers[maps.index()] = Some(buffer);
        buffer
    }

    /// By how many rows maps are computed late.
    fn lag(&self, maps: Maps) -> usize {
        self.when[maps.index()].map_or(0, When::lag)
    }

    /// Adds the instruction that computes these maps, row by row.
    pub(crate) fn instruct(&mut self, maps: Maps, instruction: Instruction) {
        self.program.instructions.push(match self.lag(maps) {
            0 => instruction,
            _ => Instruction::Late(Box::new(instruction)),
        });
    }

    /// Whether only steps of the same row write and read these maps.
    fn is_passing(&self, maps: Maps) -> bool {
        let of_row = |index: usize| self.when[index] == Some(When::Row);
        let readers = &self.readers[maps.index()];
        of_row(maps.index())
            && maps != self.graph.ends().1
            && readers.iter().all(|reader| of_row(*reader))
    }

    /// Records that a step has read maps; after the last read their buffer is free.
    pub(crate) fn has_read(&mut self, maps: Maps) {
        let unread = &mut self.unread[maps.index()];
        *unread = unread.saturating_sub(1);
        if let (0, true, Some(buffer)) =
            (*unread, self.is_passing(maps), self.buffers[maps.index()])
            && (
                self.program.buffers[buffer].rows,
                self.program.buffers[buffer].margin,
            ) == (1, 0)
        {
            self.free.push(buffer);
        }
    }

    /// A buffer that is written from values.
    pub(crate) fn input(&mut self, maps: Maps, numbers: Vec<f32>) {
        let each = self.maps(maps) / self.program.channels;
        let buffer = self.buffer(maps);
        self.program.inputs.push(Input {
            buffer,
            maps: each,
            numbers,
        });
    }

    /// Computes maps that depend only on rows above, or late maps, unless they are known.
    pub(crate) fn row(&mut self, maps: Maps) -> Result<usize> {
        if let Some(buffer) = self.buffers[maps.index()] {
            return Ok(buffer);
        }
        let graph = self.graph;
        if let Operation::Convolution(convolution, from) = &graph.operations()[maps.index()] {
            let parts = Parts::new(convolution)?;
            let source = self.source(*from)?;
            let lanes = in_a_row(parts.outputs());
            let target = self.buffer_of(maps, lanes.len());
            let bias = Some(parts.bias(&lanes));
            let stride = self.program.buffers[source].maps;
            if let Some((runs, weights)) = parts.sum(TapRows::Everything, &lanes, stride) {
                let product = Instruction::Product {
                    bias,
                    source,
                    runs,
                    weights,
                    target,
                };
                self.instruct(maps, product);
            }
            self.has_read(*from);
            return Ok(target);
        }
        if let Operation::RowAbove(first, from) = &graph.operations()[maps.index()] {
            let (source, target) = (self.source(*from)?, self.buffer(maps));
            let first = crate::parts::numbers(first)?;
            self.program.instructions.push(Instruction::RowAbove {
                source,
                first,
                target,
            });
            self.has_read(*from);
            return Ok(target);
        }
        if let Operation::Lstm(recurrence, from) = &graph.operations()[maps.index()] {
            return self.late_scan(recurrence, *from, maps);
        }
        let mut read = Vec::new();
        let mut operations = self.pointwise(maps, &mut read)?;
        let target = self.buffer(maps);
        operations.push(Pointwise::Store(target));
        read.into_iter().for_each(|maps| self.has_read(maps));
        let outputs = self.maps(maps);
        let pointwise = Instruction::Pointwise {
            maps: outputs,
            operations,
        };
        self.instruct(maps, pointwise);
        Ok(target)
    }

    /// The buffer of maps that another operation reads.
    pub(crate) fn source(&mut self, maps: Maps) -> Result<usize> {
        match self.when[maps.index()] {
            Some(When::Row | When::Late { .. }) => self.row(maps),
            _ => Ok(self.buffer(maps)),
        }
    }

    /// The elementwise operations that compute maps of a row, and their inputs.
    fn pointwise(&mut self, maps: Maps, read: &mut Vec<Maps>) -> Result<Vec<Pointwise>> {
        let (from, end) = match &self.graph.operations()[maps.index()] {
            Operation::Relu(from) => (*from, Pointwise::Relu),
            Operation::Elu(from) => (*from, Pointwise::Elu),
            Operation::Gate(from) => (*from, Pointwise::Gate),
            Operation::Sum(from, other) => {
                read.push(*other);
                (*from, Pointwise::Add(self.source(*other)?))
            }
            Operation::Condition(term, from) => {
                let lag = self.lag(maps);
                (*from, Pointwise::Add(self.term(term, lag)?))
            }
            operation => bail!("engine: {operation:?} is not elementwise"),
        };
        let is_sum = matches!(
            self.graph.operations()[from.index()],
            Operation::Convolution(..)
        );
        // Maps with other readers have their own step, and so have those of another time.
        let together = self.when[from.index()] == self.when[maps.index()];
        if together && !is_sum && self.reads(from) == 1 {
            let mut inner = Vec::new();
            let mut operations = self.pointwise(from, &mut inner)?;
            let gates = operations.contains(&Pointwise::Gate) && end == Pointwise::Gate;
            if !gates && operations.len() + 2 <= MOST_POINTWISE {
                read.append(&mut inner);
                operations.push(end);
                return Ok(operations);
            }
        }
        read.push(from);
        Ok(vec![Pointwise::Load(self.source(from)?), end])
    }

    /// The buffer for the term of a condition: one for the image for a vector, one for rows
    /// for maps. The maps that it is added to may be late by `lag` rows.
    pub(crate) fn term(&mut self, term: &ConditionTerm, lag: usize) -> Result<usize> {
        let outputs = term.outputs()?;
        let lanes = in_a_row(outputs);
        let target = match term {
            ConditionTerm::Map(_) => self.new_buffer(lanes.len(), 1 + lag, 0, Extent::Row),
            _ => self.image_buffer(lanes.len()),
        };
        self.begin_with(term, Some(vec![0.0; lanes.len()]), &lanes, target)?;
        Ok(target)
    }

    /// Starts the chains of the target with a condition, or continues them.
    pub(crate) fn begin_with(
        &mut self,
        term: &ConditionTerm,
        bias: Option<Vec<f32>>,
        lanes: &[Option<usize>],
        target: usize,
    ) -> Result<()> {
        let (Some((runs, weights)), Some(source)) =
            (term_sum(term, lanes)?, self.program.condition)
        else {
            bail!("engine: a condition without weights");
        };
        let step = Instruction::Product {
            bias,
            source,
            runs,
            weights,
            target,
        };
        match term {
            ConditionTerm::Map(_) => self.program.instructions.push(step),
            _ => self.program.once.push(step),
        }
        Ok(())
    }

    /// Starts the chains of the target with a bias, or continues them.
    pub(crate) fn product(
        &mut self,
        bias: Option<Vec<f32>>,
        source: usize,
        sum: Option<crate::parts::Sum>,
        target: usize,
    ) {
        if let Some((runs, weights)) = sum {
            self.program.instructions.push(Instruction::Product {
                bias,
                source,
                runs,
                weights,
                target,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::VarBuilder;
    use pixelcnn_conv::{Convolution, Mask, Rows};

    use super::*;

    fn zeros() -> VarBuilder<'static> {
        VarBuilder::zeros(DType::F32, &Device::Cpu)
    }

    fn groups(maps: usize) -> ColourGroups {
        ColourGroups::new(3, maps).unwrap()
    }

    /// The program parts for the graph that `make` builds from the image.
    fn compiled(make: impl Fn(&mut Graph, Maps) -> Maps) -> Result<ProgramParts> {
        let mut graph = Graph::new(groups(3));
        let image = graph.image();
        let output = make(&mut graph, image);
        let graph = graph.with_head(output, output);
        program(&graph, 4)?;
        parts(&graph, 4)
    }

    fn masked(mask: Mask, maps: usize) -> Convolution {
        Convolution::masked(mask, groups(maps), groups(12), 3, zeros()).unwrap()
    }

    #[test]
    fn networks_that_see_too_much_are_refused() {
        assert!(compiled(|graph, image| graph.convolution(masked(Mask::A, 3), image)).is_ok());
        let refused = |make: &dyn Fn(&mut Graph, Maps) -> Maps, why: &str| {
            let error = compiled(make).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(
            &|graph, image| graph.convolution(masked(Mask::B, 3), image),
            "its own colour of the image",
        );
        refused(
            &|graph, image| {
                let all = Convolution::pointwise(3, 12, 1.0, zeros()).unwrap();
                graph.convolution(all, image)
            },
            "all colours of its own pixel",
        );
        refused(
            &|graph, image| {
                let maps = graph.convolution(masked(Mask::A, 3), image);
                let all = Convolution::pointwise(12, 12, 1.0, zeros()).unwrap();
                graph.convolution(all, maps)
            },
            "all colours of its own pixel",
        );
        refused(
            &|graph, image| {
                let around = Convolution::plain(3, 12, (3, 3), zeros()).unwrap();
                graph.convolution(around, image)
            },
            "rows below",
        );
        refused(
            &|graph, image| {
                let around = Convolution::plain(3, 12, (1, 3), zeros()).unwrap();
                graph.convolution(around, image)
            },
            "pixels to the right",
        );
        refused(
            &|graph, image| {
                let rows = Rows::AboveAndOwn;
                let right = Convolution::vertical(3, 12, 3, 1, rows, zeros()).unwrap();
                graph.convolution(right, image)
            },
            "pixels to the right",
        );
        refused(&|graph, image| graph.relu(image), "of the image itself");
    }

    #[test]
    fn an_output_of_rows_above_alone_is_written_pixel_by_pixel() {
        let above = |graph: &mut Graph, image| {
            let above = Convolution::vertical(3, 12, 3, 1, Rows::Above, zeros()).unwrap();
            let maps = graph.convolution(above, image);
            graph.relu(maps)
        };
        let program = compiled(above).unwrap();
        assert_eq!((program.instructions.len(), program.stages.len()), (2, 1));
        assert!(program.stages[0].chain.is_none());
    }
}
