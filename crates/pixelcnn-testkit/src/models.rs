//! Every model.

use crate::odd::OddConfig;
use pixelcnn_import::{
    AnordertoreclaimConfig, Format, PytorchGenerativeConfig, PytorchVqvaeConfig, UvadlcConfig,
};
use pixelcnn_models::{
    Activation, Bottleneck, CaptionConfig, CodeConfig, Conditioning, Distribution,
    GatedPixelCnnConfig, GaussianConfig, ImageEncoderConfig, ImageShape, ModelConfig,
    PixelCnnConfig, PixelRnnConfig, RecurrentLayer, Reduction, SpatialConfig, UniformConfig,
};

/// One model in one size.
///
/// # Example
///
/// ```
/// let table = pixelcnn_testkit::models::table();
/// assert!(table.iter().any(|case| case.name == "gated, kernel 7, 3 channels"));
/// ```
#[derive(Clone, Debug)]
pub struct ModelCase {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: ModelConfig,
}

/// Every kind of model, in sizes that often cause errors: kernels 3, 5 and 7; 1, 3 and 4
/// channels; maps that the channels do not divide; 2 to 65,536 levels; dilations;
/// conditions.
///
/// # Example
///
/// ```
/// assert!(pixelcnn_testkit::models::table().len() > 10);
/// ```
pub fn table() -> Vec<ModelCase> {
    let mut cases = networks();
    let image = shape(2, 4);
    for config in [
        ModelConfig::from(UniformConfig { image }),
        ModelConfig::from(GaussianConfig { image }),
    ] {
        cases.push(ModelCase {
            name: config.name().to_lowercase(),
            config,
        });
    }
    cases
}

/// The networks of [`table`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::UniformConfig;
///
/// let networks = pixelcnn_testkit::models::networks();
/// assert!(networks.iter().all(|case| case.config.get::<UniformConfig>().is_none()));
/// ```
pub fn networks() -> Vec<ModelCase> {
    let mut cases = Vec::new();
    for channels in [1, 3, 4] {
        for kernel in [3, 5, 7] {
            let config = gated(channels, kernel);
            cases.push(gated_case(
                format!("kernel {kernel}, {channels} channels"),
                config,
            ));
            cases.push(plain_case(channels, kernel));
        }
    }
    cases.extend(recurrent_cases());
    cases.extend([1, 3].map(odd_case));
    cases.extend(foreign_cases());
    let variants = variants(&gated(3, 3)).into_iter();
    let variants = variants.chain(extensions(&gated(3, 3)));
    cases.extend(variants.map(|(name, config)| gated_case(name.to_string(), config)));
    cases.extend(conditionings().map(|(name, conditioning)| {
        let config = GatedPixelCnnConfig {
            conditioning: Some(conditioning),
            ..gated(3, 3)
        };
        gated_case(name.to_string(), config)
    }));
    cases
}

