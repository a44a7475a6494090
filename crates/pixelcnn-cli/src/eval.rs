//! `pixelcnn eval`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Device};
use pixelcnn_data::{Batch, DataSpec, Images, Values};
use pixelcnn_models::{Conditioning, DensityModel, Kind, Likelihood, Model, Network, Score};
use pixelcnn_train::{ConditionedDataset, evaluate};
use serde_json::{Value, json};

use crate::arguments::{JsonFlag, ZoomFlag};
use crate::condition::ConditionFileFlags;
use crate::data::{Portion, Subject};
use crate::numbers::estimate;
use crate::output::{Channel, CsvWriter, Format, Outputs, Target, TensorsWriter};
use crate::{measures, nll_map, output, progress};
use pixelcnn_system::counted;

/// Evaluates a model: the likelihood of images, or the score of a feature network
///
/// For an auto-encoder of means: mean squared error. For an embedding network:
/// area under the ROC curve, and accuracy of verification at the best threshold
/// of the validation images. For a classifier: accuracy.
#[derive(clap::Args)]
#[command(mut_arg("zoom", |zoom| zoom.requires("nll_maps")))]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    portion: Portion,
    #[command(flatten)]
    files: ConditionFileFlags,
    /// Also score each image with the condition of another image
    #[arg(long)]
    shuffled: bool,
    /// Also write a CSV file with image (its number in the split, from 0), bits_per_dim and
    /// nats; - for standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<Target>,
    /// Also write the tensors `logits` [n, c, levels, h, w] and `values` [n, c, h, w]
    #[arg(long, value_name = "FILE", requires = "limit")]
    dump_logits: Option<Target>,
    /// Also write each image beside a map of the bits of its pixels, as PNG into this folder
    #[arg(long, value_name = "DIR")]
    nll_maps: Option<PathBuf>,
    #[command(flatten)]
    zoom: ZoomFlag,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (subject, batch) = (&arguments.subject, arguments.portion.batch);
    let mut outputs = Outputs::default()
        .file("--csv", &arguments.csv, Format::Csv)
        .file("--dump-logits", &arguments.dump_logits, Format::Safetensors)
        .folder("--nll-maps", arguments.nll_maps.as_deref());
    if let Some((flag, path)) = arguments.files.file() {
        outputs = outputs.input(flag, Some(path));
    }
    let channel = outputs.check(arguments.json.json)?;
    let (model, _) = subject.model()?;
    let Kind::Density(density) = model.kind() else {
        return measure(arguments, &model);
    };
    let data = subject.load(&model)?;
    let images = data.images(subject.split(), arguments.portion.limit)?;
    let rows = arguments.files.read()?;
    let conditioned = data.conditioned(&model, &images, subject.split(), rows);
    let conditioned = arguments.files.named(conditioned)?;
    if arguments.shuffled {
        check_shuffled(&model, &images)?;
    }
    let image = model.config().image();
    let (_, height, width) = images.shape();
    if (height, width) != (image.height, image.width) {
        tracing::warn!(
            "images of {height} x {width}, but the model was trained on {} x {}",
            image.height,
            image.width
        );
    }
    // Refuse what is impossible before the long work.
    let softmax = density.network();
    let softmax = softmax.filter(|network| network.distribution().is_softmax());
    let dumped = match (&arguments.dump_logits, softmax) {
        (None, _) => None,
        (Some(target), Some(network)) => Some((&**density, network, target)),
        (Some(_), None) => bail!("--dump-logits: {} has no logits", model.config().name()),
    };
    let map = match &arguments.nll_maps {
        Some(folder) => Some((nll_map::engine(&model)?, folder)),
        None => None,
    };
    let start = Instant::now();
    let scores = Scores::of(&model, density, &conditioned, arguments)?;
    scores.print(
        arguments,
        &data.spec,
        (start.elapsed().as_secs_f64(), channel),
    )?;
    let listed = list(&scores.right, arguments.csv.as_ref());
    let dumped = dumped.map(|of| dump(of, &conditioned, batch));
    let mapped = map.as_ref().map(|((engine, encoder), folder)| {
        nll_map::write(
            (engine, encoder),
            &conditioned,
            batch,
            (folder, arguments.zoom),
        )
    });
    output::together([Some(listed), dumped, mapped].into_iter().flatten())?;
    Ok(ExitCode::SUCCESS)
}

