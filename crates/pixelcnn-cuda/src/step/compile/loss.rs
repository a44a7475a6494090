//! The loss, and where the backward pass begins.

use candle_core::cuda_backend::cudarc::driver::LaunchConfig;
use candle_core::{Result, bail};

use super::{Argument, Compiler, Place, Rows};
use crate::Mixture;
use crate::kernel::{Source, blocks_of_threads, grid};
use crate::step::StepLoss;

/// Threads of the block that sums the nats.
const MANY: u32 = 1024;

/// Values of a block in the kernel of the softmax.
const WARPS: usize = 8;

impl Compiler<'_> {
    /// Nats and their mean, and the gradient of the last operation's maps.
    pub(super) fn loss(&mut self, mean: u64, shares: Option<u64>) -> Result<()> {
        let last = self.plan.operations.len() - 1;
        let Some(logits) = self.logits else {
            bail!("training step: no logits");
        };
        let values = self.rows * self.plan.channels;
        let nats = Place::Memory(self.memory.take(values * 4, 0).offset);
        let gradient = self.new_rows(self.rows, logits.channels);
        match (self.plan.loss, shares) {
            (StepLoss::Mixture(mixture), Some(shares)) => {
                self.mixture(mixture, logits, (nats, gradient), Place::At(shares))?;
            }
            _ => self.softmax(logits, (nats, gradient))?,
        }
        self.gradients[last] = Some(gradient);
        let arguments = vec![
            Argument::Size(values),
            Argument::Place(nats),
            Argument::Real(1.0 / values as f32),
            Argument::Place(Place::At(mean)),
        ];
        let block = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (MANY, 1, 1),
            shared_mem_bytes: 0,
        };
        self.kernel(Source::Step, "scaled_sum", block, arguments)
    }

    fn softmax(&mut self, logits: Rows, (nats, gradient): (Place, Rows)) -> Result<()> {
        let channels = self.plan.channels;
        let values = self.rows * channels;
        let arguments = vec![
            Argument::Size(values),
            Argument::Number(self.plan.levels as u32),
            Argument::Number(channels as u32),
            Argument::Number(gradient.stride as u32),
            logits.place(),
            Argument::Place(Place::Values),
            Argument::Real(1.0 / values as f32),
            Argument::Place(nats),
            gradient.place(),
        ];
        let blocks = blocks_of_threads(values.div_ceil(WARPS).min(1 << 20) as u32);
        self.kernel(Source::Step, &self.typed("softmax"), blocks, arguments)
    }

    /// `shares` has the share of each value in the mean.
    fn mixture(
        &mut self,
        mixture: Mixture,
        logits: Rows,
        (nats, gradient): (Place, Rows),
        shares: Place,
    ) -> Result<()> {
        // Pixels have one mixture for all channels, or one for each.
        let count = self.rows * self.plan.channels / mixture.channels as usize;
        let wide = self.memory.take(logits.place.bytes, 0);
        let of_wide = Argument::Place(Place::Memory(wide.offset));
        let sizes = [
            Argument::Size(count),
            Argument::Size(1),
            Argument::Mixture(mixture),
            logits.place(),
            Argument::Place(Place::Values),
        ];
        let mut forward = sizes.to_vec();
        forward.push(Argument::Place(nats));
        self.kernel(Source::Mixture, "mixture_f32", grid(count), forward)?;
        let mut backward = sizes.to_vec();
        backward.extend([Argument::Place(shares), of_wide]);
        self.kernel(
            Source::Mixture,
            "mixture_gradient_f32",
            grid(count),
            backward,
        )?;
        let rounded = vec![
            Argument::Number(self.rows as u32),
            Argument::Number(logits.channels as u32),
            Argument::Number(gradient.stride as u32),
            of_wide,
            gradient.place(),
        ];
        let grid = grid(self.rows * logits.channels);
        self.kernel(Source::Step, &self.typed("row_rounded"), grid, rounded)?;
        self.memory.give(wide);
        Ok(())
    }
}
