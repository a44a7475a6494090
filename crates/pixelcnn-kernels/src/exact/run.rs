//! Runs a program on images, row by row and pixel by pixel.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Error, Result, bail};

use super::memory::{Memory, Shared, Span};
use super::program::{Extent, Instruction, Program, ProgramParts, Stage};
use super::stage::Worker;
use super::team::{
    Barrier, Broken, Member, Met, Presence, Sharing, each_in_a_thread, sharing_threads, team_sizes,
};
use crate::Level;

/// Limit on the images of a team at a time: more images would not reuse weights
/// more often, because of the number of registers, and would take memory.
pub const MOST_IMAGES: usize = 32;

/// The position of a value in its image.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::ValueIndex;
///
/// let green = ValueIndex { row: 0, column: 3, channel: 1 };
/// assert_eq!(green.column, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueIndex {
    /// From the top.
    pub row: usize,
    /// From the left.
    pub column: usize,
    /// In the order of the channels.
    pub channel: usize,
}

/// Chooses the values of one image.
pub trait Driver: Send {
    /// Whether all values of a row are known in advance; if so,
    /// writes them, `[column, channel]`. All positions of a known row are computed at
    /// once.
    ///
    /// # Errors
    ///
    /// An error of the driver; it ends the run.
    fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool>;

    /// Whether [`Driver::value`] must be called for the values of a known row. If no image needs
    /// them, the parameters of this row are not computed.
    fn scores(&mut self, row: usize) -> bool {
        let _ = row;
        true
    }

    /// Returns the value at a position, given the parameters of its distribution, such as the
    /// logits of its channel. It is called for each value of the image in order, also for
    /// known values, except those of rows that no image [scores](Driver::scores).
    ///
    /// # Errors
    ///
    /// An error of the driver; it ends the run.
    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32>;

    /// Called for each finished row, `[column, channel]`.
    fn row_done(&mut self, row: usize, values: &[u32]) {
        let _ = (row, values);
    }
}

/// Images to go through.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::{Job, Sharing};
///
/// let sharing = Sharing::default();
/// let job = Job { height: 32, width: 32, condition: &[], threads: 2, sharing };
/// assert_eq!(job.height, 32);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The conditions: vectors `[image, length]` or maps `[image, row,
    /// column, map]`, as the program needs; empty if it needs none.
    pub condition: &'a [f32],
    /// Number of threads, at most 512. If there are enough images, each thread has its own
    /// images; otherwise several threads share an image.
    pub threads: usize,
    /// Limits how many threads share an image.
    pub sharing: Sharing,
}

/// Goes through an image for each driver.
///
/// # Errors
///
/// If the condition or the sizes do not fit, a driver fails, or a value is not below the program's levels.
///
/// # Example
///
/// The program in the example of [`ProgramParts`], drawn greedily from a row of zeros:
///
/// ```
/// # use pixelcnn_kernels::exact::{
/// #     Buffer, Chain, Extent, Group, Input, Pointwise, Program, ProgramParts, Run, Stage,
/// #     Weights,
/// # };
/// use pixelcnn_kernels::exact::{Driver, Job, Sharing, ValueIndex, run};
///
/// # let lanes = [Some(0), Some(1)];
/// # let buffer = |maps| Buffer { maps, rows: 1, margin: 1, extent: Extent::Row };
/// # let left = Weights::pack(1, &lanes, |output, _| 5.0 * output as f32);
/// # let chain = Chain {
/// #     source: 0,
/// #     bias: Some(vec![0.0; 16]),
/// #     left: Some((vec![Run { row: 0, column: -1, length: 1 }], left)),
/// #     state: None,
/// #     centre: Weights::pack(0, &lanes, |_, _| 0.0),
/// #     sums: 1,
/// # };
/// # let program = Program::new(ProgramParts {
/// #     channels: 1,
/// #     levels: 2,
/// #     groups: 1,
/// #     buffers: vec![buffer(1), buffer(16), buffer(2)],
/// #     inputs: vec![Input { buffer: 0, maps: 1, numbers: vec![-1.0, 1.0] }],
/// #     condition: None,
/// #     once: Vec::new(),
/// #     instructions: Vec::new(),
/// #     stages: vec![Stage {
/// #         chain: Some(chain),
/// #         groups: vec![Group { tiles: 0..1, inputs: 0, outputs: 0..2 }],
/// #         operations: vec![Pointwise::Store(2)],
/// #     }],
/// #     output: 2,
/// # })?;
/// struct Logits(Vec<f32>);
///
/// impl Driver for Logits {
///     fn known(&mut self, _: usize, _: &mut [u32]) -> candle_core::Result<bool> {
///         Ok(false)
///     }
///     fn value(&mut self, index: ValueIndex, logits: &[f32]) -> candle_core::Result<u32> {
///         self.0.push(logits[1]);
///         Ok(index.column as u32 % 2)
///     }
/// }
///
/// let mut drivers = [Logits(Vec::new())];
/// let sharing = Sharing::default();
/// let job = Job { height: 1, width: 4, condition: &[], threads: 1, sharing };
/// run(&program, &job, &mut drivers)?;
/// assert_eq!(drivers[0].0, [0.0, -5.0, 5.0, -5.0]); // outside, 0, 1, 0
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn run<D: Driver>(program: &Program, job: &Job, drivers: &mut [D]) -> Result<()> {
    check_job(program, job, drivers.len())?;
    let sizes = team_sizes(job.threads, drivers.len());
    // The level of this thread also applies to the threads that it starts.
    let level = Level::current();
    let failed = &AtomicBool::new(false);
    let (count, teams) = (drivers.len(), sizes.len());
    let (mut rest, mut first) = (drivers, 0);
    let bytes = program.parts.bytes_between_barriers();
    let mut work = Vec::with_capacity(teams);
    for (team, threads) in sizes.into_iter().enumerate() {
        let end = count * (team + 1) / teams;
        let (part, after) = std::mem::take(&mut rest).split_at_mut(end - first);
        let team = Team {
            program: &program.parts,
            job,
            level,
            failed,
            threads: sharing_threads(threads, bytes, job.sharing.row),
            pixel_threads: sharing_threads(threads, bytes, job.sharing.pixel),
            first,
        };
        work.push((team, part));
        (rest, first) = (after, end);
    }
    each_in_a_thread(work, |(team, part)| level.scope(|| team.run(part)))
}