/// The score of a network without a likelihood.
fn measure(arguments: &Arguments, model: &Model) -> Result<ExitCode> {
    let files = [
        arguments.csv.is_some(),
        arguments.dump_logits.is_some(),
        arguments.nll_maps.is_some(),
        arguments.files.file().is_some(),
        arguments.shuffled,
    ];
    if files.contains(&true) {
        let name = model.config().name();
        bail!(
            "--shuffled, --csv, --dump-logits, --nll-maps, --vector, --map: {name} has no likelihood"
        );
    }
    let (subject, batch) = (&arguments.subject, arguments.portion.batch);
    let data = subject.load(model)?;
    let images = data.images(subject.split(), arguments.portion.limit)?;
    let result = measures::measure(model, &data, &images, batch)?;
    measures::print(result, &data, subject.split(), arguments.json.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks that the conditions of the images can be exchanged.
fn check_shuffled(model: &Model, images: &Images) -> Result<()> {
    let (count, labels) = (images.len(), images.labels());
    match model.config().conditioning() {
        None => bail!("--shuffled: {} is not conditional", model.config().name()),
        Some(_) if count < 2 => {
            bail!("--shuffled: at least two images expected, found {count}")
        }
        Some(Conditioning::Class { .. }) if labels.windows(2).all(|pair| pair[0] == pair[1]) => {
            tracing::warn!("--shuffled: all images have the same label, {}", labels[0]);
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// The likelihood given the right conditions, and, if requested, given those of other images.
struct Scores {
    score: Score,
    right: Likelihood,
    shuffled: Option<Likelihood>,
}

impl Scores {
    fn of(
        model: &Model,
        density: &DensityModel,
        conditioned: &ConditionedDataset,
        arguments: &Arguments,
    ) -> Result<Self> {
        let score = |conditioned: &ConditionedDataset, what: &'static str| {
            let mut bar = progress::Progress::start(what, conditioned.images().len());
            let mut report = |done| bar.at(done);
            evaluate(density, conditioned, arguments.portion.batch, &mut report)
        };
        let right = score(conditioned, "evaluating")?;
        if !right.bits_per_dim().is_finite() {
            let (model, bits) = (
                arguments.subject.model.model.display(),
                right.bits_per_dim(),
            );
            bail!("{model}: {bits} bits/dim: numbers overflow in the network");
        }
        let shuffled = match arguments.shuffled {
            true => Some(score(&conditioned.clone().shuffled(0), "shuffled")?),
            false => None,
        };
        Ok(Self {
            score: model.config().score(),
            right,
            shuffled,
        })
    }

    fn print(
        &self,
        arguments: &Arguments,
        data: &DataSpec,
        (seconds, channel): (f64, Channel),
    ) -> Result<()> {
        let right = &self.right;
        if arguments.json.json {
            return channel.line(self.json(arguments, data, seconds)?);
        }
        let per_channel = right.per_channel();
        let channels = per_channel.iter().map(|bits| format!("{bits:.4}"));
        let (split, unit) = (arguments.subject.split(), self.score.unit());
        let comma = if unit.contains(',') { "," } else { "" };
        channel.line(format_args!(
            "{} {unit}{comma} on {} of {data}",
            estimate(right.bits_per_dim(), right.std_err(), 4),
            counted(right.images(), &format!("{split} image")),
        ))?;
        channel.line(format_args!(
            "per channel {}; {:.2} nats per image",
            channels.collect::<Vec<_>>().join(", "),
            right.nats_per_image()
        ))?;
        if let Some(note) = self.score.note() {
            channel.line(note)?;
        }
        if let Some(divergence) = right.divergence_bits_per_dim() {
            channel.line(format_args!(
                "of this, {divergence:.4} bits/dim are the divergence of the codes"
            ))?;
        }
        if let Some(shuffled) = &self.shuffled {
            let (difference, std_err) = right.difference(shuffled)?;
            channel.line(format_args!(
                "{:.4} bits/dim given the condition of another image: {} more",
                shuffled.bits_per_dim(),
                estimate(difference, std_err, 4)
            ))?;
        }
        Ok(())
    }

    fn json(&self, arguments: &Arguments, data: &DataSpec, seconds: f64) -> Result<Value> {
        let right = &self.right;
        let mut result = json!({
            "bits_per_dim": right.bits_per_dim(),
            "std_err": right.std_err(),
            "per_channel": right.per_channel(),
            "nats_per_image": right.nats_per_image(),
            "score": self.score.unit(),
            "note": self.score.note(),
            "images": right.images(),
            "data": data.to_string(),
            "split": arguments.subject.split().to_string(),
            "seconds": seconds,
        });
        if let Some(divergence) = right.divergence_bits_per_dim() {
            result["divergence_bits_per_dim"] = json!(divergence);
        }
        if let Some(shuffled) = &self.shuffled {
            let (difference, std_err) = right.difference(shuffled)?;
            result["shuffled"] = json!({
                "bits_per_dim": shuffled.bits_per_dim(),
                "difference": difference,
                "std_err": std_err,
            });
        }
        Ok(result)
    }
}

/// Writes a row for each image, if there is a table.
fn list(likelihood: &Likelihood, target: Option<&Target>) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    let mut table = CsvWriter::create(target, ["image", "bits_per_dim", "nats"])?;
    let each = likelihood.bits_per_dim_of_each();
    for (index, (bits, nats)) in each.iter().zip(likelihood.nats_of_each()).enumerate() {
        table.row([&index.to_string(), &bits.to_string(), &nats.to_string()])?;
    }
    table.finish()
}

/// Writes the logits of every image while they are computed, for comparison with
/// other implementations.
fn dump(
    (density, network, target): (&DensityModel, &Network, &Target),
    conditioned: &ConditionedDataset,
    batch: usize,
) -> Result<()> {
    let images = conditioned.images();
    let (c, h, w) = images.shape();
    let (n, levels) = (images.len(), density.image().levels);
    let tensors = [
        ("logits", "F32", vec![n, c, levels, h, w], 4),
        match images.dtype() {
            DType::U8 => ("values", "U8", vec![n, c, h, w], 1),
            _ => ("values", "U32", vec![n, c, h, w], 4),
        },
    ];
    let mut file = TensorsWriter::create(target, &tensors)?;
    for batch in images.in_order(batch)? {
        let Batch { values, images, .. } = batch?;
        let given = conditioned.given(&images, &values)?;
        let condition = density.condition_encoder().encode(&given, (h, w))?;
        let logits = network.outputs(&values, &condition)?;
        let logits = logits.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        file.floats(&logits.flatten_all()?.to_vec1()?)?;
    }
    for values in images.blocks() {
        match values? {
            Values::U8(values) => file.bytes(&values)?,
            Values::U16(values) => {
                let wide = values.into_iter().map(u32::from);
                file.bytes(&wide.flat_map(u32::to_le_bytes).collect::<Vec<_>>())?;
            }
        }
    }
    file.finish()?;
    target.wrote(format_args!("logits of {}", counted(n, "image")));
    Ok(())
}
