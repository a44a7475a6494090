//! The exact engine: the logits of the whole network, and the same bits for every way of
//! computing them.

use candle_core::{DType, Device, Tensor};
use pixelcnn_kernels::Level;
use pixelcnn_models::{
    Condition, Distribution, GatedPixelCnnConfig, ImageShape, Model, ModelConfig, PixelCnnConfig,
    PixelRnnConfig, RecurrentLayer,
};
use pixelcnn_sample::{
    Driver, Engine, SampleConfig, Sharing, ValueIndex, nll_map, outputs, sample,
};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{encoded, size, values};

fn engine(case: &ModelCase) -> (Model, Engine) {
    let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
    let engine = Engine::new(model.density().unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    // These networks are small: by default, their threads would not share an image.
    (model, engine.with_sharing(Sharing::ALL))
}

/// An engine whose threads share an image, and single pixels if each thread then has at least
/// `pixel` bytes of weights.
fn shared(engine: &Engine, threads: usize, pixel: usize) -> Engine {
    let sharing = Sharing {
        pixel,
        ..Sharing::ALL
    };
    engine.clone().with_threads(threads).with_sharing(sharing)
}

fn images(model: &Model, b: usize, h: usize, w: usize) -> (Tensor, Condition) {
    let image = model.config().image();
    let (h, w) = size(model.config(), (h, w));
    let images = values(&[b, image.channels, h, w], image.levels).unwrap();
    (images, encoded(model, b, h, w).unwrap())
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    numbers(tensor).into_iter().map(f32::to_bits).collect()
}

/// The networks of the table, and four with several tiles per colour, which threads share.
fn cases() -> Vec<ModelCase> {
    let mut cases = networks();
    let mut gated = cases
        .iter()
        .filter_map(|case| case.config.get::<GatedPixelCnnConfig>());
    let small = gated.find(|config| config.image.channels == 3).cloned();
    let small = small.expect("a gated network of three channels");
    let config = GatedPixelCnnConfig {
        image: ImageShape {
            levels: 40,
            ..small.image
        },
        maps: 67,
        head: 50,
        ..small
    };
    cases.push(ModelCase {
        name: "gated, 67 maps".to_string(),
        config: ModelConfig::from(config),
    });
    cases.push(ModelCase {
        name: "plain, 45 maps".to_string(),
        config: ModelConfig::from(PixelCnnConfig {
            image: small.image,
            first_kernel: 5,
            kernel: 3,
            blocks: 2,
            maps: 45,
            head: 50,
            distribution: Distribution::default(),
        }),
    });
    for layer in [RecurrentLayer::RowLstm, RecurrentLayer::DiagonalBilstm] {
        cases.push(ModelCase {
            name: format!("{layer:?}, 29 maps"),
            config: ModelConfig::from(PixelRnnConfig {
                image: small.image,
                first_kernel: 5,
                blocks: 2,
                maps: 29,
                head: 50,
                ..PixelRnnConfig::cifar10(layer)
            }),
        });
    }
    cases
}

/// The cases that are quick.
fn quick_cases() -> Vec<ModelCase> {
    let mut cases = cases();
    cases.retain(|case| case.config.image().levels < 1_000);
    cases
}

#[test]
fn logits_are_those_of_the_whole_network() {
    for case in cases() {
        let (model, engine) = engine(&case);
        for (b, h, w) in [(1, 1, 1), (2, 3, 4), (3, 6, 2), (1, 2, 9)] {
            let (images, condition) = images(&model, b, h, w);
            let expected = model
                .network()
                .unwrap()
                .outputs(&images, &condition)
                .unwrap();
            let found = outputs(&engine, &images, &condition).unwrap();
            assert_eq!(found.dims(), expected.dims());
            for (found, expected) in numbers(&found).iter().zip(numbers(&expected)) {
                let error = (found - expected).abs();
                assert!(
                    error <= 1e-4 * expected.abs().max(1.0),
                    "{}: {error}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_instructions_threads_or_company() {
    for case in &quick_cases() {
        let (model, engine) = engine(case);
        let (images, condition) = images(&model, 3, 4, 5);
        let expected = bits(&outputs(&engine, &images, &condition).unwrap());
        for level in Level::available() {
            for (threads, pixel) in [(1, 1), (2, 1), (5, 1), (3, usize::MAX)] {
                let engine = shared(&engine, threads, pixel);
                let found = level
                    .scope(|| outputs(&engine, &images, &condition))
                    .unwrap();
                assert_eq!(
                    bits(&found),
                    expected,
                    "{}: {level:?}, {threads}",
                    case.name
                );
            }
        }
        let each = expected.len() / 3;
        for (index, expected) in expected.chunks(each).enumerate() {
            let only = |tensor: &Tensor| tensor.narrow(0, index, 1).unwrap();
            let condition = condition.select(&[index]).unwrap();
            let found = outputs(&engine, &only(&images), &condition).unwrap();
            assert_eq!(bits(&found), expected, "{}: image {index}", case.name);
        }
    }
}

/// A driver that knows all values, but declares only the first `known_rows` rows as known.
struct Drawn {
    image: ImageShape,
    width: usize,
    /// `[row, column, channel]`.
    values: Vec<u32>,
    known_rows: usize,
    /// The logits of the known rows before this one are not needed.
    first_scored: usize,
    logits: Vec<u32>,
}

impl Driver for Drawn {
    fn known(&mut self, row: usize, values: &mut [u32]) -> candle_core::Result<bool> {
        let length = values.len();
        values.copy_from_slice(&self.values[row * length..][..length]);
        Ok(row < self.known_rows)
    }

    fn scores(&mut self, row: usize) -> bool {
        row >= self.first_scored
    }

    fn value(&mut self, index: ValueIndex, logits: &[f32]) -> candle_core::Result<u32> {
        self.logits
            .extend(logits.iter().map(|logit| logit.to_bits()));
        let position = index.row * self.width + index.column;
        Ok(self.values[position * self.image.channels + index.channel])
    }
}

#[test]
fn bits_do_not_depend_on_whether_a_row_is_known() {
    for case in &quick_cases() {
        let (model, engine) = engine(case);
        let image = case.config.image();
        let (h, w) = size(&case.config, (4, 5));
        let (images, condition) = images(&model, 2, h, w);
        let values = images.permute((0, 2, 3, 1)).unwrap().flatten_all().unwrap();
        let values: Vec<u32> = values.to_vec1().unwrap();
        let drawn = |known_rows, first_scored, threads| {
            let drivers = values.chunks(values.len() / 2).map(|values| Drawn {
                image,
                width: w,
                values: values.to_vec(),
                known_rows,
                first_scored,
                logits: Vec::new(),
            });
            let mut drivers: Vec<_> = drivers.collect();
            let engine = engine.clone().with_threads(threads);
            engine.run((h, w), &condition, &mut drivers).unwrap();
            drivers
                .into_iter()
                .map(|driver| driver.logits)
                .collect::<Vec<_>>()
        };
        let expected = drawn(h, 0, 1);
        for level in Level::available() {
            for (known_rows, threads) in [(0, 1), (0, 3), (2, 1), (h, 4)] {
                let found = level.scope(|| drawn(known_rows, 0, threads));
                let same = found == expected;
                assert!(same, "{}: {level:?} {known_rows} {threads}", case.name);
            }
            // Known rows without their logits change nothing in the later ones.
            for (known_rows, first_scored) in [(2, 1), (2, 4), (h, 3)] {
                let found = level.scope(|| drawn(known_rows, first_scored, 2));
                let missing = known_rows.min(first_scored);
                for (found, expected) in found.iter().zip(&expected) {
                    let same = *found == expected[expected.len() / h * missing..];
                    assert!(same, "{}: {level:?} {known_rows} {first_scored}", case.name);
                }
            }
        }
    }
}

#[test]
fn surprise_adds_up_to_the_likelihood() {
    for case in networks() {
        let (model, engine) = engine(&case);
        let (images, condition) = images(&model, 2, 3, 4);
        let nats = model
            .density()
            .unwrap()
            .nats(&images, &condition)
            .unwrap()
            .sum_all()
            .unwrap();
        let bits = nll_map(&engine, &images, &condition).unwrap();
        let bits = bits.sum_all().unwrap().to_scalar::<f64>().unwrap();
        let expected = nats.to_scalar::<f64>().unwrap() / std::f64::consts::LN_2;
        assert!(
            (bits - expected).abs() < 1e-4 * expected,
            "{}: {bits} {expected}",
            case.name
        );
    }
}

/// A sample depends only on its seed and its number.
#[test]
fn a_sample_does_not_depend_on_those_drawn_with_it_or_on_threads() {
    for case in &quick_cases() {
        let (model, engine) = engine(case);
        let (height, width) = size(&case.config, (3, 2));
        let all = encoded(&model, 40, height, width).unwrap();
        let draw = |count, threads, pixel| {
            let config = SampleConfig {
                count,
                seed: 5,
                height,
                width,
                ..SampleConfig::new(case.config.image())
            };
            let first: Vec<usize> = (0..count).collect();
            let condition = all.select(&first).unwrap();
            let engine = shared(&engine, threads, pixel);
            let images = sample(&engine, &config, &condition, &|_, _, _| ()).unwrap();
            images.flatten_from(1).unwrap().to_vec2::<u32>().unwrap()
        };
        let forty = draw(40, 1, 1);
        let leader = usize::MAX;
        for level in Level::available() {
            for (count, threads, pixel) in [(1, 1, 1), (1, 2, 1), (1, 2, leader), (40, 3, 1)] {
                let found = level.scope(|| draw(count, threads, pixel));
                assert_eq!(found, forty[..count], "{}: {level:?}", case.name);
            }
        }
    }
}

#[test]
fn colder_and_truncated_samples_are_likelier() {
    let case = &networks()[0];
    let (model, engine) = engine(case);
    let nats = |temperature, top_p| {
        let config = SampleConfig {
            count: 64,
            temperature,
            top_p,
            ..SampleConfig::new(case.config.image())
        };
        let images = sample(&engine, &config, &Condition::None, &|_, _, _| ()).unwrap();
        let nats = model
            .density()
            .unwrap()
            .nats(&images, &Condition::None)
            .unwrap();
        nats.sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    let plain = nats(1.0, 1.0);
    assert!(nats(0.5, 1.0) < plain && plain < nats(3.0, 1.0));
    assert!(nats(1.0, 0.5) < plain);
}

#[test]
fn a_wrong_condition_is_an_error_that_says_what_is_expected() {
    let vector = Tensor::zeros((2, 17), DType::F32, &Device::Cpu).unwrap();
    let map = Tensor::zeros((2, 17, 3, 4), DType::F32, &Device::Cpu).unwrap();
    for case in networks() {
        let (model, engine) = engine(&case);
        let (images, right) = images(&model, 2, 3, 4);
        assert!(outputs(&engine, &images, &right).is_ok());
        for condition in [
            Condition::Vector(vector.clone()),
            Condition::Map(map.clone()),
        ] {
            let error = outputs(&engine, &images, &condition)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("the model expects"),
                "{}: {error}",
                case.name
            );
        }
    }
}

#[test]
fn a_panic_of_a_driver_ends_the_run() {
    struct Panicking;
    impl Driver for Panicking {
        fn known(&mut self, _: usize, _: &mut [u32]) -> candle_core::Result<bool> {
            Ok(false)
        }
        fn value(&mut self, _: ValueIndex, _: &[f32]) -> candle_core::Result<u32> {
            std::panic::resume_unwind(Box::new("no value"))
        }
    }
    let (_, engine) = engine(&networks()[0]);
    for (threads, pixel) in [(1, 1), (3, 1), (3, usize::MAX)] {
        let engine = shared(&engine, threads, pixel);
        let run = || engine.run((3, 4), &Condition::None, &mut [Panicking]);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }
}

#[test]
fn an_error_of_a_driver_ends_the_run() {
    struct Failing(usize);
    impl Driver for Failing {
        fn known(&mut self, _: usize, _: &mut [u32]) -> candle_core::Result<bool> {
            Ok(false)
        }
        fn value(&mut self, index: ValueIndex, _: &[f32]) -> candle_core::Result<u32> {
            match index.column == self.0 {
                true => candle_core::bail!("nothing at column {}", self.0),
                false => Ok(0),
            }
        }
    }
    let (_, engine) = engine(&networks()[0]);
    for (threads, pixel) in [(1, 1), (3, 1), (3, usize::MAX)] {
        let engine = shared(&engine, threads, pixel);
        let mut drivers = [Failing(100), Failing(2)];
        let error = engine
            .run((3, 4), &Condition::None, &mut drivers)
            .unwrap_err();
        assert!(error.to_string().contains("nothing at column 2"), "{error}");
    }
}
