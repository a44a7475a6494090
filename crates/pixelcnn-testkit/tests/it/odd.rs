//! Odd configurations and tensors give an error or a result, but never a panic, an abort or
//! a hang.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{
    Condition, Conditioning, Distribution, GatedPixelCnnConfig, GaussianConfig, Given, ImageShape,
    Model, ModelConfig, PixelCnnConfig, SpatialConfig, audit,
};
use pixelcnn_sample::{Engine, SampleConfig, outputs, sample};
use pixelcnn_testkit::models::table;
use pixelcnn_testkit::{given, values};
use proptest::prelude::*;

/// The largest number of weights that a test creates.
const FEW: u128 = 50_000;
/// More weights than any machine can store.
const TOO_MANY: u128 = 1 << 44;

#[test]
fn weights_are_counted_before_they_are_made() {
    for case in table() {
        if case.config.get::<GaussianConfig>().is_some() {
            continue;
        }
        let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
        let found = model.tensors().values().map(Tensor::elem_count);
        assert_eq!(
            case.config.weights(),
            found.sum::<usize>() as u128,
            "{}",
            case.name
        );
    }
}

#[test]
fn models_that_are_too_large_for_memory_say_which_tensor() {
    let large = GatedPixelCnnConfig {
        maps: 65_536,
        blocks: 4_096,
        ..GatedPixelCnnConfig::imagenet32()
    };
    let image = ImageShape {
        channels: 3,
        height: 4096,
        width: 4096,
        levels: 256,
    };
    let plain = PixelCnnConfig {
        head: 65_536,
        image: ImageShape {
            levels: 65_536,
            ..image
        },
        ..PixelCnnConfig::cifar10()
    };
    for (config, part) in [
        (
            ModelConfig::from(large),
            "blocks.0.vertical.weight of [131072, 65536, 3, 5]",
        ),
        (
            ModelConfig::from(plain),
            "head.logits.weight of [196608, 65536, 1, 1]",
        ),
        (
            ModelConfig::from(GaussianConfig { image }),
            "whitening of [50331648, 50331648]",
        ),
    ] {
        let error = Model::initialise(&config, 1, &Device::Cpu).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(part) && error.contains("of memory"),
            "{error}"
        );
        assert!(Model::from_tensors(&config, BTreeMap::new(), DType::F32, &Device::Cpu).is_err());
    }
}

#[test]
fn numbers_of_types_that_candle_cannot_convert_are_refused() {
    let case = table().into_iter().find(|case| case.name.contains("class"));
    let config = case.unwrap().config;
    let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
    let eights = |shape: &[usize]| {
        let count = shape.iter().product();
        Tensor::from_raw_buffer(&vec![0x38; count], DType::F8E4M3, shape, &Device::Cpu).unwrap()
    };
    let tensors = model.tensors().iter();
    let tensors = tensors.map(|(name, tensor)| (name.clone(), eights(tensor.dims())));
    let error = Model::from_tensors(&config, tensors.collect(), DType::F32, &Device::Cpu);
    let error = error.unwrap_err().to_string();
    assert!(
        error.to_lowercase().contains("numbers of type f8e4m3, not"),
        "{error}"
    );
    let image = config.image();
    let images = values(&[1, image.channels, 2, 2], image.levels).unwrap();
    let length = config.conditioning().unwrap().length().unwrap();
    let density = model.density().unwrap();
    let vector = Given::Vector(eights(&[1, length]));
    let error = density
        .condition_encoder()
        .encode(&vector, (2, 2))
        .unwrap_err();
    assert!(error.to_string().contains("found f8e4m3"), "{error}");
    let network = density.network().unwrap();
    let engine = Engine::new(density).unwrap();
    let vector = Condition::Vector(eights(&[1, length]));
    for error in [
        network.outputs(&images, &vector).unwrap_err().to_string(),
        outputs(&engine, &images, &vector).unwrap_err().to_string(),
    ] {
        assert!(error.to_lowercase().contains("f8e4m3"), "{error}");
    }
    let error = network.outputs(&eights(&[1, image.channels, 2, 2]), &Condition::None);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("u8 or u32 expected")
    );
}

