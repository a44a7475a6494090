//! From interleaved colour groups to contiguous ones.

use candle_core::{Device, Result, Tensor};
use pixelcnn_models::{Conditioning, Definition, ImageShape, ModelConfig};

use super::{AnordertoreclaimConfig, COLOURS};
use crate::converter::Converter;
use crate::{ImportError, Settings};

/// The order in which maps are taken: one colour after the other. In the file, map `j` belongs
/// to colour `j mod 3`.
struct Order(Tensor);

impl Order {
    fn of(maps: usize) -> Result<Self> {
        Self::new(by_colour(maps).collect())
    }

    /// For the two halves before a gate, which stay together map by map.
    fn of_halves(maps: usize) -> Result<Self> {
        let halves = [0, maps].into_iter();
        Self::new(
            halves
                .flat_map(|half| by_colour(maps).map(move |map| half + map))
                .collect(),
        )
    }

    fn new(order: Vec<usize>) -> Result<Self> {
        let order: Vec<u32> = order.into_iter().map(|map| map as u32).collect();
        let length = order.len();
        Tensor::from_vec(order, length, &Device::Cpu).map(Self)
    }

    fn length(&self) -> usize {
        self.0.elem_count()
    }

    fn apply(&self, tensor: &Tensor, side: usize) -> Result<Tensor> {
        tensor.index_select(&self.0, side)?.contiguous()
    }
}

fn by_colour(maps: usize) -> impl Iterator<Item = usize> {
    (0..COLOURS).flat_map(move |colour| (colour..maps).step_by(COLOURS))
}

/// The orders of a model's maps.
struct Orders {
    stack: Order,
    sums: Order,
}

/// The tensors and the configuration of a file.
pub(crate) fn convert(
    converter: &mut Converter,
    settings: &Settings,
) -> std::result::Result<ModelConfig, ImportError> {
    let config = config(converter, settings)?;
    config.validate()?;
    let (maps, last) = (config.maps, config.blocks - 1);
    converter.without_effect(&format!("hidden_conv.{last}.h_fc"));
    let orders = Orders {
        stack: Order::of(maps)?,
        sums: Order::of_halves(maps)?,
    };
    let (stack, kernel) = (&orders.stack, config.first_kernel);
    block(converter, ("causal_conv", "first"), &orders, kernel)?;
    layer(converter, ("causal_conv.h_fc", "first.output"), [stack; 2])?;
    for index in 0..config.blocks {
        let (from, to) = (format!("hidden_conv.{index}"), format!("blocks.{index}"));
        block(converter, (&from, &to), &orders, config.kernel)?;
        let names = (format!("{from}.label_embedding"), format!("{to}.class"));
        class(converter, (&names.0, &names.1), &orders.sums, &config)?;
        for (theirs, ours) in [("h_skip", "skip"), ("h_fc", "output")] {
            if ours == "skip" || index < last {
                let (from, to) = (format!("{from}.{theirs}"), format!("{to}.{ours}"));
                layer(converter, (&from, &to), [stack; 2])?;
            }
        }
    }
    class(converter, ("label_embedding", "head.class"), stack, &config)?;
    let hidden = Order::of(config.head)?;
    let logits = Order::of(COLOURS * config.image.levels)?;
    layer(
        converter,
        ("out_hidden_conv", "head.hidden"),
        [&hidden, stack],
    )?;
    layer(converter, ("out_conv", "head.logits"), [&logits, &hidden])?;
    if maps % COLOURS != 0 {
        converter.warn(format!(
            "{maps} maps are not divisible by {COLOURS}: the two halves before each gate belong \
             to different colours, so that colours see each other in the wrong order. Its \
             likelihoods are too good, and it cannot be sampled (`pixelcnn audit`)"
        ));
    }
    Ok(ModelConfig::from(config))
}

