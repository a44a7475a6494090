//! What a plan must be so that its program stays within its memory.

use candle_core::{Result, Tensor, bail};

use super::{StepCondition, StepConvolution, StepLoss, StepOperation, StepPlan};

/// The kernels count numbers in 32 bits, and go on in steps of their grid.
const MOST: usize = (u32::MAX - (1 << 28)) as usize;

/// Rows and channels of maps.
type Maps = [usize; 2];

/// Refuses a plan whose operations do not fit together.
pub(super) fn check(plan: &StepPlan) -> Result<()> {
    let [images, height, width] = plan.sizes;
    let mut pixels = [images, height, width, plan.channels].into_iter();
    let values = pixels.try_fold(1usize, |all, size| all.checked_mul(size));
    match values {
        Some(values) if (1..=MOST).contains(&values) => {}
        _ => bail!(
            "training step: from 1 to {MOST} values expected, found {images} images of {} x \
             {height} x {width}",
            plan.channels
        ),
    }
    let mut maps: Vec<Maps> = Vec::new();
    for (index, operation) in plan.operations.iter().enumerate() {
        if let Some(later) = operation.reads().into_iter().find(|read| *read >= index) {
            bail!("training step: operation {index} reads operation {later}, which is not before");
        }
        match of_operation(plan, operation, &maps) {
            Ok(found) if found[1] > 0 => maps.push(found),
            Ok(_) => bail!("training step: operation {index} has no channels"),
            Err(error) => bail!("training step: operation {index}: {error}"),
        }
    }
    let Some([rows, outputs]) = maps.last().filter(|_| plan.ends_in_convolutions()) else {
        bail!(
            "training step: a convolution, or the sum of two that nothing else reads, expected as \
             the last operation"
        );
    };
    let expected = match plan.loss {
        StepLoss::Softmax => plan.channels.saturating_mul(plan.levels),
        StepLoss::Mixture(mixture) => {
            let channels = mixture.channels as usize;
            let fits = channels > 0
                && plan.channels.is_multiple_of(channels)
                && (1..=64).contains(&mixture.components)
                && mixture.last as usize + 1 == plan.levels;
            if !fits {
                let (channels, levels) = (plan.channels, plan.levels);
                bail!("training step: {mixture:?} for {channels} channels of {levels} levels");
            }
            mixture.planes() * (plan.channels / channels)
        }
    };
    if *rows != images * height * width || *outputs != expected {
        bail!("training step: {expected} outputs of each pixel expected, found {outputs}");
    }
    Ok(())
}

/// The maps of an operation that reads these.
fn of_operation(plan: &StepPlan, operation: &StepOperation, maps: &[Maps]) -> Result<Maps> {
    let [images, height, width] = plan.sizes;
    let pixels = images * height * width;
    Ok(match operation {
        StepOperation::Image { .. } => [pixels, plan.channels],
        StepOperation::Condition => match plan.condition {
            StepCondition::None => bail!("the plan has no condition"),
            StepCondition::Vector(length) => [images, length],
            StepCondition::Map(maps) => [pixels, maps],
        },
        StepOperation::Convolution(one, input) => {
            let [rows, inputs] = maps[*input];
            if rows != pixels && !one.is_of_single_pixels() {
                bail!("a convolution of single pixels expected for a vector");
            }
            [rows, outputs(one, [rows, inputs])?]
        }
        StepOperation::Gate(input) => match maps[*input] {
            [rows, channels] if channels % 2 == 0 => [rows, channels / 2],
            [_, channels] => bail!("an even number of maps expected, found {channels}"),
        },
        StepOperation::Relu(input) | StepOperation::Elu(input) => maps[*input],
        StepOperation::Sum(one, other) => {
            let ([rows, channels], [others, found]) = (maps[*one], maps[*other]);
            if channels != found {
                bail!("maps with as many channels expected, found {channels} and {found}");
            }
            [rows.max(others), channels]
        }
    })
}

/// The outputs of a convolution, whose tensors fit its input.
fn outputs(one: &StepConvolution, [rows, inputs]: Maps) -> Result<usize> {
    let [outputs, expected, kernel_rows, kernel_columns] = one.sizes()?;
    let [live_rows, live_columns] = one.live;
    let shape = one.weight.shape();
    let same = |tensor: &Option<Tensor>| tensor.as_ref().is_none_or(|it| it.shape() == shape);
    let bias = one.bias.as_ref().is_none_or(|it| it.dims() == [outputs]);
    let fits = expected == inputs
        && (1..=kernel_rows).contains(&live_rows)
        && (1..=kernel_columns).contains(&live_columns)
        && same(&one.mask)
        && bias
        && outputs > 0;
    if !fits {
        bail!("a convolution {shape:?} with {live_rows} x {live_columns} taps of {inputs} maps");
    }
    let small = |size: isize| i32::try_from(size).is_ok();
    let farthest = one.dilation.saturating_mul(kernel_rows.max(kernel_columns));
    if one.dilation == 0 || i32::try_from(farthest).is_err() || !one.before.into_iter().all(small) {
        bail!("dilation {} and padding {:?}", one.dilation, one.before);
    }
    // Maps, views, and weights, with the ends of their rows.
    let seen = live_rows * live_columns * inputs + 16;
    let maps = rows.saturating_mul(seen.max(outputs + 16));
    let largest = maps.max(outputs.saturating_mul(seen));
    if largest > MOST {
        bail!("at most {MOST} numbers expected, found {largest}: take fewer images in a batch");
    }
    Ok(outputs)
}
