//! The receptive field that a configuration asks for.

use std::collections::BTreeSet;

use pixelcnn_conv::{Colours, Mask, Tap};

use crate::{GatedPixelCnnConfig, ModelConfig, ModelError, PixelCnnConfig};

/// An input value relative to the pixel that is predicted.
///
/// # Example
///
/// ```
/// use pixelcnn_models::audit::Offset;
///
/// let red_above = Offset { row: -1, column: 0, channel: 0 };
/// assert!(red_above < Offset { row: 0, column: 0, channel: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    /// Rows below; negative is above.
    pub row: isize,
    /// Columns to the right; negative is left.
    pub column: isize,
    /// Channel of the input.
    pub channel: usize,
}

/// The input values that one output channel sees.
pub type Field = BTreeSet<Offset>;

/// What each colour group of a stack sees, by group.
#[derive(Clone)]
struct Stack(Vec<Field>);

impl Stack {
    fn of_image(channels: usize) -> Self {
        let own = |channel| {
            Field::from([Offset {
                row: 0,
                column: 0,
                channel,
            }])
        };
        Self((0..channels).map(own).collect())
    }

    /// What a convolution with these taps sees through this stack.
    fn convolved(&self, taps: &[Tap]) -> Self {
        let group = |to: usize| {
            let mut field = Field::new();
            for tap in taps {
                let seen = (0..self.0.len()).filter(|from| tap.colours.sees(to, *from));
                let values = seen.flat_map(|from| &self.0[from]);
                field.extend(values.map(|value| Offset {
                    row: value.row + tap.row,
                    column: value.column + tap.column,
                    channel: value.channel,
                }));
            }
            field
        };
        Self((0..self.0.len()).map(group).collect())
    }

    fn plus(mut self, other: &Self) -> Self {
        for (field, more) in self.0.iter_mut().zip(&other.0) {
            field.extend(more);
        }
        self
    }
}

/// What each output channel of a network must see: the sums of the tap
/// offsets of its layers, colour group by colour group.
///
/// For an undilated gated network of reach `R` that is rows `-R..=-1` by
/// columns `-R..=R`, columns `-R..=-1` of the current row, and the earlier
/// colours of the pixel itself.
///
/// # Errors
///
/// If the model has no pixel order or its configuration makes no sense.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{GatedPixelCnnConfig, ModelConfig, audit::analytic_field};
///
/// let config = GatedPixelCnnConfig { kernel: 3, blocks: 2, ..GatedPixelCnnConfig::imagenet32() };
/// let reach = config.reach(); // 3 + 2
/// let fields = analytic_field(&ModelConfig::GatedPixelCnn(config))?;
/// assert_eq!(fields[2].len(), 3 * (reach * (2 * reach + 1) + reach) + 2);
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
pub fn analytic_field(config: &ModelConfig) -> Result<Vec<Field>, ModelError> {
    config.validate()?;
    check_work(config)?;
    let maps = match config {
        ModelConfig::PixelCnn(config) => plain(config),
        ModelConfig::GatedPixelCnn(config) => gated(config),
        _ => {
            let why = format!("{} has no pixel order", config.name());
            return Err(ModelError::invalid("receptive field", why));
        }
    };
    // The head: two 1x1 convolutions with mask B.
    let centre = [own_pixel(Mask::B)];
    Ok(maps.convolved(&centre).convolved(&centre).0)
}

/// Offsets that are put together in a minute or so.
const MOST_WORK: u128 = 1 << 30;

