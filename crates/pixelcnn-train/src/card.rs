//! The model card beside a model.

use pixelcnn_models::Conditioning;

use crate::RunConfig;
use crate::Summary;

/// `README.md` of a model directory: what the model is, how it was made, and
/// its measured numbers.
pub(crate) fn model_card(config: &RunConfig, summary: &Summary) -> String {
    let image = config.model.image();
    let mut card = format!(
        "# {name}\n\n\
         | | |\n|---|---|\n\
         | images | {c} x {h} x {w}, {levels} levels |\n\
         | parameters | {parameters} |\n\
         | trained on | `{data}` |\n\
         | images seen | {seen} |\n\
         | seed | {seed} |\n\
         | validation | {score:.4} {unit} |\n",
        name = config.model.name(),
        c = image.channels,
        h = image.height,
        w = image.width,
        levels = image.levels,
        parameters = summary.parameters,
        data = config.data,
        seen = summary.images_seen,
        seed = config.seed,
        score = summary.valid_score,
        unit = summary.unit,
    );
    let shrink = config.shrink.map(|factor| format!(" --shrink {factor}"));
    let bits = config.bits.map(|bits| format!(" --bits {bits}"));
    let file = match (&config.condition_files, config.model.conditioning()) {
        (None, _) => "",
        (Some(_), Some(Conditioning::Map { .. })) => " --map FILE",
        (Some(_), _) => " --vector FILE",
    };
    card.push_str(&format!(
        "\nThis model has the best validation score of its run. For a test score, run\n\
         `pixelcnn eval --model DIR --data {} --split test{}{}{}`.\n",
        config.data,
        shrink.unwrap_or_default(),
        bits.unwrap_or_default(),
        file,
    ));
    card
}
