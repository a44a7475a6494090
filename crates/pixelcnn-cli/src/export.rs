//! `pixelcnn export`.

mod metrics;
mod samples;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use pixelcnn_data::DataSpec;
use pixelcnn_models::{Model, read_note, weight_files};
use pixelcnn_system::{destination, read_file, write_file};
use pixelcnn_train::{Measure, ModelCard, Provenance, Publication, RunConfig, Summary};
use serde_json::json;

use crate::arguments::{JsonFlag, ModelFlag, SeedFlag};
use crate::condition::DirectFlags;
use crate::{model, output};

/// Writes a model for publication: weights, configuration, a card for the Hugging Face hub, and
/// a picture of samples
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelFlag,
    /// The folder to write; its name is that of the model in the card
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The type of the stored weights: f32, f16 or bf16. A model computes in f32 with the
    /// stored numbers
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = dtype)]
    dtype: DType,
    /// The licence, as the hub names it, for example mit
    #[arg(long, value_name = "ID")]
    license: Option<String>,
    /// The name of a data set on the hub that the model was trained on, OWNER/NAME; can be
    /// repeated
    #[arg(long, value_name = "ID")]
    dataset: Vec<String>,
    /// The result of `pixelcnn eval --json` in a file, for the card; can be repeated
    #[arg(long, value_name = "FILE")]
    metrics: Vec<PathBuf>,
    /// A text in Markdown for the card, for example on how the data were made
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    #[command(flatten)]
    given: DirectFlags,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// The file of the samples.
const PICTURE: &str = "samples.png";

/// The configuration of the run that trained an exported model.
const TRAINING: &str = "training.toml";

/// Limit on the bytes of the notes.
const LONGEST_NOTES: u64 = 1 << 20;

fn dtype(text: &str) -> Result<DType> {
    match text {
        "f32" => Ok(DType::F32),
        "f16" => Ok(DType::F16),
        "bf16" => Ok(DType::BF16),
        other => bail!("f32, f16 or bf16 expected, found {other}"),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (out, folder) = (&arguments.out, arguments.model.folder()?);
    let name = check(out, &folder)?;
    let model = model::load(&arguments.model.model, &Device::Cpu)?;
    let origin = Origin::of(&folder)?;
    let mut measures = origin.measures()?;
    for file in &arguments.metrics {
        measures.push(metrics::read(file).context("--metrics")?);
    }
    let datasets = datasets(arguments, &origin)?;
    let notes = arguments.notes.as_deref().map(read_notes).transpose()?;
    if arguments.license.is_none() {
        tracing::warn!("the card names no licence: --license sets it");
    }
    let given = arguments.given.read(&model)?;
    output::create_folder(out)?;
    // First, because a weight may be too large for the type; the folder is then still empty.
    export(&model, arguments, measures.clone())?;
    let drawn = samples::draw(&model, given, arguments.seed.seed, &out.join(PICTURE))?;
    let card = ModelCard {
        model: model.config(),
        parameters: model.parameters(),
        run: origin.config.as_ref(),
        images_seen: origin.summary.as_ref().map(|summary| summary.images_seen),
        measures: &measures,
        publication: Some(Publication {
            name: &name,
            license: arguments.license.as_deref(),
            datasets: &datasets,
            dtype: arguments.dtype.as_str(),
            picture: drawn.then_some(PICTURE),
            notes: notes.as_deref(),
        }),
    };
    write(&out.join("README.md"), &card.to_string())?;
    if let Some(run) = &origin.config {
        write(&out.join(TRAINING), &run.to_toml()?)?;
    }
    report(arguments, &model, drawn, &measures)?;
    Ok(ExitCode::SUCCESS)
}

fn read_notes(path: &Path) -> Result<String> {
    let shown = || format!("--notes {}", path.display());
    let bytes = read_file(path, LONGEST_NOTES).with_context(shown)?;
    String::from_utf8(bytes).with_context(shown)
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_file(path, text.as_bytes()).with_context(|| path.display().to_string())
}

/// Writes the weights with what is known about them, and the configuration.
fn export(model: &Model, arguments: &Arguments, measures: Vec<Measure>) -> Result<()> {
    let note = serde_json::to_string(&Provenance {
        program: format!("pixelcnn {}", env!("CARGO_PKG_VERSION")),
        parameters: model.parameters(),
        measures,
    })?;
    Ok(model.export(&arguments.out, arguments.dtype, &note)?)
}

/// Refuses folders whose files would be lost. Returns the name of the model.
fn check(out: &Path, model: &Path) -> Result<String> {
    let place = destination(out).unwrap_or_else(|_| out.to_path_buf());
    let shown = out.display();
    if place == model.canonicalize()? {
        bail!("--out {shown}: the folder of the model itself: choose another folder");
    }
    if out.join("run.toml").exists() {
        bail!("--out {shown}: the folder of a run: choose another folder");
    }
    if out.exists() && !out.is_dir() {
        bail!("--out {shown}: a file: choose the name of a folder");
    }
    output::check_new_folder(out)?;
    let name = place.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("--out {shown}: a folder with a name expected"))?;
    Ok(name.to_string())
}

