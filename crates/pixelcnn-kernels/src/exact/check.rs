//! Checks that the parts of a program fit together. The raw memory accesses of a run
//! rely on it.

use std::ops::Range;

use candle_core::{Result, bail};

use super::product::{LANES, Weights};
use super::program::{
    Buffer, Chain, Extent, Group, Instruction, MOST_POINTWISE, Pointwise, ProgramParts, Run, Scan,
    Stage,
};
use super::stage::{lanes, parts};

/// Upper limit of the sizes of a program; their sums and products do not
/// overflow.
const MOST: usize = 1 << 30;

impl ProgramParts {
    /// Refuses parts that do not fit together.
    ///
    /// # Errors
    ///
    /// The error names the instruction or stage, and what is wrong with it.
    pub(super) fn check(&self) -> Result<()> {
        self.check_buffers()?;
        for instruction in self.once.iter().chain(&self.instructions) {
            self.check_instruction(instruction)?;
        }
        for (index, stage) in self.stages.iter().enumerate() {
            self.check_stage(stage)?;
            self.check_sums(index)?;
        }
        self.check_output()
    }

    fn check_buffers(&self) -> Result<()> {
        let (channels, levels) = (self.channels, self.levels);
        if levels < 2 || channels == 0 || self.groups == 0 || channels % self.groups != 0 {
            let groups = self.groups;
            bail!("program: {channels} channels in {groups} groups, {levels} levels");
        }
        for (index, buffer) in self.buffers.iter().enumerate() {
            let sizes = [buffer.maps, buffer.rows, buffer.margin + 1];
            if !sizes.iter().all(|size| (1..=MOST).contains(size)) {
                bail!("program: buffer {index} is empty or too large: {buffer:?}");
            }
            if buffer.extent == Extent::Image && (buffer.rows, buffer.margin) != (1, 0) {
                bail!("program: buffer {index} of an image has rows or a margin");
            }
        }
        for input in &self.inputs {
            let buffer = self.row_buffer(input.buffer)?;
            equal("maps of an input", channels * input.maps, buffer.maps)?;
            let numbers = channels * levels * input.maps;
            equal("numbers of an input", numbers, input.numbers.len())?;
        }
        match self.condition {
            Some(condition) => self.buffer(condition).map(|_| ()),
            None => Ok(()),
        }
    }

    fn buffer(&self, index: usize) -> Result<&Buffer> {
        match self.buffers.get(index) {
            Some(buffer) => Ok(buffer),
            None => bail!("program: there is no buffer {index}"),
        }
    }

    fn row_buffer(&self, index: usize) -> Result<&Buffer> {
        let buffer = self.buffer(index)?;
        match buffer.extent {
            Extent::Row => Ok(buffer),
            Extent::Image => bail!("program: buffer {index} has no columns"),
        }
    }

    /// The buffer, unless it has the image or its condition.
    fn written(&self, index: usize) -> Result<&Buffer> {
        let input = self.inputs.iter().any(|input| input.buffer == index);
        match input || self.condition == Some(index) {
            true => bail!("program: buffer {index} holds the image or its condition"),
            false => self.buffer(index),
        }
    }

