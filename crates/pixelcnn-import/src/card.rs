//! The model card of an imported model.

use std::path::Path;

use crate::{Format, Import};

/// The `README.md` of an imported model's directory: what it is, where it is from, and what was
/// passed over.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_import::{Format, Import, card};
/// use pixelcnn_models::{Model, ModelConfig};
///
/// let text = r#"{"kind": "uniform",
///     "image": {"channels": 1, "height": 28, "width": 28, "levels": 256}}"#;
/// let (model, _) = Model::initialise(&serde_json::from_str(text)?, 0, &Device::Cpu)?;
/// let import = Import { model, notes: vec!["a note".into()], warnings: vec![] };
/// let card = card(Format::Uvadlc, "PixelCNN.ckpt".as_ref(), &import);
/// assert!(card.contains("| from | `PixelCNN.ckpt`, uvadlc |"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn card(format: Format, file: &Path, import: &Import) -> String {
    let config = import.model.config();
    let image = config.image();
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    let mut card = format!(
        "# {name}\n\n\
         | | |\n|---|---|\n\
         | images | {c} x {h} x {w}, {levels} levels |\n\
         | parameters | {parameters} |\n\
         | from | `{file}`, {format} |\n\n\
         The licence is that of the file. No figure of this model has been measured here:\n\
         `pixelcnn eval --model DIR --data SPEC` does it.\n",
        name = config.name(),
        c = image.channels,
        h = image.height,
        w = image.width,
        levels = image.levels,
        parameters = import.model.parameters(),
    );
    for (title, lines) in [("Import", &import.notes), ("Warnings", &import.warnings)] {
        if !lines.is_empty() {
            card.push_str(&format!("\n## {title}\n\n"));
            let lines = lines.iter().map(|line| format!("- {line}\n"));
            card.extend(lines);
        }
    }
    card
}