/// What a model directory says about how the model was made.
struct Origin {
    config: Option<RunConfig>,
    summary: Option<Summary>,
    /// From an earlier export.
    exported: Option<Provenance>,
}

impl Origin {
    fn of(folder: &Path) -> Result<Self> {
        let real = folder.canonicalize()?;
        let run = real.parent().filter(|_| real.ends_with("best"));
        let run = run.filter(|run| run.join("run.toml").exists());
        let configuration = match run {
            Some(run) => Some(run.join("run.toml")),
            None => Some(real.join(TRAINING)).filter(|file| file.exists()),
        };
        let exported = match weight_files(folder)?.as_slice() {
            [file] => read_note(file)?.and_then(|note| Provenance::read(&note)),
            _ => None,
        };
        Ok(Self {
            config: configuration
                .map(|file| RunConfig::read(&file))
                .transpose()?,
            summary: run.map(Summary::read).transpose()?.flatten(),
            exported,
        })
    }

    fn measures(&self) -> Result<Vec<Measure>> {
        Ok(match (&self.config, &self.summary, &self.exported) {
            (Some(run), Some(summary), _) => vec![Measure::of_run(&run.data, summary)],
            (_, _, Some(exported)) => exported.measures.clone(),
            (Some(_), None, None) => {
                tracing::warn!("the run is not finished: the card has no score");
                Vec::new()
            }
            (None, _, None) => Vec::new(),
        })
    }
}

/// The data sets for the card: those of the flags, or that of the run, if it is one of the hub.
fn datasets(arguments: &Arguments, origin: &Origin) -> Result<Vec<String>> {
    if !arguments.dataset.is_empty() {
        return Ok(arguments.dataset.clone());
    }
    let Some(run) = &origin.config else {
        return Ok(Vec::new());
    };
    let spec: DataSpec = run.data.parse()?;
    Ok(spec.hub_name().map(String::from).into_iter().collect())
}

fn report(arguments: &Arguments, model: &Model, drawn: bool, measures: &[Measure]) -> Result<()> {
    let out = arguments.out.display();
    let weights = weight_files(&arguments.out)?;
    let sizes = weights.iter().filter_map(|file| file.metadata().ok());
    let bytes: u64 = sizes.map(|found| found.len()).sum();
    if arguments.json.json {
        return output::line(json!({
            "out": out.to_string(),
            "dtype": arguments.dtype.as_str(),
            "parameters": model.parameters(),
            "bytes": bytes,
            "picture": drawn.then_some(PICTURE),
            "scores": measures,
        }));
    }
    output::line(format_args!(
        "{out}: {}, {:.2} MB of weights in {}; publish it with `hf upload OWNER/NAME {out}`",
        model.config().name(),
        bytes as f64 / 1e6,
        arguments.dtype.as_str()
    ))
}