/// Refuses a field so large that to work it out would take hours.
fn check_work(config: &ModelConfig) -> Result<(), ModelError> {
    let (reach, kernel, blocks) = match config {
        ModelConfig::PixelCnn(config) => {
            let reach = config.first_kernel / 2 + config.blocks * (config.kernel / 2);
            (reach, config.first_kernel.max(config.kernel), config.blocks)
        }
        ModelConfig::GatedPixelCnn(config) => {
            let kernel = config.first_kernel.max(config.kernel);
            (config.reach(), kernel, config.blocks)
        }
        _ => return Ok(()),
    };
    let channels = config.image().channels;
    let field = (reach as u128 + 1) * (2 * reach as u128 + 1) * channels as u128;
    let taps = kernel as u128 * (kernel as u128 / 2 + 1);
    let work = field * taps * (blocks as u128 + 1) * channels as u128;
    match work <= MOST_WORK {
        true => Ok(()),
        false => {
            let why = format!(
                "{reach} pixels far, kernels of {kernel}, {blocks} blocks, {channels} channels: \
                 too large to be worked out value by value"
            );
            Err(ModelError::invalid("receptive field", why))
        }
    }
}

fn plain(config: &PixelCnnConfig) -> Stack {
    let taps = |kernel: usize, mask| {
        let half = (kernel / 2) as isize;
        let mut taps = rectangle(-half..=-1, half, 1);
        taps.extend(row_so_far(half, 1, mask));
        taps
    };
    let image = Stack::of_image(config.image.channels);
    let mut maps = image.convolved(&taps(config.first_kernel, Mask::A));
    let centre = [own_pixel(Mask::B)];
    for _ in 0..config.blocks {
        let inside = maps
            .convolved(&centre)
            .convolved(&taps(config.kernel, Mask::B));
        maps = inside.convolved(&centre).plus(&maps);
    }
    maps
}

fn gated(config: &GatedPixelCnnConfig) -> Stack {
    let half = (config.first_kernel / 2) as isize;
    let centre = [own_pixel(Mask::B)];
    let image = Stack::of_image(config.image.channels);
    let mut vertical = image.convolved(&rectangle(-half..=-1, half, 1));
    let first = image.convolved(&row_so_far(half, 1, Mask::A));
    let mut horizontal = first.plus(&vertical).convolved(&centre);
    let half = (config.kernel / 2) as isize;
    for block in 0..config.blocks {
        let dilation = config.dilation(block) as isize;
        vertical = vertical.convolved(&rectangle(-half..=0, half, dilation));
        let left = horizontal.convolved(&row_so_far(half, dilation, Mask::B));
        horizontal = left.plus(&vertical).convolved(&centre).plus(&horizontal);
    }
    horizontal
}

/// Whole pixels: the given rows by columns `-half..=half`.
fn rectangle(rows: std::ops::RangeInclusive<isize>, half: isize, dilation: isize) -> Vec<Tap> {
    let tap = |row, column| Tap {
        row: row * dilation,
        column: column * dilation,
        colours: Colours::All,
    };
    rows.flat_map(|row| (-half..=half).map(move |column| tap(row, column)))
        .collect()
}

/// The `half` pixels to the left and the pixel itself as `mask` allows.
fn row_so_far(half: isize, dilation: isize, mask: Mask) -> Vec<Tap> {
    let left = (-half..=-1).map(|column| Tap {
        row: 0,
        column: column * dilation,
        colours: Colours::All,
    });
    left.chain([own_pixel(mask)]).collect()
}

fn own_pixel(mask: Mask) -> Tap {
    Tap {
        row: 0,
        column: 0,
        colours: Colours::Masked(mask),
    }
}

/// Furthest row above and column left or right of any channel's field.
pub(super) fn reach(fields: &[Field]) -> (usize, usize) {
    let largest = |distance: fn(&Offset) -> usize| {
        let distances = fields.iter().flatten().map(distance);
        distances.max().unwrap_or(0)
    };
    (
        largest(|offset| offset.row.unsigned_abs()),
        largest(|offset| offset.column.unsigned_abs()),
    )
}

/// Earlier pixels within [`reach`] of which no output sees any channel.
pub(super) fn blind_pixels(fields: &[Field]) -> usize {
    let (rows, columns) = reach(fields);
    let seen: BTreeSet<_> = fields.iter().flatten().map(|o| (o.row, o.column)).collect();
    let earlier = rows * (2 * columns + 1) + columns;
    earlier - seen.iter().filter(|pixel| **pixel < (0, 0)).count()
}