/// One of each kind, also with a map m(h) if possible.
fn conditionings() -> [(&'static str, Conditioning); 11] {
    let spatial = SpatialConfig { maps: 3, hidden: 2 };
    let encoder_maps = vec![2, 3];
    let code = |bottleneck, spatial| {
        Conditioning::Code(CodeConfig {
            length: 4,
            encoder_maps: encoder_maps.clone(),
            bottleneck,
            spatial,
        })
    };
    let vector = |spatial| Conditioning::Vector { length: 5, spatial };
    let gaussian = Bottleneck::Gaussian {
        weight: 1.0,
        free_bits: 0.0,
    };
    let caption = CaptionConfig {
        vocabulary: 7,
        embedding: 3,
        length: 4,
    };
    let image = |reduction| Conditioning::Image { reduction, spatial };
    [
        ("class", Conditioning::Class { classes: 3.into() }),
        ("vector", vector(None)),
        ("vector, spatial", vector(Some(spatial))),
        ("map", Conditioning::Map { maps: 2 }),
        ("caption", Conditioning::Caption(caption)),
        ("grey image", image(Reduction::Grey {})),
        ("small image", image(Reduction::Shrunk { factor: 2 })),
        ("code", code(Bottleneck::Plain {}, None)),
        ("code, spatial", code(Bottleneck::Plain {}, Some(spatial))),
        ("variational code", code(gaussian, None)),
        (
            "embedding",
            Conditioning::Embedding(ImageEncoderConfig {
                length: 4,
                encoder_maps,
            }),
        ),
    ]
}

/// Networks that each differ from `base` in one setting.
fn variants(base: &GatedPixelCnnConfig) -> [(&'static str, GatedPixelCnnConfig); 9] {
    let change = |change: &dyn Fn(&mut GatedPixelCnnConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    [
        ("2 levels", change(&|config| config.image.levels = 2)),
        (
            "65536 levels",
            change(&|config| config.image = shape(1, 65_536)),
        ),
        ("kernel 1", change(&|config| config.kernel = 1)),
        (
            "dilated",
            change(&|config| (config.blocks, config.dilations) = (3, vec![1, 2, 3])),
        ),
        (
            "sparse",
            change(&|config| (config.blocks, config.dilations) = (1, vec![3])),
        ),
        ("one block", change(&|config| config.blocks = 1)),
        (
            "mixture",
            change(&|config| config.distribution = mixture(3, false)),
        ),
        (
            "coupled mixture",
            change(&|config| config.distribution = mixture(2, true)),
        ),
        (
            "coupled mixture given a class",
            change(&|config| {
                config.distribution = mixture(5, true);
                config.conditioning = Some(Conditioning::Class { classes: 3.into() });
                config.image.levels = 256;
            }),
        ),
    ]
}

/// The settings that the paper does not have, one each, and all together.
fn extensions(base: &GatedPixelCnnConfig) -> [(&'static str, GatedPixelCnnConfig); 11] {
    let change = |change: &dyn Fn(&mut GatedPixelCnnConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    [
        (
            "vertical residual path",
            change(&|config| (config.vertical_residual, config.blocks) = (true, 3)),
        ),
        ("linear first", change(&|config| config.linear_first = true)),
        ("one stack", change(&|config| config.one_stack = true)),
        (
            "one stack, linear first, a condition",
            change(&|config| {
                (config.one_stack, config.linear_first) = (true, true);
                config.conditioning = Some(Conditioning::Vector {
                    length: 5,
                    spatial: None,
                });
            }),
        ),
        ("skips", change(&|config| config.skips = true)),
        (
            "head shortcut",
            change(&|config| config.head_shortcut = true),
        ),
        (
            "head shortcut, coupled mixture, skips",
            change(&|config| {
                (config.head_shortcut, config.skips) = (true, true);
                config.distribution = mixture(2, true);
            }),
        ),
        (
            "input embedding",
            change(&|config| config.input_embedding = Some(3)),
        ),
        (
            "relu",
            change(&|config| config.activation = Activation::Relu),
        ),
        ("elu", change(&|config| config.activation = Activation::Elu)),
        (
            "all settings",
            change(&|config| {
                config.vertical_residual = true;
                config.skips = true;
                config.linear_first = true;
                config.input_embedding = Some(2);
                config.distribution = mixture(2, true);
                config.conditioning = Some(Conditioning::Map { maps: 2 });
            }),
        ),
    ]
}

fn mixture(components: usize, coupled: bool) -> Distribution {
    Distribution::LogisticMixture {
        components,
        coupled,
    }
}

fn shape(channels: usize, levels: usize) -> ImageShape {
    ImageShape {
        channels,
        height: 3,
        width: 4,
        levels,
    }
}

fn gated(channels: usize, kernel: usize) -> GatedPixelCnnConfig {
    GatedPixelCnnConfig {
        image: shape(channels, 4),
        first_kernel: 5,
        kernel,
        blocks: 2,
        // This number is not divisible by the number of channels.
        maps: 2 * channels + 1,
        head: channels + 1,
        distribution: Distribution::default(),
        ..GatedPixelCnnConfig::imagenet32()
    }
}

fn gated_case(name: String, config: GatedPixelCnnConfig) -> ModelCase {
    ModelCase {
        name: format!("gated, {name}"),
        config: ModelConfig::from(config),
    }
}

fn odd_case(channels: usize) -> ModelCase {
    let config = OddConfig {
        image: shape(channels, 4),
        maps: 2 * channels + 1,
        dilations: vec![1, 2],
    };
    ModelCase {
        name: format!("odd, {channels} channels"),
        config: ModelConfig::from(config),
    }
}

/// The networks of other programs.
fn foreign_cases() -> [ModelCase; 4] {
    let conditioning = Conditioning::Class { classes: 3.into() };
    [
        (
            Format::Uvadlc,
            ModelConfig::from(UvadlcConfig {
                image: shape(1, 4),
                first_kernel: 5,
                kernel: 3,
                maps: 5,
                dilations: vec![1, 2],
            }),
        ),
        (
            Format::PytorchVqvae,
            ModelConfig::from(PytorchVqvaeConfig {
                image: shape(1, 4),
                first_kernel: 5,
                kernel: 3,
                blocks: 2,
                maps: 5,
                head: 7,
                conditioning: conditioning.clone(),
            }),
        ),
        (
            Format::Anordertoreclaim,
            ModelConfig::from(AnordertoreclaimConfig {
                image: shape(3, 4),
                first_kernel: 5,
                kernel: 3,
                blocks: 2,
                maps: 6,
                head: 4,
                conditioning,
            }),
        ),
        (
            Format::PytorchGenerative,
            ModelConfig::from(PytorchGenerativeConfig {
                image: shape(1, 4),
                first_kernel: 5,
                kernel: 3,
                blocks: 2,
                maps: 5,
                head: 4,
            }),
        ),
    ]
    .map(|(format, config)| ModelCase {
        name: format.name().to_string(),
        config,
    })
}

/// Both kinds of recurrent layers, for 1 to 4 channels, mixtures and each kind of condition.
fn recurrent_cases() -> Vec<ModelCase> {
    let mut cases = Vec::new();
    for (kind, layer) in [
        ("row lstm", RecurrentLayer::RowLstm),
        ("diagonal bilstm", RecurrentLayer::DiagonalBilstm),
    ] {
        let base = |channels: usize| PixelRnnConfig {
            image: shape(channels, 4),
            first_kernel: 5,
            blocks: 2,
            // This number is not divisible by the number of channels.
            maps: channels + 2,
            head: channels + 1,
            ..PixelRnnConfig::cifar10(layer)
        };
        let with = |conditioning| PixelRnnConfig {
            conditioning: Some(conditioning),
            ..base(3)
        };
        let mut add = |name: String, config| {
            cases.push(ModelCase {
                name: format!("{kind}, {name}"),
                config: ModelConfig::from(config),
            });
        };
        for channels in [1, 3, 4] {
            add(format!("{channels} channels"), base(channels));
        }
        for coupled in [false, true] {
            let distribution = mixture(2, coupled);
            let name = if coupled {
                "coupled mixture"
            } else {
                "mixture"
            };
            let config = PixelRnnConfig {
                distribution,
                ..base(3)
            };
            add(name.to_string(), config);
        }
        let classes = Conditioning::Class { classes: 3.into() };
        add("class".to_string(), with(classes));
        add("map".to_string(), with(Conditioning::Map { maps: 2 }));
    }
    cases
}

fn plain_case(channels: usize, kernel: usize) -> ModelCase {
    let config = PixelCnnConfig {
        image: shape(channels, 4),
        first_kernel: 5,
        kernel,
        blocks: 2,
        maps: channels + 1,
        head: channels + 2,
        distribution: Distribution::default(),
    };
    ModelCase {
        name: format!("plain, kernel {kernel}, {channels} channels"),
        config: ModelConfig::from(config),
    }
}
