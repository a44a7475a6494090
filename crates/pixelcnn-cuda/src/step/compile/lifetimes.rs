//! How long maps are needed, and which convolutions become part of a sum.

use super::condition::is_of_images;
use crate::step::{StepOperation, StepPlan};

/// Which convolutions of pixels only a sum reads, so that their product can add to the rest of the
/// sum.
pub(in crate::step) fn in_sums(plan: &StepPlan) -> Vec<bool> {
    let operations = &plan.operations;
    let reads = |index: usize| {
        let all = operations.iter();
        all.map(|it| it.reads().iter().filter(|read| **read == index).count())
            .sum::<usize>()
    };
    let mut found = vec![false; operations.len()];
    for operation in operations {
        if let StepOperation::Sum(one, other) = operation {
            for operand in [*one, *other] {
                let is_convolution = matches!(
                    operations.get(operand),
                    Some(StepOperation::Convolution(..))
                );
                if is_convolution && reads(operand) == 1 && !is_of_images(plan, operand) {
                    found[operand] = true;
                }
            }
        }
    }
    found
}

/// The last operation of the forward pass that reads each of the maps. A convolution of a sum
/// reads when the sum is computed. `None` where the backward pass reads the maps: its formulas
/// need the sums before a gate, the outputs of other units, and the input of a convolution of
/// single pixels; other convolutions keep their views.
pub(super) fn last_reads(plan: &StepPlan) -> Vec<Option<usize>> {
    let (operations, in_sums) = (&plan.operations, in_sums(plan));
    let mut last: Vec<_> = (0..operations.len()).map(Some).collect();
    for (index, operation) in operations.iter().enumerate() {
        let read_later = match operation {
            StepOperation::Gate(_) => true,
            StepOperation::Convolution(one, _) => one.is_of_single_pixels(),
            _ => false,
        };
        let reads_now = match operation {
            StepOperation::Sum(one, other) => {
                let own = [one, other].into_iter().filter(|it| in_sums[**it]);
                let own = own.flat_map(|it| operations[*it].reads());
                [*one, *other].into_iter().chain(own).collect()
            }
            _ => operation.reads(),
        };
        for maps in reads_now {
            last[maps] = last[maps].map(|_| index);
        }
        for maps in operation.reads().into_iter().filter(|_| read_later) {
            last[maps] = None;
        }
        if matches!(operation, StepOperation::Relu(_) | StepOperation::Elu(_)) {
            last[index] = None;
        }
    }
    last
}