    fn check_instruction(&self, instruction: &Instruction) -> Result<()> {
        let (instruction, lag) = instruction.with_lag();
        if lag > 1 {
            bail!("program: an instruction is {lag} rows late, at most one expected");
        }
        match instruction {
            Instruction::Copy { source, target } => {
                let (from, to) = (self.buffer(*source)?, self.written(*target)?);
                if (from.extent, to.extent) != (Extent::Image, Extent::Row) {
                    bail!("program: copies are from an image to a row");
                }
                equal("maps to copy", to.maps, from.maps)
            }
            Instruction::Product {
                bias,
                source,
                runs,
                weights,
                target,
            } => {
                check_bias(bias.as_deref(), weights.tiles())?;
                let (from, to) = (self.buffer(*source)?, self.written(*target)?);
                if from.extent != to.extent || source == target {
                    let (from, to) = (from.extent, to.extent);
                    bail!("program: a product from {source}, {from:?}, to {target}, {to:?}");
                }
                equal("sums of a product", to.maps, weights.tiles() * LANES)?;
                check_runs(from, runs, weights, [from.margin as isize, lag as isize])
            }
            Instruction::RowAbove {
                source,
                first,
                target,
            } => {
                let (from, to) = (self.row_buffer(*source)?, self.row_buffer(*target)?);
                self.written(*target)?;
                if source == target || from.rows < 2 + lag || from.maps < to.maps {
                    bail!("program: the row above, from {source}, {from:?}, to {target}, {to:?}");
                }
                equal("numbers of a first row", to.maps, first.len())
            }
            Instruction::Beside {
                numbers, target, ..
            } => self.check_beside(numbers, *target),
            Instruction::Scan(scan) => self.check_scan(scan, lag),
            Instruction::Late(_) => bail!("program: an instruction is late twice"),
            Instruction::Pointwise { maps, operations } => {
                let outputs = 0..*maps;
                let is_beside =
                    |it: &Pointwise| matches!(it, Pointwise::Lstm { column, .. } if *column != 0);
                if operations.iter().any(is_beside) {
                    bail!("program: cell states of a column that another thread may compute");
                }
                self.check_pointwise(operations, false, &[outputs], None)
            }
        }
    }

    fn check_beside(&self, numbers: &[f32], target: usize) -> Result<()> {
        let to = self.row_buffer(target)?;
        self.written(target)?;
        if to.margin == 0 {
            bail!("program: numbers beside buffer {target}, which has no margin");
        }
        equal("numbers beside a buffer", to.maps, numbers.len())
    }

    fn check_scan(&self, scan: &Scan, lag: usize) -> Result<()> {
        let (source, target) = (scan.source, scan.target);
        let (from, to) = (self.row_buffer(source)?, self.row_buffer(target)?);
        self.written(target)?;
        if source == target {
            bail!("program: a scan from {source} to itself");
        }
        let weights = &scan.weights;
        equal("sums of a scan", to.maps, weights.tiles() * LANES)?;
        check_runs(
            from,
            &scan.runs,
            weights,
            [from.margin as isize, lag as isize],
        )?;
        let outputs = 0..scan.maps;
        self.check_pointwise(&scan.operations, false, &[outputs], None)
    }

    /// Checks operations on groups of outputs, after a chain over `source` if there is one.
    fn check_pointwise(
        &self,
        operations: &[Pointwise],
        chain: bool,
        outputs: &[Range<usize>],
        source: Option<usize>,
    ) -> Result<()> {
        let is_load = |operation: &Pointwise| matches!(operation, Pointwise::Load(_));
        let loads = operations.iter().filter(|it| is_load(it)).count();
        let begins = operations.first().is_some_and(is_load);
        let gate = operations.iter().position(|it| it.parts() > 1);
        let gates = operations.iter().filter(|it| it.parts() > 1).count();
        if operations.len() > MOST_POINTWISE
            || gates > 1
            || (loads, begins) != (usize::from(!chain), !chain)
        {
            bail!("program: these operations cannot follow each other: {operations:?}");
        }
        let maps = outputs.last().map_or(0, |outputs| outputs.end);
        for (index, operation) in operations.iter().enumerate() {
            let before_gate = gate.is_some_and(|gate| index < gate);
            let each = if before_gate { parts(operations) } else { 1 };
            for index_of_buffer in operation.buffers() {
                let buffer = match operation {
                    Pointwise::Store(_) if Some(index_of_buffer) == source => {
                        bail!("program: a stage writes buffer {index_of_buffer}, which it reads")
                    }
                    Pointwise::Store(_) | Pointwise::Lstm { .. } => {
                        self.written(index_of_buffer)?;
                        self.row_buffer(index_of_buffer)?
                    }
                    _ => self.buffer(index_of_buffer)?,
                };
                if buffer.maps / each < maps {
                    bail!("program: {maps} maps, {each} of each, do not fit {buffer:?}");
                }
            }
            if let Pointwise::Lstm { cell, .. } = operation
                && Some(*cell) == source
            {
                bail!("program: a stage writes cell states to buffer {cell}, which it reads");
            }
            if let Pointwise::Lstm { before, column, .. } = operation
                && column.unsigned_abs() > self.buffer(*before)?.margin
            {
                bail!("program: cell states at column {column} of buffer {before}");
            }
        }
        Ok(())
    }

