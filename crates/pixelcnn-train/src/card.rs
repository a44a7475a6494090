//! The model card beside a model.

mod front_matter;

use std::fmt;

use pixelcnn_models::{Conditioning, ModelConfig, Task};

use crate::{Measure, RunConfig, Summary};

/// `README.md` of a model directory: what the model is, how it was made, and its measured
/// numbers. For the hub, it begins with data for programs, in YAML.
///
/// # Example
///
/// ```
/// use pixelcnn_models::ModelConfig;
/// use pixelcnn_train::ModelCard;
///
/// let text = r#"{"kind": "uniform",
///     "image": {"channels": 1, "height": 28, "width": 28, "levels": 2}}"#;
/// let model: ModelConfig = serde_json::from_str(text)?;
/// let card = ModelCard {
///     model: &model,
///     parameters: 0,
///     run: None,
///     images_seen: None,
///     measures: &[],
///     publication: None,
/// };
/// assert!(card.to_string().contains("| images | 1 x 28 x 28, 2 levels |"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelCard<'a> {
    /// The model.
    pub model: &'a ModelConfig,
    /// Number of weights, without masked ones.
    pub parameters: usize,
    /// The run that trained it.
    pub run: Option<&'a RunConfig>,
    /// Training images seen, including repetitions.
    pub images_seen: Option<usize>,
    /// The measured scores.
    pub measures: &'a [Measure],
    /// What a published card says besides.
    pub publication: Option<Publication<'a>>,
}

/// What the card of a published model says besides its description.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Publication;
///
/// let publication = Publication {
///     name: "fashion",
///     license: Some("mit"),
///     datasets: &["zalando-datasets/fashion_mnist".to_string()],
///     dtype: "f16",
///     picture: Some("samples.png"),
///     notes: None,
/// };
/// assert_eq!(publication.license, Some("mit"));
/// ```
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The name of the model.
    pub name: &'a str,
    /// The identifier of its licence on the hub.
    pub license: Option<&'a str>,
    /// Identifiers of data sets on the hub.
    pub datasets: &'a [String],
    /// The type of the stored weights.
    pub dtype: &'a str,
    /// The file with samples.
    pub picture: Option<&'a str>,
    /// A text in Markdown, for example on how the data were made.
    pub notes: Option<&'a str>,
}

impl ModelCard<'_> {
    fn write_table(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = self.model.image();
        writeln!(formatter, "| | |\n|---|---|")?;
        let (c, h, w, levels) = (image.channels, image.height, image.width, image.levels);
        writeln!(formatter, "| images | {c} x {h} x {w}, {levels} levels |")?;
        writeln!(formatter, "| parameters | {} |", self.parameters)?;
        if let Some(publication) = &self.publication {
            let note = "computation is in f32";
            writeln!(formatter, "| stored as | {}; {note} |", publication.dtype)?;
        }
        if let Some(run) = self.run {
            writeln!(formatter, "| trained on | `{}` |", run.data)?;
        }
        if let Some(seen) = self.images_seen {
            writeln!(formatter, "| images seen | {seen} |")?;
        }
        if let Some(run) = self.run {
            writeln!(formatter, "| seed | {} |", run.seed)?;
        }
        let own = self.run.map(|run| run.data.as_str());
        for measure in self.measures {
            let split = match measure.split.as_str() {
                "valid" => "validation",
                split => split,
            };
            let images = measure.images.map(|images| format!(", {images} images"));
            let images = images.unwrap_or_default();
            match own == Some(measure.data.as_str()) {
                true => writeln!(formatter, "| {split}{images} | {measure} |")?,
                false => {
                    let data = &measure.data;
                    writeln!(formatter, "| {split} of `{data}`{images} | {measure} |")?;
                }
            }
        }
        Ok(())
    }

    /// How the model can be scored.
    fn write_scoring(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(run) = self.run else {
            return Ok(());
        };
        let shrink = run.shrink.map(|factor| format!(" --shrink {factor}"));
        let bits = run.bits.map(|bits| format!(" --bits {bits}"));
        let file = match (&run.condition_files, self.model.conditioning()) {
            (None, _) => "",
            (Some(_), Some(Conditioning::Map { .. })) => " --map FILE",
            (Some(_), _) => " --vector FILE",
        };
        let is_tested = self.measures.iter().any(|measure| measure.split == "test");
        let purpose = match is_tested {
            true => "To measure the test score again",
            false => "For a test score",
        };
        writeln!(
            formatter,
            "\nThis model has the best validation score of its run. {purpose}, run\n\
             `pixelcnn eval --model DIR --data {} --split test{}{}{}`.",
            run.data,
            shrink.unwrap_or_default(),
            bits.unwrap_or_default(),
            file,
        )
    }

    fn write_publication(
        &self,
        formatter: &mut fmt::Formatter<'_>,
        publication: &Publication<'_>,
    ) -> fmt::Result {
        if let Some(notes) = publication.notes {
            writeln!(formatter, "\n{}", notes.trim())?;
        }
        writeln!(
            formatter,
            "\n## Use\n\n\
             ```sh\n\
             pixelcnn info --model hf:OWNER/NAME      # or the folder of these files\n\
             {}\
             ```\n\n\
             To publish the folder: `hf upload OWNER/NAME DIR`.",
            self.command()
        )
    }

    /// A command that uses the model, with a line break; empty if there is none.
    fn command(&self) -> String {
        let sample = |condition| {
            let arguments = format!("{condition} --count 16 --out samples.png");
            format!("pixelcnn sample --model hf:OWNER/NAME{arguments}\n")
        };
        let with_data = |command, arguments| {
            format!("pixelcnn {command} --model hf:OWNER/NAME --data DATA{arguments}\n")
        };
        match (self.model.task(), self.model.conditioning()) {
            (Task::Fit, _) => String::new(),
            (Task::Verification, _) => with_data("embed", " --out embeddings.npy"),
            (Task::Classification, _) => with_data("classify", ""),
            (Task::Reconstruction, _) | (_, Some(Conditioning::Code(_))) => {
                with_data("reconstruct", " --index 0,1,2 --out reconstructions.png")
            }
            (Task::Likelihood, given) => match given {
                None => sample(""),
                Some(Conditioning::Class { .. }) => sample(" --label CLASS"),
                Some(Conditioning::Vector { .. }) => sample(" --vector FILE"),
                Some(Conditioning::Map { .. }) => sample(" --map FILE"),
                Some(Conditioning::Caption(_)) => sample(" --caption TEXT"),
                Some(_) => sample(" --image FILE"),
            },
        }
    }
}

impl fmt::Display for ModelCard<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.model.name();
        match &self.publication {
            None => writeln!(formatter, "# {kind}\n")?,
            Some(publication) => {
                front_matter::write(formatter, self.model, publication, self.measures)?;
                writeln!(formatter, "\n# {}\n\n{kind}\n", publication.name)?;
                if let Some(picture) = publication.picture {
                    writeln!(formatter, "![Samples]({picture})\n")?;
                }
            }
        }
        self.write_table(formatter)?;
        self.write_scoring(formatter)?;
        match &self.publication {
            Some(publication) => self.write_publication(formatter, publication),
            None => Ok(()),
        }
    }
}

/// The text of the card of a run's best model.
pub(crate) fn card_of_run(config: &RunConfig, summary: &Summary) -> String {
    let card = ModelCard {
        model: &config.model,
        parameters: summary.parameters,
        run: Some(config),
        images_seen: Some(summary.images_seen),
        measures: &[Measure::of_run(&config.data, summary)],
        publication: None,
    };
    card.to_string()
}
