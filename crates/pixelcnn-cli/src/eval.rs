//! `pixelcnn eval`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_data::{DataSpec, Images};
use pixelcnn_models::{Conditioning, Kind, Likelihood, Model, write_tensors};
use pixelcnn_train::{Examples, evaluate};
use serde_json::{Value, json};

use crate::data::{Portion, Subject};
use crate::{output, progress, score, surprise};

/// Measures a model: the likelihood of images, or what the network is for
///
/// An auto-encoder of means: mean squared error. An embedding network: area
/// under the ROC curve and accuracy of verification, at the threshold that is
/// best on the validation images. A classifier: accuracy.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    portion: Portion,
    /// Vectors or maps that the images are conditioned on, .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    given: Option<PathBuf>,
    /// Score each image also with another image's condition
    #[arg(long)]
    shuffled: bool,
    /// Also write the tensors `logits` [n, c, levels, h, w] and `values` [n, c, h, w]
    #[arg(long, value_name = "FILE", requires = "limit")]
    dump_logits: Option<PathBuf>,
    /// Also write each image with a map of its bits beside it into this folder
    #[arg(long, value_name = "DIR")]
    map: Option<PathBuf>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (subject, batch) = (&arguments.subject, arguments.portion.batch());
    let (model, device) = subject.model()?;
    let data = subject.load()?;
    let images = data.images(subject.split, arguments.portion.limit)?;
    if let Kind::AutoEncoder(_) | Kind::Embedding(_) | Kind::Classifier(_) = model.kind() {
        let files = [&arguments.dump_logits, &arguments.map, &arguments.given];
        if arguments.shuffled || files.into_iter().any(Option::is_some) {
            let name = model.config().name();
            bail!("--shuffled, --dump-logits, --map, --given: {name} has no likelihood");
        }
        let result = score::measure(&model, &data, &images, batch, &device)?;
        score::print(result, &data, subject.split, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let given = arguments.given.as_deref();
    let examples = data.examples(&model, &images, subject.split, given)?;
    if arguments.shuffled {
        check_shuffled(&model, &images)?;
    }
    let image = model.config().image();
    let trained = (image.channels, image.height, image.width);
    if images.shape() != trained {
        tracing::warn!(found = ?images.shape(), ?trained, "images of another size");
    }
    // What cannot be done is said before it takes long.
    let map = match &arguments.map {
        Some(folder) => {
            output::create_folder(folder)?;
            Some((surprise::engine(&model)?, folder))
        }
        None => None,
    };
    let start = Instant::now();
    let scores = Scores::of(&model, &examples, arguments, &device)?;
    if let Some(path) = &arguments.dump_logits {
        dump(&model, &examples, batch, &device, path)?;
    }
    if let Some((engine, folder)) = &map {
        surprise::write(engine, &examples, batch, folder)?;
    }
    scores.print(arguments, &data.spec, start.elapsed().as_secs_f64())?;
    Ok(ExitCode::SUCCESS)
}

/// That images can be given the condition of others.
fn check_shuffled(model: &Model, images: &Images) -> Result<()> {
    let (count, labels) = (images.len(), images.labels());
    match model.config().conditioning() {
        None => bail!("--shuffled: {} has no condition", model.config().name()),
        Some(_) if count < 2 => {
            bail!("--shuffled: two images at least expected, found {count}")
        }
        Some(Conditioning::Class { .. }) if labels.windows(2).all(|pair| pair[0] == pair[1]) => {
            tracing::warn!(label = labels[0], "shuffled: the images have but one label");
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// The likelihood given the right conditions, and given others' if asked for.
struct Scores {
    right: Likelihood,
    shuffled: Option<Likelihood>,
}

impl Scores {
    fn of(
        model: &Model,
        examples: &Examples,
        arguments: &Arguments,
        device: &Device,
    ) -> Result<Self> {
        let score = |examples: &Examples, what: &'static str| {
            let mut bar = progress::Progress::start(what, examples.images().len());
            let mut report = |done| bar.at(done, 1.0, "");
            evaluate(
                model,
                examples,
                arguments.portion.batch(),
                device,
                &mut report,
            )
        };
        let right = score(examples, "evaluating")?;
        if !right.bits_per_dim().is_finite() {
            let (model, bits) = (arguments.subject.model.display(), right.bits_per_dim());
            bail!("{model}: {bits} bits/dim: the network's numbers overflow");
        }
        let shuffled = match arguments.shuffled {
            true => Some(score(&examples.clone().shuffled(0), "shuffled")?),
            false => None,
        };
        Ok(Self { right, shuffled })
    }

    fn print(&self, arguments: &Arguments, data: &DataSpec, seconds: f64) -> Result<()> {
        let right = &self.right;
        if arguments.json {
            return output::line(self.json(arguments, data, seconds)?);
        }
        let per_channel = right.per_channel();
        let channels = per_channel.iter().map(|bits| format!("{bits:.4}"));
        output::line(format_args!(
            "{right} on {} {} images of {}\n\
             per channel {}; {:.2} nats an image",
            right.images(),
            arguments.subject.split,
            data,
            channels.collect::<Vec<_>>().join(", "),
            right.nats_per_image()
        ))?;
        if let Some(divergence) = right.divergence_bits_per_dim() {
            output::line(format_args!(
                "a bound, of which {divergence:.4} bits/dim are the divergence of the codes"
            ))?;
        }
        if let Some(shuffled) = &self.shuffled {
            let (difference, std_err) = right.difference(shuffled)?;
            let std_err = std_err.map(|it| format!(" ± {it:.4}")).unwrap_or_default();
            output::line(format_args!(
                "{:.4} bits/dim given another image's condition: {difference:.4}{std_err} more",
                shuffled.bits_per_dim()
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
            "images": right.images(),
            "data": data.to_string(),
            "split": arguments.subject.split.to_string(),
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

/// The logits of every image, for comparison with other implementations.
fn dump(
    model: &Model,
    examples: &Examples,
    batch: usize,
    device: &Device,
    path: &Path,
) -> Result<()> {
    let images = examples.images();
    let mut logits = Vec::new();
    for start in (0..images.len()).step_by(batch) {
        let indices: Vec<usize> = (start..images.len().min(start + batch)).collect();
        let values = images.gather(&indices, device)?;
        let condition = examples.condition(&indices, &values)?;
        logits.push(model.logits(&values, &condition)?.to_device(&Device::Cpu)?);
    }
    let values = images.tensor(0..images.len(), &Device::Cpu)?;
    let tensors = BTreeMap::from([
        ("logits".to_string(), Tensor::cat(&logits, 0)?),
        ("values".to_string(), values),
    ]);
    Ok(write_tensors(path, &tensors, "")?)
}