    fn check_stage(&self, stage: &Stage) -> Result<()> {
        let source = stage.chain.as_ref().map(|chain| chain.source);
        let outputs: Vec<_> = stage.groups.iter().map(|it| it.outputs.clone()).collect();
        self.check_pointwise(&stage.operations, source.is_some(), &outputs, source)?;
        if let Some(chain) = &stage.chain {
            self.check_chain(chain)?;
        }
        equal("colour groups of a stage", self.groups, stage.groups.len())?;
        let mut before = (0, 0);
        for group in &stage.groups {
            if group.tiles.start < before.0 || group.outputs.start < before.1 {
                bail!("program: {group:?} overlaps the group before");
            }
            self.check_group(stage, group)?;
            before = (group.tiles.end, group.outputs.end);
        }
        Ok(())
    }

    fn check_chain(&self, chain: &Chain) -> Result<()> {
        let (source, sums) = (self.row_buffer(chain.source)?, self.row_buffer(chain.sums)?);
        let tiles = chain.centre.tiles();
        equal("sums of a stage", sums.maps, tiles * LANES)?;
        if let Some((source, runs, weights)) = &chain.state {
            equal("tiles of states", tiles, weights.tiles())?;
            if *source == chain.source || runs.iter().any(|run| run.row != 0) {
                bail!("program: a stage reads states of its own row from its own buffer");
            }
            check_runs(self.row_buffer(*source)?, runs, weights, [-1, 0])?;
        }
        check_bias(chain.bias.as_deref(), tiles)?;
        if let Some((runs, weights)) = &chain.left {
            equal("tiles to the left", tiles, weights.tiles())?;
            if runs.iter().any(|run| run.row != 0) {
                bail!("program: a stage reads its own row");
            }
            check_runs(source, runs, weights, [-1, 0])?;
        }
        Ok(())
    }

    fn check_group(&self, stage: &Stage, group: &Group) -> Result<()> {
        let (tiles, outputs) = (&group.tiles, &group.outputs);
        let (inputs, most) = match &stage.chain {
            None => (0, MOST),
            Some(chain) => {
                let maps = self.buffer(chain.source)?.maps;
                (chain.centre.length().min(maps), chain.centre.tiles())
            }
        };
        let inside = tiles.start <= tiles.end && tiles.end <= most;
        if !inside || outputs.start > outputs.end || group.inputs > inputs {
            bail!("program: {group:?} is beyond the stage");
        }
        if outputs.len() > tiles.len() * lanes(&stage.operations) {
            bail!("program: {group:?} has more outputs than lanes");
        }
        Ok(())
    }

    /// Members of a team add to their parts of a stage's sums while others read
    /// and write elsewhere. So nothing else may use this memory, except if the sums are the
    /// output, which is read between the stages.
    fn check_sums(&self, index: usize) -> Result<()> {
        let stage = &self.stages[index];
        let Some(chain) = &stage.chain else {
            return Ok(());
        };
        let output = (!stage.operations.is_empty()).then_some(self.output);
        let stages = self.stages.iter().enumerate();
        let in_stages = stages.flat_map(|(other, stage)| {
            let chain = stage.chain.iter();
            let in_chain = chain.flat_map(move |chain| {
                let own = (other != index).then_some(chain.sums);
                own.into_iter().chain(chain.sources())
            });
            in_chain.chain(stage.operations.iter().flat_map(|it| it.buffers()))
        });
        let in_instructions = self.instructions.iter().flat_map(used);
        let inputs = self.inputs.iter().map(|input| input.buffer);
        let others = in_stages.chain(in_instructions).chain(inputs);
        let mut others = others.chain(self.condition).chain(output);
        let sums = chain.sums;
        if others.any(|buffer| buffer == sums) {
            bail!("program: the sums of stage {index}, buffer {sums}, are used elsewhere");
        }
        let begun = self
            .instructions
            .iter()
            .any(|instruction| match instruction {
                Instruction::Copy { target, .. } | Instruction::Product { target, .. } => {
                    *target == sums
                }
                _ => false,
            });
        match begun == chain.bias.is_some() {
            true => bail!(
                "program: stage {index} begins with a bias or where instructions have begun it"
            ),
            false => Ok(()),
        }
    }

