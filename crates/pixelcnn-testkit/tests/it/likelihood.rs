//! The exact oracles: the probabilities of all images sum to one, and the frequencies of
//! samples match their probabilities.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{
    Condition, Conditioning, Distribution, GatedPixelCnnConfig, ImageShape, Model, ModelConfig,
    PixelCnnConfig,
};
use pixelcnn_sample::{Engine, SampleConfig, sample};

/// Every image of a shape, `[levels^(c h w), c, h, w]`.
fn all_images(image: ImageShape) -> Tensor {
    let size = image.dimensions();
    let count = image.levels.pow(size as u32);
    let digit = |index: usize, place: usize| index / image.levels.pow(place as u32) % image.levels;
    let values: Vec<u8> = (0..count)
        .flat_map(|index| (0..size).map(move |place| digit(index, place) as u8))
        .collect();
    let shape = (count, image.channels, image.height, image.width);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn configs() -> Vec<ModelConfig> {
    let mut configs = Vec::new();
    for (channels, height, width, levels) in [
        (1, 3, 3, 2),
        (3, 1, 3, 2),
        (3, 2, 1, 2),
        (2, 2, 2, 2),
        (1, 2, 3, 3),
        (4, 1, 1, 4),
    ] {
        let image = ImageShape {
            channels,
            height,
            width,
            levels,
        };
        let (maps, head, blocks) = (2 * channels + 1, channels + 1, 2);
        let mixture = |coupled| Distribution::LogisticMixture {
            components: 3,
            coupled,
        };
        for distribution in [Distribution::default(), mixture(false), mixture(true)] {
            configs.push(ModelConfig::from(PixelCnnConfig {
                image,
                first_kernel: 5,
                kernel: 3,
                blocks,
                maps,
                head,
                distribution,
            }));
        }
        for conditioning in [None, Some(Conditioning::Class { classes: 2.into() })] {
            configs.push(ModelConfig::from(GatedPixelCnnConfig {
                image,
                first_kernel: 5,
                kernel: 3,
                blocks,
                maps,
                head,
                distribution: Distribution::default(),
                conditioning,
                ..GatedPixelCnnConfig::imagenet32()
            }));
        }
    }
    configs
}

/// Weights larger than initial ones, so that no distribution is nearly uniform.
fn model(config: &ModelConfig) -> Model {
    let (drawn, _) = Model::initialise(config, 9, &Device::Cpu).unwrap();
    let larger = drawn.tensors().iter().map(|(name, tensor)| {
        let tensor = tensor.to_dtype(DType::F64).unwrap();
        (name.clone(), tensor.affine(2.0, 0.1).unwrap())
    });
    Model::from_tensors(config, larger.collect(), DType::F64, &Device::Cpu).unwrap()
}

/// The frequencies of samples match the likelihood, so each value is drawn from the
/// distribution of its own position and channel.
#[test]
fn samples_follow_the_likelihood() {
    let small = |config: &ModelConfig| {
        let image = config.image();
        image.channels == 2 && config.conditioning().is_none()
    };
    for config in configs().into_iter().filter(small) {
        let image = config.image();
        let model = model(&config);
        let images = all_images(image);
        let nats = model
            .density()
            .unwrap()
            .nats(&images, &Condition::None)
            .unwrap();
        let nats: Vec<f64> = nats.sum(1).unwrap().to_vec1().unwrap();
        let count = 20_000;
        let sampling = SampleConfig {
            count,
            seed: 4,
            ..SampleConfig::new(image)
        };
        let engine = Engine::new(model.density().unwrap()).unwrap();
        let drawn = sample(&engine, &sampling, &Condition::None, &|_, _, _| ()).unwrap();
        let mut counts = vec![0.0; nats.len()];
        for values in drawn.flatten_from(1).unwrap().to_vec2::<u32>().unwrap() {
            let places = values.iter().enumerate();
            let index =
                places.map(|(place, value)| *value as usize * image.levels.pow(place as u32));
            counts[index.sum::<usize>()] += 1.0;
        }
        // Pearson's statistic of 255 degrees of freedom: mean 255, standard
        // deviation 22.6.
        let statistic: f64 = counts
            .iter()
            .zip(&nats)
            .map(|(found, nats)| {
                let expected = (-nats).exp() * f64::from(count as u32);
                (found - expected).powi(2) / expected
            })
            .sum();
        assert!(statistic < 255.0 + 6.0 * 22.6, "{config:?}: {statistic}");
    }
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    for config in configs() {
        let images = all_images(config.image());
        let model = model(&config);
        let count = images.dim(0).unwrap();
        let condition = match config.conditioning() {
            None => Condition::None,
            Some(_) => {
                let one = Tensor::new(&[[0.5f64, -1.5]], &Device::Cpu).unwrap();
                Condition::Vector(one.broadcast_as((count, 2)).unwrap().contiguous().unwrap())
            }
        };
        let nats = model
            .density()
            .unwrap()
            .nats(&images, &condition)
            .unwrap()
            .sum(1)
            .unwrap();
        let nats: Vec<f64> = nats.to_vec1().unwrap();
        let total: f64 = nats.iter().map(|nats| (-nats).exp()).sum();
        assert!((total - 1.0).abs() < 1e-12, "{config:?}: {total}");
        let spread = nats.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            - nats.iter().copied().fold(f64::INFINITY, f64::min);
        // With few levels, a logistic distribution is always nearly uniform.
        let least = match config.distribution().is_softmax() {
            true => 1.0,
            false => 0.2,
        };
        assert!(spread > least, "{config:?}: nearly uniform, {spread}");
    }
}