fn config(
    converter: &Converter,
    settings: &Settings,
) -> std::result::Result<AnordertoreclaimConfig, ImportError> {
    let [doubled, colours, .., first_kernel] = converter.shape::<4>("causal_conv.v_conv.weight")?;
    let [.., kernel] = converter.shape::<4>("hidden_conv.0.v_conv.weight")?;
    let [head, ..] = converter.shape::<4>("out_hidden_conv.weight")?;
    let [logits, ..] = converter.shape::<4>("out_conv.weight")?;
    let [classes, _] = converter.shape("label_embedding.weight")?;
    if colours != COLOURS || doubled % 2 != 0 || logits % COLOURS != 0 {
        let why = format!(
            "{COLOURS} channels expected, found {colours}, {doubled} maps before the first gate \
             and {logits} logits"
        );
        return Err(converter.wrong(why));
    }
    Ok(AnordertoreclaimConfig {
        image: ImageShape {
            channels: COLOURS,
            height: settings.number("height", 32)?,
            width: settings.number("width", 32)?,
            levels: logits / COLOURS,
        },
        first_kernel,
        kernel,
        blocks: converter.layers(|i| format!("hidden_conv.{i}.v_conv.weight")),
        maps: doubled / 2,
        head,
        conditioning: Conditioning::Class {
            classes: classes.into(),
        },
    })
}

/// The convolutions before the gates of a block.
fn block(
    converter: &mut Converter,
    (from, to): (&str, &str),
    orders: &Orders,
    kernel: usize,
) -> std::result::Result<(), ImportError> {
    let (half, sums) = (kernel / 2, orders.sums.length());
    let (inputs, order) = match to {
        "first" => (COLOURS, None),
        _ => (orders.stack.length(), Some(&orders.stack)),
    };
    for (name, ours, height, width, kept) in [
        ("v_conv", "vertical", half + 1, kernel, kernel),
        ("v_fc", "own", 1, 1, 1),
        ("h_conv", "horizontal", 1, kernel, half + 1),
    ] {
        let (from, to) = (format!("{from}.{name}"), format!("{to}.{ours}"));
        let shape = [sums, inputs, height, width];
        let kernel = converter.part(&from, shape, 0..height, 0..kept)?;
        let kernel = kernel.changed(|it| {
            let it = orders.sums.apply(it, 0)?;
            match order {
                Some(order) => order.apply(&it, 1),
                None => Ok(it),
            }
        })?;
        let bias = converter.take(&format!("{from}.bias"), &[sums])?;
        converter.put_kernel(&to, kernel);
        converter.put(format!("{to}.bias"), orders.sums.apply(&bias, 0)?);
    }
    let (from, to) = (format!("{from}.v_to_h"), format!("{to}.link"));
    layer(converter, (&from, &to), [&orders.sums; 2])
}

/// A 1x1 convolution between maps in these orders.
fn layer(
    converter: &mut Converter,
    (from, to): (&str, &str),
    [outputs, inputs]: [&Order; 2],
) -> std::result::Result<(), ImportError> {
    let shape = [outputs.length(), inputs.length(), 1, 1];
    let kernel = converter.kernel(from, shape)?;
    let kernel = kernel.changed(|it| inputs.apply(&outputs.apply(it, 0)?, 1))?;
    let bias = converter.take(&format!("{from}.bias"), &shape[..1])?;
    converter.put_kernel(to, kernel);
    converter.put(format!("{to}.bias"), outputs.apply(&bias, 0)?);
    Ok(())
}

/// A vector for each class, as a conditioning term.
fn class(
    converter: &mut Converter,
    (from, to): (&str, &str),
    order: &Order,
    config: &AnordertoreclaimConfig,
) -> std::result::Result<(), ImportError> {
    let classes = super::classes(&config.conditioning)?.count();
    let table = converter.take(&format!("{from}.weight"), &[classes, order.length()])?;
    let table = order.apply(&table.t()?.contiguous()?, 0)?;
    converter.put(format!("{to}.weight"), table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_taken_colour_by_colour() {
        assert!(by_colour(7).eq([0, 3, 6, 1, 4, 2, 5]));
        let halves = Order::of_halves(4).unwrap().0.to_vec1::<u32>().unwrap();
        assert_eq!(halves, [0, 3, 1, 2, 4, 7, 5, 6]);
    }
}
