//! The paths of a network as numbers: absolute weights, no biases, no
//! non-linearities and no condition, so that no path hides or cancels another.

use candle_core::{Result, Tensor, bail};
use pixelcnn_layers::{Graph, Operation};

/// The output of a network with absolute weights and zero biases, where each
/// non-linearity is the identity.
pub(super) fn output(graph: &Graph, image: &Tensor) -> Result<Tensor> {
    let mut all: Vec<Tensor> = Vec::new();
    for operation in graph.operations() {
        let maps = match operation {
            Operation::Image | Operation::Rescaled(_) => image.clone(),
            Operation::Convolution(convolution, maps) => convolution.forward(&all[maps.index()])?,
            Operation::Sum(one, other) => (&all[one.index()] + &all[other.index()])?,
            Operation::Condition(_, maps) | Operation::Relu(maps) | Operation::Elu(maps) => {
                all[maps.index()].clone()
            }
            Operation::Embedding(tables) => {
                let each = tables.dim(2)?;
                let (b, channels, h, w) = image.dims4()?;
                let maps = image
                    .unsqueeze(2)?
                    .broadcast_as((b, channels, each, h, w))?;
                maps.reshape((b, channels * each, h, w))?
            }
            Operation::RowAbove(_, maps) => {
                let maps = &all[maps.index()];
                maps.pad_with_zeros(2, 1, 0)?.narrow(2, 0, maps.dim(2)?)?
            }
            Operation::Lstm(recurrence, maps) => recurrence.paths(&all[maps.index()])?,
            Operation::Gate(maps) => {
                let maps = &all[maps.index()];
                let half = maps.dim(1)? / 2;
                (maps.narrow(1, 0, half)? + maps.narrow(1, half, half)?)?
            }
        };
        all.push(maps);
    }
    let (_, output) = graph.ends();
    match all.get(output.index()) {
        Some(maps) => Ok(maps.clone()),
        None => bail!("the network has no output"),
    }
}
