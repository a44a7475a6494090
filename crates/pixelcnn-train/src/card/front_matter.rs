//! The data for programs at the beginning of a published card, in YAML, as the hub reads
//! them.

use std::fmt::{Formatter, Result};

use serde_json::Value;

use pixelcnn_models::{Conditioning, ModelConfig, Task};

use super::Publication;
use crate::Measure;

/// The name of what the model does in the list of the hub; `None` if that has no name for it.
fn pipeline(model: &ModelConfig) -> Option<&'static str> {
    Some(match (model.task(), model.conditioning()) {
        (Task::Fit | Task::Likelihood, None) => "unconditional-image-generation",
        (Task::Likelihood, Some(Conditioning::Caption(_))) => "text-to-image",
        (Task::Likelihood, Some(Conditioning::Image { .. } | Conditioning::Code(_)))
        | (Task::Reconstruction, _) => "image-to-image",
        (Task::Verification, _) => "image-feature-extraction",
        (Task::Classification, _) => "image-classification",
        (Task::Fit | Task::Likelihood, Some(_)) => return None,
    })
}

/// Writes the block with its marks.
pub(super) fn write(
    formatter: &mut Formatter<'_>,
    model: &ModelConfig,
    publication: &Publication<'_>,
    measures: &[Measure],
) -> Result {
    writeln!(formatter, "---")?;
    if let Some(license) = publication.license {
        writeln!(formatter, "license: {}", quoted(license))?;
    }
    writeln!(formatter, "library_name: pixelcnn")?;
    let pipeline = pipeline(model);
    if let Some(name) = pipeline {
        writeln!(formatter, "pipeline_tag: {name}")?;
    }
    writeln!(formatter, "tags:")?;
    for tag in ["pixelcnn", "candle", "autoregressive", "likelihood"] {
        writeln!(formatter, "- {tag}")?;
    }
    if !publication.datasets.is_empty() {
        writeln!(formatter, "datasets:")?;
    }
    for dataset in publication.datasets {
        writeln!(formatter, "- {}", quoted(dataset))?;
    }
    if !measures.is_empty() {
        let task = pipeline.unwrap_or("conditional-image-generation");
        write_index(formatter, (publication.name, task), measures)?;
    }
    writeln!(formatter, "---")
}

/// The scores, in the form of the hub.
fn write_index(
    formatter: &mut Formatter<'_>,
    (name, task): (&str, &str),
    measures: &[Measure],
) -> Result {
    writeln!(
        formatter,
        "model-index:\n- name: {}\n  results:",
        quoted(name)
    )?;
    for measure in measures {
        let (data, split) = (quoted(&measure.data), quoted(&measure.split));
        writeln!(
            formatter,
            "  - task:\n      type: {task}\n    dataset:\n      name: {data}\n      type: {data}\n      \
             split: {split}\n    metrics:\n    - type: {}\n      name: {}\n      value: {}",
            quoted(&type_of(&measure.unit)),
            quoted(&measure.unit),
            measure.value
        )?;
    }
    Ok(())
}

/// The type of a metric: its unit in small letters and underscores, without what follows a
/// comma or `given`.
fn type_of(unit: &str) -> String {
    let unit = unit.split(',').next().unwrap_or(unit);
    let unit = unit.split(" given ").next().unwrap_or(unit).trim();
    let unit = unit.to_lowercase().replace("bits/dim", "bits_per_dim");
    unit.replace(|other: char| !other.is_ascii_alphanumeric(), "_")
}

/// A text in quotation marks, as in JSON, which is also YAML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use crate::{Measure, ModelCard, Publication};
    use pixelcnn_models::ModelConfig;

    const BEGINNING: &str = r#"---
license: "cc0-1.0"
library_name: pixelcnn
pipeline_tag: unconditional-image-generation
tags:
- pixelcnn
- candle
- autoregressive
- likelihood
datasets:
- "a/b"
model-index:
- name: "uni: \"form\""
  results:
  - task:
      type: unconditional-image-generation
    dataset:
      name: "hf:a/b"
      type: "hf:a/b"
      split: "test"
    metrics:
    - type: "bits_per_dim"
      name: "bits/dim given the grey image"
      value: 8
---

# uni: "form"

Uniform Distribution

![Samples](samples.png)
"#;

    #[test]
    fn a_published_card_has_the_fields_of_the_hub() {
        let text = r#"{"kind": "uniform",
            "image": {"channels": 1, "height": 28, "width": 28, "levels": 256}}"#;
        let model: ModelConfig = serde_json::from_str(text).unwrap();
        let measure = Measure {
            value: 8.0,
            std_err: Some(0.5),
            unit: "bits/dim given the grey image".into(),
            data: "hf:a/b".into(),
            split: "test".into(),
            images: Some(7),
        };
        let card = ModelCard {
            model: &model,
            parameters: 12,
            run: None,
            images_seen: None,
            measures: std::slice::from_ref(&measure),
            publication: Some(Publication {
                name: "uni: \"form\"",
                license: Some("cc0-1.0"),
                datasets: &["a/b".to_string()],
                dtype: "bf16",
                picture: Some("samples.png"),
                notes: Some("# Data\n\nNone.\n"),
            }),
        };
        let text = card.to_string();
        assert!(text.starts_with(BEGINNING), "{text}");
        for part in [
            "| stored as | bf16; computation is in f32 |",
            "| test of `hf:a/b`, 7 images | 8.0000 ± 0.5000 bits/dim given the grey image |",
            "\n\n# Data\n\nNone.\n\n## Use\n",
            "hf upload OWNER/NAME DIR",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
