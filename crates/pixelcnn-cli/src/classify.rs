//! `pixelcnn classify`.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::DType;
use pixelcnn_data::{Images, Values};
use pixelcnn_models::{Classes, Kind, Model};
use pixelcnn_train::{ConditionedDataset, classify};

use crate::arguments::JsonFlag;
use crate::data::{Portion, Subject};
use crate::{condition, model, progress};
use pixelcnn_system::counted;
use report::Report;

/// Classifies images with a class-conditional model (Bayes' rule) or a
/// classifier; all classes are equally likely a priori
///
/// Prints for each image its number in the data set, its class, and the likeliest
/// classes with their probabilities; then, for each class, how its images were
/// classified.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    portion: Portion,
    /// Classify the images of a NumPy file [n, c, h, w] instead of a data set
    #[arg(long, value_name = "FILE", requires = "label", conflicts_with_all = ["data", "limit", "split"])]
    npy: Option<PathBuf>,
    /// The correct class of each image of the file, by name or number from 0; can be
    /// repeated, for example for a name with a comma
    #[arg(long, value_name = "CLASS,CLASS", requires = "npy")]
    label: Vec<String>,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, _) = arguments.subject.model()?;
    let Some(classes) = model.config().classes() else {
        bail!("{} cannot classify images", model.config().name());
    };
    let (classes, images) = images(arguments, &model, classes)?;
    // Checks that the labels are those of the model.
    ConditionedDataset::new(model.config(), &images, None)?;
    let batch = arguments.portion.batch;
    let mut bar = progress::Progress::start("classifying", images.len());
    let logs = classify(&model, &images, batch, &mut |done| bar.at(done))?;
    drop(bar);
    let likelihoods = matches!(model.kind(), Kind::Density(_));
    let report = Report::new(&classes, images.labels(), logs);
    match arguments.json.json {
        true => report.print_json(likelihoods)?,
        false => report.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The images and the classes, with names from the model or else from the data
/// set.
fn images(arguments: &Arguments, model: &Model, classes: &Classes) -> Result<(Classes, Images)> {
    let Some(path) = &arguments.npy else {
        let data = arguments.subject.load(model)?;
        let images = data.images(arguments.subject.split(), arguments.portion.limit)?;
        let classes = match data.classes() {
            [] => classes.clone(),
            names => Classes::Names(names.to_vec()),
        };
        return Ok((classes, images));
    };
    let values = model::read_values(path)?;
    let image = model.config().image();
    image
        .check(&values)
        .with_context(|| path.display().to_string())?;
    let labels = condition::labels(classes, &arguments.label).context("--label")?;
    let (count, c, h, w) = values.dims4()?;
    if count != labels.len() {
        let (images, labels) = (counted(count, "image"), labels.len());
        bail!("--label: one class for each of {images} expected, found {labels}");
    }
    let values = values.to_dtype(DType::U32)?.flatten_all()?;
    let values = values.to_vec1::<u32>()?.into_iter();
    let values = match image.levels <= 1 << 8 {
        true => Values::U8(values.map(|value| value as u8).collect()),
        false => Values::U16(values.map(|value| value as u16).collect()),
    };
    let images = Images::from_values((c, h, w), values, labels)?;
    Ok((classes.clone(), images.with_levels(image.levels)?))
}