#[test]
fn a_field_that_would_take_hours_is_refused() {
    let config = ModelConfig::from(GatedPixelCnnConfig {
        kernel: 63,
        blocks: 64,
        maps: 3,
        head: 3,
        dilations: vec![1024],
        ..GatedPixelCnnConfig::imagenet32()
    });
    let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
    let error = audit::audit(&config, model.tensors())
        .unwrap_err()
        .to_string();
    assert!(error.contains("are too many"), "{error}");
}

/// A number that a file may hold where a size is expected.
fn odd() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1..6usize,
        1 => Just(0),
        1 => 6..70usize,
        1 => prop::sample::select(vec![255, 256, 65_535, 65_536, 1 << 31, 1 << 32, usize::MAX]),
    ]
}

fn image() -> impl Strategy<Value = ImageShape> {
    (odd(), odd(), odd(), odd()).prop_map(|(channels, height, width, levels)| ImageShape {
        channels,
        height,
        width,
        levels,
    })
}

fn conditioning() -> impl Strategy<Value = Option<Conditioning>> {
    let spatial = |(maps, hidden)| SpatialConfig { maps, hidden };
    prop_oneof![
        2 => Just(None),
        1 => odd().prop_map(|count| Some(Conditioning::Class { classes: count.into() })),
        1 => odd().prop_map(|maps| Some(Conditioning::Map { maps })),
        1 => (odd(), odd(), odd()).prop_map(move |(length, maps, hidden)| {
            let spatial = Some(spatial((maps, hidden)));
            Some(Conditioning::Vector { length, spatial })
        }),
    ]
}

fn config() -> impl Strategy<Value = ModelConfig> {
    let sizes = [(); 6].map(|()| odd());
    (image(), sizes, conditioning(), prop::bool::ANY).prop_map(
        |(image, [first_kernel, kernel, blocks, maps, head, dilation], conditioning, plain)| {
            match plain {
                true => ModelConfig::from(PixelCnnConfig {
                    image,
                    first_kernel,
                    kernel,
                    blocks,
                    maps,
                    head,
                    distribution: Distribution::default(),
                }),
                false => ModelConfig::from(GatedPixelCnnConfig {
                    image,
                    first_kernel: first_kernel | 1,
                    kernel: kernel | 1,
                    blocks,
                    maps,
                    head,
                    distribution: Distribution::default(),
                    dilations: vec![dilation],
                    conditioning,
                    ..GatedPixelCnnConfig::imagenet32()
                }),
            }
        },
    )
}

/// Makes the model and uses it, if it is not refused.
fn use_model(config: &ModelConfig) {
    let text = serde_json::to_string(config).unwrap();
    assert_eq!(&serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    if config.validate().is_err() {
        assert!(Model::initialise(config, 1, &Device::Cpu).is_err());
        return;
    }
    if config.weights() > FEW {
        if config.weights() > TOO_MANY {
            assert!(Model::initialise(config, 1, &Device::Cpu).is_err());
        }
        return;
    }
    let (model, _) = Model::initialise(config, 1, &Device::Cpu).unwrap();
    let image = config.image();
    for (b, h, w, dtype) in [
        (1, 1, 1, DType::U32),
        (2, 2, 3, DType::U32),
        (1, 2, 1, DType::U8),
        (0, 2, 2, DType::U8),
    ] {
        let shape = [b, image.channels, h, w];
        let images = Tensor::zeros(&shape[..], dtype, &Device::Cpu).unwrap();
        let given = match b {
            0 => Given::Nothing,
            _ => given(config, b, h, w).unwrap_or_default(),
        };
        let Ok(density) = model.density() else {
            continue;
        };
        if let Ok(likelihood) = density.bits_per_dim(&images, &given) {
            assert!(likelihood.bits_per_dim().is_finite());
        }
        for given in [
            Given::Labels(vec![u32::MAX; b.max(1)]),
            Given::Text(vec![String::new(); b]),
        ] {
            assert!(density.bits_per_dim(&images, &given).is_err());
        }
        let (Ok(engine), Ok(condition)) = (
            Engine::new(density),
            density.condition_encoder().encode(&given, (h, w)),
        ) else {
            continue;
        };
        let drawing = SampleConfig {
            count: b,
            height: h,
            width: w,
            ..SampleConfig::new(image)
        };
        let _ = sample(&engine, &drawing, &condition, &|_, _, _| ());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_configurations_are_refused_or_work(config in config()) {
        let result = catch_unwind(AssertUnwindSafe(|| use_model(&config)));
        prop_assert!(result.is_ok(), "{config:?}");
    }
}
