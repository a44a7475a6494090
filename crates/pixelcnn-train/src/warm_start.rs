//! The initial weights of a run.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use pixelcnn_models::{
    AutoEncoderConfig, Conditioning, EmbeddingConfig, ImageEncoderConfig, ImageShape, Model,
    ModelConfig, Variables, find_model, weight_files,
};

use crate::error::list;
use crate::{Result, RunConfig, TrainError};

/// A model with the weights of `init_from`, or random ones, except those from the pretrained
/// encoder of the configuration.
pub(crate) fn initialise(config: &RunConfig, device: &Device) -> Result<(Model, Variables)> {
    if let Some(model) = initial_model(config, device)? {
        let tensors = model.tensors().clone();
        return Ok(Model::trainable(&config.model, tensors, device)?);
    }
    let drawn = Model::initialise(&config.model, config.seed, device)?;
    let Some(encoder) = pretrained_encoder(config, device)? else {
        return Ok(drawn);
    };
    let mut tensors = drawn.0.tensors().clone();
    for (name, tensor) in encoder.tensors() {
        let name = match config.model.conditioning() {
            Some(Conditioning::Embedding(_)) => format!("condition.embedding.{name}"),
            _ => match code_weight(name) {
                Some(name) => name,
                None => continue,
            },
        };
        let Some(drawn) = tensors.get(&name) else {
            continue; // a decoder, where h has no position
        };
        let begun = match drawn.dim(0)?.checked_sub(tensor.dim(0)?) {
            None | Some(0) => tensor.clone(),
            // In a Gaussian bottleneck, the log variances follow the means.
            Some(more) => Tensor::cat(&[tensor, &drawn.narrow(0, more, more)?], 0)?,
        };
        tensors.insert(name, begun);
    }
    Ok(Model::trainable(&config.model, tensors, device)?)
}

/// The name that a weight of an auto-encoder of means has in a model conditioned on a
/// code; `None` for its last convolution, which computes colours.
fn code_weight(name: &str) -> Option<String> {
    match (name.strip_prefix("encoder."), name.strip_prefix("decoder.")) {
        (Some(rest), _) => Some(format!("condition.code.{rest}")),
        (_, Some(rest)) if !rest.starts_with("last.") => Some(format!("condition.spatial.{rest}")),
        _ => None,
    }
}

/// The model `init_from`. It is an error if it is another model than that of the
/// run.
pub(crate) fn initial_model(config: &RunConfig, device: &Device) -> Result<Option<Model>> {
    let Some(asked) = &config.init_from else {
        return Ok(None);
    };
    let folder = find_model(asked)?;
    let model = Model::load(&folder, device)?;
    match model.config() == &config.model {
        true => Ok(Some(model)),
        false => {
            let [expected, found] = [&config.model, model.config()].map(serde_json::to_string);
            let json = |error| TrainError::run(&folder, error);
            let why = format!(
                "init_from needs the model of the run, {}; found {}",
                expected.map_err(json)?,
                found.map_err(json)?
            );
            Err(TrainError::run(&folder, why))
        }
    }
}

/// The network `pretrained_encoder`. It is an error if the network
/// does not fit the model's conditioning, or if the model needs one and none is given.
pub(crate) fn pretrained_encoder(config: &RunConfig, device: &Device) -> Result<Option<Model>> {
    let conditioning = config.model.conditioning();
    let folder = match (conditioning, &config.pretrained_encoder) {
        (Some(Conditioning::Embedding(_)), None) if config.init_from.is_none() => {
            let why = "the model needs a trained embedding network: give its folder or its name"
                .to_string();
            return Err(TrainError::Invalid {
                what: "pretrained_encoder".to_string(),
                why,
            });
        }
        (_, None) => return Ok(None),
        (_, Some(folder)) => find_model(folder)?,
    };
    let found = Model::load(&folder, device)?;
    let image = config.model.image();
    let (fits, expected) = match (conditioning, found.config()) {
        (Some(Conditioning::Embedding(image_encoder)), config) => {
            let found = config.get::<EmbeddingConfig>();
            let fits = found.is_some_and(|found| {
                found.image_encoder() == *image_encoder && found.image == image
            });
            (
                fits,
                format!("an embedding network {}", sizes(image_encoder, image)),
            )
        }
        (Some(Conditioning::Code(code)), config) => {
            let hidden = code.spatial.map(|spatial| spatial.hidden);
            let found = config.get::<AutoEncoderConfig>();
            let fits = found.is_some_and(|found| {
                found.image_encoder() == code.image_encoder()
                    && found.image == image
                    && hidden.is_none_or(|hidden| hidden == found.hidden)
            });
            let sizes = sizes(&code.image_encoder(), image);
            let hidden = hidden.map(|hidden| format!(", hidden = {hidden}"));
            let hidden = hidden.unwrap_or_default();
            (fits, format!("an auto-encoder {sizes}{hidden}"))
        }
        _ => return Ok(None),
    };
    match fits {
        true => Ok(Some(found)),
        false => {
            let why = format!("{expected} expected, found {}", described(found.config()));
            Err(TrainError::run(&folder, why))
        }
    }
}

