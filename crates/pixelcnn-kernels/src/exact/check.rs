//! Whether the parts of a program fit together. What a run does with raw
//! addresses relies on it.

use candle_core::{Result, bail};

use super::product::{LANES, Weights};
use super::program::{Activation, Buffer, Extent, Group, Program, Run, Stage, Step};

/// Above every size of a program; sums and products of such sizes do not
/// overflow.
const MOST: usize = 1 << 30;

impl Program {
    /// Refuses a program whose parts do not fit together.
    ///
    /// # Errors
    ///
    /// The step or stage and what is wrong with it.
    pub fn check(&self) -> Result<()> {
        if self.channels == 0 || self.levels < 2 || self.buffer(0)?.maps != self.channels {
            let channels = self.channels;
            bail!("program: buffer 0 of {channels} channels, 2 levels or more expected");
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
        if let Some(condition) = self.condition {
            self.buffer(condition)?;
        }
        for step in self.once.iter().chain(&self.steps) {
            self.check_step(step)?;
        }
        for (index, stage) in self.stages.iter().enumerate() {
            self.check_stage(stage, index + 1 == self.stages.len())?;
            self.check_sums(index)?;
        }
        match self.stages.is_empty() {
            true => bail!("program: no stage gives logits"),
            false => Ok(()),
        }
    }

    fn buffer(&self, index: usize) -> Result<&Buffer> {
        match self.buffers.get(index) {
            Some(buffer) => Ok(buffer),
            None => bail!("program: there is no buffer {index}"),
        }
    }

    fn check_step(&self, step: &Step) -> Result<()> {
        let (sources, target) = step.buffers();
        if target == 0 || Some(target) == self.condition || sources.contains(&target) {
            bail!("program: a step may not write buffer {target}, which it or the image needs");
        }
        let to = self.buffer(target)?;
        match step {
            Step::Copy { source, .. } => {
                let from = self.buffer(*source)?;
                if (from.extent, to.extent) != (Extent::Image, Extent::Row) {
                    bail!("program: copies are from an image to a row");
                }
                equal("maps to copy", to.maps, from.maps)
            }
            Step::Product {
                bias,
                source,
                runs,
                weights,
                ..
            } => {
                check_bias(bias.as_deref(), weights.tiles())?;
                let from = self.buffer(*source)?;
                if from.extent != to.extent {
                    let (from, to) = (from.extent, to.extent);
                    bail!("program: a product from {from:?} to {to:?}");
                }
                equal("sums of a product", to.maps, weights.tiles() * LANES)?;
                check_runs(from, runs, weights, from.margin as isize)
            }
            Step::Gate {
                source, term, maps, ..
            } => {
                let from = self.buffer(*source)?;
                if [from.extent, to.extent] != [Extent::Row; 2] {
                    bail!("program: a gate works on rows");
                }
                let enough = |buffer: &Buffer| buffer.maps / 2 >= *maps;
                let term = term.map(|term| self.buffer(term)).transpose()?;
                if !enough(from) || !term.is_none_or(enough) {
                    bail!("program: a gate of {maps} maps from {from:?} and {term:?}");
                }
                equal("maps of a gate", to.maps, *maps)
            }
        }
    }

    fn check_stage(&self, stage: &Stage, last: bool) -> Result<()> {
        let (source, sums) = (self.buffer(stage.source)?, self.buffer(stage.sums)?);
        if [source.extent, sums.extent] != [Extent::Row; 2] {
            bail!("program: a stage works on rows");
        }
        let tiles = stage.centre.tiles();
        equal("sums of a stage", sums.maps, tiles * LANES)?;
        check_bias(stage.bias.as_deref(), tiles)?;
        if let Some((runs, weights)) = &stage.left {
            equal("tiles to the left", tiles, weights.tiles())?;
            if runs.iter().any(|run| run.row != 0) {
                bail!("program: a stage reads its own row");
            }
            check_runs(source, runs, weights, -1)?;
        }
        let written: Vec<usize> = stage.targets.iter().map(|(target, _)| *target).collect();
        if written.len() > 2 || written.contains(&stage.source) || written.contains(&0) {
            bail!("program: a stage writes one or two buffers, not its source or the image");
        }
        equal("colours of a stage", self.channels, stage.groups.len())?;
        let mut before = (0, 0);
        for group in &stage.groups {
            if group.tiles.start < before.0 || group.outputs.start < before.1 {
                bail!("program: {group:?} overlaps the colour before");
            }
            self.check_group(stage, group)?;
            before = (group.tiles.end, group.outputs.end);
            if last {
                equal("logits", self.levels, group.outputs.len())?;
            }
        }
        Ok(())
    }

    fn check_group(&self, stage: &Stage, group: &Group) -> Result<()> {
        let (tiles, outputs) = (&group.tiles, &group.outputs);
        let inputs = stage.centre.length().min(self.buffer(stage.source)?.maps);
        let inside = tiles.start <= tiles.end && tiles.end <= stage.centre.tiles();
        if !inside || outputs.start > outputs.end || group.inputs > inputs {
            bail!("program: {group:?} is beyond the stage");
        }
        let lanes = match stage.activation {
            Activation::None => LANES,
            Activation::Gate => LANES / 2,
        };
        if outputs.len() > tiles.len() * lanes {
            bail!("program: {group:?} has more outputs than lanes");
        }
        let targets = stage.targets.iter().map(|(target, _)| *target);
        for buffer in targets.chain(stage.residual) {
            let buffer = self.buffer(buffer)?;
            if buffer.extent != Extent::Row || buffer.maps < outputs.end {
                bail!("program: {group:?} does not fit {buffer:?}");
            }
        }
        Ok(())
    }

    /// Members of a team add to their parts of a stage's sums while others read
    /// and write elsewhere: nothing else may lie there.
    fn check_sums(&self, index: usize) -> Result<()> {
        let sums = self.stages[index].sums;
        let stages = self.stages.iter().enumerate();
        let in_stages = stages.flat_map(|(other, stage)| {
            let targets = stage.targets.iter().map(|(target, _)| *target);
            let own = (other != index).then_some(stage.sums);
            targets
                .chain(stage.residual)
                .chain(own)
                .chain([stage.source])
        });
        let in_steps = self.steps.iter().flat_map(Step::apart_from_sums);
        let mut others = in_stages.chain(in_steps).chain(self.condition).chain([0]);
        if others.any(|buffer| buffer == sums) {
            bail!("program: the sums of stage {index}, buffer {sums}, are used elsewhere");
        }
        let begun = self.steps.iter().any(|step| step.buffers().1 == sums);
        match begun == self.stages[index].bias.is_some() {
            true => bail!("program: stage {index} begins with a bias or where steps have begun it"),
            false => Ok(()),
        }
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

/// `last` is the last column that may be read, relative to the present one.
fn check_runs(from: &Buffer, runs: &[Run], weights: &Weights, last: isize) -> Result<()> {
    if runs.is_empty() {
        bail!("program: a sum over nothing");
    }
    for run in runs {
        let small = |offset: isize| offset.unsigned_abs() <= MOST;
        if !(1..=MOST).contains(&run.length) || !small(run.row) || !small(run.column) {
            bail!("program: {run:?} is empty or too large");
        }
        let end = run.column + run.length.div_ceil(from.maps) as isize - 1;
        let kept = (0..from.rows as isize).contains(&-run.row);
        if !kept || run.column < -(from.margin as isize) || end > last {
            bail!("program: {run:?} is not kept by {from:?}");
        }
    }
    let lengths = runs.iter().map(|run| run.length);
    let length = lengths.fold(0usize, |sum, length| sum.saturating_add(length));
    equal("inputs of a sum", weights.length(), length)
}