    /// Checks that the last stage writes the output, the same number of outputs for each
    /// group, or that the output is its sums.
    fn check_output(&self) -> Result<()> {
        let Some(stage) = self.stages.last() else {
            bail!("program: no stage gives an output");
        };
        let maps = self.row_buffer(self.output)?.maps;
        let as_they_lie = |group: &Group| group.tiles.start * LANES == group.outputs.start;
        let written = match (stage.operations.last(), &stage.chain) {
            (None, Some(chain)) => {
                chain.sums == self.output && stage.groups.iter().all(as_they_lie)
            }
            (last, _) => last == Some(&Pointwise::Store(self.output)),
        };
        if !written {
            bail!("program: the last stage does not write the output");
        }
        for (index, group) in stage.groups.iter().enumerate() {
            let (start, end) = (index * maps, (index + 1) * maps);
            let even = [start, end].iter().all(|edge| edge % self.groups == 0);
            let expected = start / self.groups..end / self.groups;
            if !even || group.outputs != expected {
                bail!("program: {group:?} of an output of {maps} maps");
            }
        }
        Ok(())
    }
}

/// The buffers that an instruction uses in another way than to begin the chains of its own row.
fn used(instruction: &Instruction) -> Vec<usize> {
    match instruction.with_lag() {
        (Instruction::Product { source, target, .. }, 1)
        | (Instruction::RowAbove { source, target, .. }, _) => vec![*source, *target],
        (Instruction::Copy { source, .. } | Instruction::Product { source, .. }, _) => {
            vec![*source]
        }
        (Instruction::Pointwise { operations, .. }, _) => {
            operations.iter().flat_map(|it| it.buffers()).collect()
        }
        (Instruction::Beside { target, .. }, _) => vec![*target],
        (Instruction::Scan(scan), _) => {
            let others = scan.operations.iter().flat_map(|it| it.buffers());
            others.chain([scan.source, scan.target]).collect()
        }
        (Instruction::Late(_), _) => Vec::new(),
    }
}

fn equal(what: &str, expected: usize, found: usize) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => bail!("program: {what}: {expected} expected, found {found}"),
    }
}

fn check_bias(bias: Option<&[f32]>, tiles: usize) -> Result<()> {
    bias.map_or(Ok(()), |bias| equal("biases", tiles * LANES, bias.len()))
}

/// `last` is the last column that may be read, relative to the current one; `lag` the rows by
/// which the sum is late.
fn check_runs(
    from: &Buffer,
    runs: &[Run],
    weights: &Weights,
    [last, lag]: [isize; 2],
) -> Result<()> {
    if runs.is_empty() {
        bail!("program: a sum over nothing");
    }
    for run in runs {
        let small = |offset: isize| offset.unsigned_abs() <= MOST;
        if !(1..=MOST).contains(&run.length) || !small(run.row) || !small(run.column) {
            bail!("program: {run:?} is empty or too large");
        }
        let end = run.column + run.length.div_ceil(from.maps) as isize - 1;
        let kept = run.row <= 0 && lag - run.row < from.rows as isize;
        if !kept || run.column < -(from.margin as isize) || end > last {
            bail!("program: {run:?} is not kept by {from:?}");
        }
    }
    let lengths = runs.iter().map(|run| run.length);
    let length = lengths.fold(0usize, |sum, length| sum.saturating_add(length));
    equal("inputs of a sum", weights.length(), length)
}