/// Describes a model that is not an encoder for this run.
fn described(model: &ModelConfig) -> String {
    let image = model.image();
    if let Some(found) = model.get::<EmbeddingConfig>() {
        return format!(
            "an embedding network {}",
            sizes(&found.image_encoder(), image)
        );
    }
    if let Some(found) = model.get::<AutoEncoderConfig>() {
        let sizes = sizes(&found.image_encoder(), image);
        return format!("an auto-encoder {sizes}, hidden = {}", found.hidden);
    }
    format!("the model {}", model.name())
}

fn sizes(image_encoder: &ImageEncoderConfig, image: ImageShape) -> String {
    let ImageEncoderConfig {
        length,
        encoder_maps,
    } = image_encoder;
    let ImageShape {
        channels,
        height,
        width,
        levels,
    } = image;
    format!(
        "of {channels} x {height} x {width} with {levels} levels, length = {length}, encoder_maps = {}",
        list(encoder_maps)
    )
}

/// The files of the weights of `init_from`.
pub(crate) fn initial_weights(config: &RunConfig) -> Result<Vec<PathBuf>> {
    weights_of(config.init_from.as_deref())
}

/// The files of the weights of the pretrained encoder.
pub(crate) fn pretrained_weights(config: &RunConfig) -> Result<Vec<PathBuf>> {
    weights_of(config.pretrained_encoder.as_deref())
}

fn weights_of(model: Option<&str>) -> Result<Vec<PathBuf>> {
    match model {
        Some(name) => Ok(weight_files(find_model(name)?)?),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn run(model: &str, encoder: &Path) -> RunConfig {
        let text = format!(
            r#"
            seed = 1
            data = "none"
            pretrained_encoder = "{}"
            [model]
            {model}
            image = {{ channels = 3, height = 8, width = 8, levels = 256 }}
            "#,
            encoder.display()
        );
        toml::from_str(&text).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_code_starts_with_the_weights_of_an_auto_encoder() {
        let folder = tempfile::tempdir().unwrap();
        let means = r#"kind = "auto-encoder"
            length = 3
            encoder_maps = [4]
            hidden = 5"#;
        let means = run(means, folder.path()).model;
        let (means, _) = Model::initialise(&means, 9, &Device::Cpu).unwrap();
        means.save(folder.path()).unwrap();
        for bottleneck in [
            r#"{ kind = "plain" }"#,
            r#"{ kind = "gaussian", weight = 1.0, free_bits = 0.0 }"#,
        ] {
            let model = |length: usize| {
                let spatial = "{ maps = 2, hidden = 5 }";
                [
                    r#"kind = "gated-pixelcnn""#,
                    "first_kernel = 3\nkernel = 3\nblocks = 1\nmaps = 4\nhead = 4",
                    r#"conditioning.kind = "code""#,
                    "conditioning.encoder = [4]",
                    &format!("conditioning.length = {length}"),
                    &format!("conditioning.bottleneck = {bottleneck}"),
                    &format!("conditioning.spatial = {spatial}"),
                ]
                .join("\n")
            };
            let config = run(&model(3), folder.path());
            let (begun, variables) = initialise(&config, &Device::Cpu).unwrap();
            assert_eq!(begun.tensors().len(), variables.len());
            let [theirs, ours] = [&means, &begun].map(Model::tensors);
            for (their, our) in [
                (
                    "encoder.stages.0.1.weight",
                    "condition.code.stages.0.1.weight",
                ),
                ("encoder.linear.weight", "condition.code.linear.weight"),
                ("decoder.first.weight", "condition.spatial.first.weight"),
            ] {
                let expected = numbers(&theirs[their]);
                assert_eq!(numbers(&ours[our])[..expected.len()], expected, "{our}");
            }
            let last = "condition.spatial.last.weight";
            let (drawn, _) = Model::initialise(&config.model, 1, &Device::Cpu).unwrap();
            assert_eq!(numbers(&ours[last]), numbers(&drawn.tensors()[last]));
            let other = run(&model(2), folder.path());
            let error = initialise(&other, &Device::Cpu).unwrap_err().to_string();
            assert!(
                error.contains("length = 2") && error.contains("length = 3"),
                "{error}"
            );
        }
    }
}