fn check_job(program: &Program, job: &Job, images: usize) -> Result<()> {
    let Job { height, width, .. } = *job;
    if images == 0 || height == 0 || width == 0 {
        bail!("run: {images} images of {height} x {width}: a size is zero");
    }
    let expected = match program.condition() {
        None => 0,
        Some((Extent::Image, maps)) => images.saturating_mul(maps),
        Some((Extent::Row, maps)) => [height, width, maps]
            .iter()
            .fold(images, |all, size| all.saturating_mul(*size)),
    };
    match job.condition.len() {
        found if found == expected => Ok(()),
        found => bail!("run: a condition of {expected} numbers expected, found {found}"),
    }
}

/// Threads that share images.
#[derive(Clone, Copy)]
struct Team<'a> {
    program: &'a ProgramParts,
    job: &'a Job<'a>,
    level: Level,
    /// Set by a team that fails, so that the others stop too.
    failed: &'a AtomicBool,
    threads: usize,
    /// Those of the threads that share single pixels.
    pixel_threads: usize,
    /// Its first image.
    first: usize,
}

impl Team<'_> {
    /// Runs all images of the team, several at a time.
    fn run<D: Driver>(&self, drivers: &mut [D]) -> Result<()> {
        let most = drivers.len().min(MOST_IMAGES);
        let mut memory = Memory::new(self.program, most, self.job.width)?;
        for (index, drivers) in drivers.chunks_mut(most).enumerate() {
            if index > 0 {
                memory.clear();
            }
            let failure = Mutex::new(None);
            let shift = Shift {
                team: self,
                program: self.program,
                job: self.job,
                memory: memory.shared(),
                barrier: &Barrier::new(),
                pixel_barrier: &Barrier::new(),
                all_known: &AtomicBool::new(false),
                scored: &AtomicBool::new(true),
                before_output: self.program.stages_before_output(),
                failure: &failure,
                first: self.first + index * most,
                images: drivers.len(),
            };
            std::thread::scope(|scope| {
                let start = |index: &usize| {
                    let index = *index;
                    let work = move || {
                        shift.barrier.wait_for_all();
                        shift.work::<D>(index, None);
                    };
                    std::thread::Builder::new()
                        .spawn_scoped(scope, work)
                        .is_ok()
                };
                // Only the threads that the system has started count.
                let started = (1..self.threads).take_while(start).count();
                let members = 1 + started;
                shift
                    .pixel_barrier
                    .all_are_here(members.min(self.pixel_threads));
                shift.barrier.all_are_here(members);
                shift.work(0, Some(drivers));
            });
            if let Some(error) = failure.into_inner().unwrap_or(None) {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The work of a team on some images.
#[derive(Clone, Copy)]
struct Shift<'a> {
    team: &'a Team<'a>,
    program: &'a ProgramParts,
    job: &'a Job<'a>,
    memory: Shared<'a>,
    barrier: &'a Barrier,
    /// The barrier of the threads that share single pixels, the first of the team.
    pixel_barrier: &'a Barrier,
    all_known: &'a AtomicBool,
    /// Whether an image needs the parameters of the current, known row.
    scored: &'a AtomicBool,
    /// Number of stages that later rows need.
    before_output: usize,
    failure: &'a Mutex<Option<Error>>,
    /// The index of the first image among all images of the run.
    first: usize,
    images: usize,
}

/// The data of the leader: the drivers, and the values of the row,
/// `[image, column, channel]`.
struct Lead<'a, D> {
    drivers: &'a mut [D],
    values: Vec<u32>,
}

impl Shift<'_> {
    /// Computes all rows; the leader has the drivers.
    fn work<D: Driver>(&self, index: usize, drivers: Option<&mut [D]>) {
        let _presence = [self.barrier, self.pixel_barrier].map(Presence);
        let row_values = self.job.width * self.program.channels;
        let mut lead = drivers.map(|drivers| Lead {
            values: vec![0; drivers.len() * row_values],
            drivers,
        });
        // If the barrier is broken, `failure` has the reason, or a thread has panicked.
        let _ = (0..self.job.height).try_for_each(|row| self.row(row, index, &mut lead));
    }

    fn row<D: Driver>(&self, row: usize, index: usize, lead: &mut Option<Lead<D>>) -> Met {
        let barrier = self.barrier;
        let worker = Worker {
            level: self.team.level,
            memory: self.memory,
            member: Member { barrier, index },
            images: self.images,
            width: self.job.width,
            row: row as isize,
        };
        if lead.is_some() && self.team.failed.load(Ordering::Relaxed) {
            self.barrier.break_up();
            return Err(Broken);
        }
        self.lead(lead, |lead| self.begin(row, lead))?;
        let once: &[Instruction] = match row {
            0 => &self.program.once,
            _ => &[],
        };
        for step in once.iter().chain(&self.program.instructions) {
            match step.with_lag() {
                (Instruction::Scan(_), _) => {
                    self.by_pixels(&worker, |_, worker| worker.step(step))?;
                }
                _ => worker.step(step)?,
            }
            barrier.wait()?;
        }
        match self.all_known.load(Ordering::Acquire) {
            true => self.known_row(&worker, row, lead)?,
            false => {
                self.by_pixels(&worker, |team, worker| team.drawn_row(worker, row, lead))?;
            }
        }
        self.lead(lead, |lead| {
            let values = lead.values.chunks(self.job.width * self.program.channels);
            for (driver, values) in lead.drivers.iter_mut().zip(values) {
                driver.row_done(row, values);
            }
            Ok(())
        })
    }

    /// The leader works while the others wait.
    fn lead<D: Driver>(
        &self,
        lead: &mut Option<Lead<D>>,
        work: impl FnOnce(&mut Lead<D>) -> Result<()>,
    ) -> Met {
        if let Some(lead) = lead
            && let Err(error) = work(lead)
        {
            if let Ok(mut failure) = self.failure.lock() {
                *failure = Some(error);
            }
            self.team.failed.store(true, Ordering::Relaxed);
            self.barrier.break_up();
            return Err(Broken);
        }
        self.barrier.wait()
    }

    /// Copies the condition, asks whether the row is known, and writes
    /// it if so.
    fn begin<D: Driver>(&self, row: usize, lead: &mut Lead<D>) -> Result<()> {
        self.write_condition(row);
        let length = self.job.width * self.program.channels;
        let (mut all, mut scored) = (true, false);
        for (driver, values) in lead.drivers.iter_mut().zip(lead.values.chunks_mut(length)) {
            all &= driver.known(row, values)?;
            scored |= driver.scores(row);
        }
        self.all_known.store(all, Ordering::Release);
        self.scored.store(scored, Ordering::Release);
        if all {
            let channels = self.program.channels;
            for (index, value) in lead.values.iter().enumerate() {
                let (position, channel) = (index / channels, index % channels);
                let (image, column) = (position / self.job.width, position % self.job.width);
                self.write_value(
                    image,
                    ValueIndex {
                        row,
                        column,
                        channel,
                    },
                    *value,
                )?;
            }
        }
        Ok(())
    }

    fn write_condition(&self, row: usize) {
        let Some(buffer) = self.program.condition else {
            return;
        };
        let (rows, columns) = match self.program.buffers[buffer].extent {
            Extent::Image if row > 0 => return,
            Extent::Image => (1, 1),
            Extent::Row => (self.job.height, self.job.width),
        };
        let maps = self.program.buffers[buffer].maps;
        for image in 0..self.images {
            let from = ((self.first + image) * rows + row) * columns * maps;
            let from = &self.job.condition[from..from + columns * maps];
            let span = Span::Columns {
                image,
                width: columns,
            };
            let to = self
                .memory
                .strided(buffer, row as isize, span, (0, 0, maps));
            // SAFETY: the positions of a row follow each other, `strided` has
            // checked them, and the others wait for the leader.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.start, from.len()) };
        }
    }

    /// Writes a value to each input buffer.
    fn write_value(&self, image: usize, index: ValueIndex, value: u32) -> Result<()> {
        let ValueIndex {
            row,
            column,
            channel,
        } = index;
        let (levels, value) = (self.program.levels, value as usize);
        if value >= levels {
            bail!(
                "row {row}, column {column}, channel {channel}: a value below {levels} expected, \
                 found {value}"
            );
        }
        for input in &self.program.inputs {
            let maps = input.maps;
            let numbers = &input.numbers[(channel * levels + value) * maps..][..maps];
            let span = Span::Columns { image, width: 1 };
            let from = (column as isize, channel * maps, maps);
            let to = self.memory.strided(input.buffer, row as isize, span, from);
            // SAFETY: `strided` has checked the address, and the others wait for
            // the leader.
            unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr(), to.start, maps) };
        }
        Ok(())
    }

    /// Computes all positions of a known row at once.
    fn known_row<D: Driver>(&self, worker: &Worker, row: usize, lead: &mut Option<Lead<D>>) -> Met {
        let width = self.job.width;
        let scored = self.scored.load(Ordering::Acquire);
        let stages = match scored {
            true => self.program.stages.len(),
            false => self.before_output,
        };
        for stage in &self.program.stages[..stages] {
            if stage.chain.as_ref().is_some_and(|it| it.state.is_some()) {
                self.by_pixels(worker, |team, worker| team.in_columns(stage, worker))?;
            } else {
                for image in 0..self.images {
                    let span = Span::Columns { image, width };
                    worker.stage_left(stage, span);
                    for group in 0..self.program.groups {
                        worker.stage_centre(stage, group, span);
                    }
                }
            }
            self.barrier.wait()?;
        }
        if !scored {
            return Ok(());
        }
        self.lead(lead, |lead| {
            for (image, driver) in lead.drivers.iter_mut().enumerate() {
                for column in 0..width {
                    for channel in 0..self.program.channels {
                        let place = ValueIndex {
                            row,
                            column,
                            channel,
                        };
                        driver.value(place, self.parameters(image, place))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Computes a stage of a known row column by column.
    fn in_columns(&self, stage: &Stage, worker: &Worker) -> Met {
        let images = self.images;
        for column in 0..self.job.width {
            let span = Span::Images { images, column };
            worker.stage_left(stage, span);
            for group in 0..self.program.groups {
                worker.stage_centre(stage, group, span);
            }
            self.barrier.wait()?;
        }
        Ok(())
    }

    /// Does work that goes from pixel to pixel, with as many threads as can use it. The others
    /// wait at the next barrier.
    fn by_pixels(&self, worker: &Worker, work: impl FnOnce(&Self, &Worker) -> Met) -> Met {
        let barrier = self.pixel_barrier;
        let index = worker.member.index;
        if index >= barrier.members() {
            return Ok(());
        }
        let member = Member { barrier, index };
        let result = work(&Self { barrier, ..*self }, &Worker { member, ..*worker });
        if result.is_err() {
            self.barrier.break_up();
        }
        result
    }

    /// Computes a row pixel by pixel and colour by colour.
    fn drawn_row<D: Driver>(&self, worker: &Worker, row: usize, lead: &mut Option<Lead<D>>) -> Met {
        let (images, channels) = (self.images, self.program.channels);
        for column in 0..self.job.width {
            let span = Span::Images { images, column };
            for stage in &self.program.stages {
                worker.stage_left(stage, span);
            }
            for group in 0..self.program.groups {
                for stage in &self.program.stages {
                    worker.stage_centre(stage, group, span);
                    self.barrier.wait()?;
                }
                let each = channels / self.program.groups;
                self.lead(lead, |lead| {
                    for (image, driver) in lead.drivers.iter_mut().enumerate() {
                        for channel in group * each..(group + 1) * each {
                            let place = ValueIndex {
                                row,
                                column,
                                channel,
                            };
                            let value = driver.value(place, self.parameters(image, place))?;
                            self.write_value(image, place, value)?;
                            let position = image * self.job.width + column;
                            lead.values[position * channels + channel] = value;
                        }
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// The parameters of the distribution of the value at a position.
    fn parameters(&self, image: usize, index: ValueIndex) -> &[f32] {
        let ProgramParts {
            channels,
            groups,
            output,
            ..
        } = *self.program;
        let length = self.memory.maps(output) / groups;
        let first = index.channel * groups / channels * length;
        let span = Span::Columns { image, width: 1 };
        let from = (index.column as isize, first, length);
        let row = index.row as isize;
        let parameters = self.memory.strided(output, row, span, from);
        // SAFETY: `strided` has checked the address; nobody writes the output
        // before the next barrier.
        unsafe { std::slice::from_raw_parts(parameters.start.cast_const(), length) }
    }
}
