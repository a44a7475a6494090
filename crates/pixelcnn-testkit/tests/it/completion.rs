//! Completion: known pixels stay, the others are those of sampling.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::Model;
use pixelcnn_sample::{Completions, Engine, KnownPixels, SampleConfig, complete, nll_map, sample};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{encoded, size, values};

/// A model, an image, and everything that completes it.
struct Setting {
    model: Model,
    engine: Engine,
    image: Tensor,
    config: SampleConfig,
}

fn setting(case: &ModelCase) -> Setting {
    let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
    let engine = Engine::new(model.density().unwrap()).unwrap();
    let image = case.config.image();
    let (height, width) = size(&case.config, (4, 5));
    let config = SampleConfig {
        count: 3,
        seed: 5,
        height,
        width,
        ..SampleConfig::new(image)
    };
    let image = values(&[1, image.channels, height, width], image.levels).unwrap();
    Setting {
        model,
        engine,
        image,
        config,
    }
}

impl Setting {
    fn known(&self, is_known: impl Fn(usize, usize) -> bool) -> KnownPixels {
        KnownPixels::new((self.config.height, self.config.width), is_known).unwrap()
    }

    fn complete(&self, known: &KnownPixels, count: usize, best: usize) -> Completions {
        let (height, width) = (self.config.height, self.config.width);
        let condition = encoded(&self.model, 1, height, width).unwrap();
        let config = SampleConfig {
            count,
            ..self.config
        };
        let drawn = (&config, best);
        complete(
            &self.engine,
            &self.image,
            known,
            drawn,
            &condition,
            &|_, _, _| (),
        )
        .unwrap()
    }
}

fn quick_cases() -> Vec<ModelCase> {
    let mut cases = networks();
    cases.retain(|case| case.config.image().levels < 1_000);
    cases
}

fn list(tensor: &Tensor) -> Vec<u32> {
    let tensor = tensor.to_dtype(DType::U32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn known_pixels_stay_and_the_others_do_not_depend_on_the_batch() {
    for case in quick_cases() {
        let setting = setting(&case);
        let plane = setting.config.height * setting.config.width;
        let width = setting.config.width;
        let known = setting.known(|row, column| row != 1 || column == 0);
        let three = setting.complete(&known, 3, 1);
        assert!(three.bits.is_none());
        let original = list(&setting.image);
        for image in 0..3 {
            let completed = list(&three.images.get(image).unwrap());
            for (index, value) in completed.iter().enumerate() {
                let place = index % plane;
                if known.is_known(place / width, place % width) {
                    assert_eq!(*value, original[index], "{}", case.name);
                }
            }
        }
        let one = setting.complete(&known, 1, 1);
        let first = three.images.narrow(0, 0, 1).unwrap();
        assert_eq!(list(&one.images), list(&first), "{}", case.name);
    }
}

#[test]
fn with_nothing_known_it_is_sampling_and_with_everything_the_image() {
    for case in quick_cases() {
        let setting = setting(&case);
        let (height, width) = (setting.config.height, setting.config.width);
        let nothing = setting.complete(&setting.known(|_, _| false), 3, 1);
        let condition = encoded(&setting.model, 1, height, width).unwrap();
        let condition = condition.select(&[0, 0, 0]).unwrap();
        let drawn = sample(&setting.engine, &setting.config, &condition, &|_, _, _| ()).unwrap();
        assert_eq!(list(&nothing.images), list(&drawn), "{}", case.name);
        for best in [1, 2] {
            let all = setting.complete(&setting.known(|_, _| true), 2, best);
            let twice = Tensor::cat(&[&setting.image, &setting.image], 0).unwrap();
            assert_eq!(list(&all.images), list(&twice), "{}", case.name);
        }
    }
}

/// Pixels after the last unknown one have no influence on it.
#[test]
fn later_pixels_do_not_matter() {
    let setting = setting(&networks()[0]);
    let known = setting.known(|row, _| row != 1);
    let completed = setting.complete(&known, 2, 1).images;
    let mut other = setting;
    let upper = other.image.narrow(2, 0, 2).unwrap();
    let lower = other.image.narrow(2, 2, other.config.height - 2).unwrap();
    let lower = lower.zeros_like().unwrap();
    other.image = Tensor::cat(&[upper, lower], 2).unwrap();
    let again = other.complete(&known, 2, 1).images;
    let rows = |images: &Tensor| list(&images.narrow(2, 0, 2).unwrap());
    assert_eq!(rows(&completed), rows(&again));
    assert_ne!(list(&completed), list(&again));
}

/// The best is the one of all that are drawn whose later known pixels have the fewest bits, as
/// scoring gives them.
#[test]
fn the_best_has_the_fewest_bits_in_the_known_rest() {
    for case in quick_cases() {
        let setting = setting(&case);
        let known = setting.known(|row, column| row != 1 || column < 2);
        let each = setting.complete(&known, 8, 1).images;
        let best = setting.complete(&known, 2, 4);
        let (height, width) = (setting.config.height, setting.config.width);
        let condition = encoded(&setting.model, 1, height, width).unwrap();
        let bits = |image: &Tensor| {
            let bits = nll_map(&setting.engine, image, &condition).unwrap();
            let bits = bits.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let plane = height * width;
            let later = bits.iter().enumerate().filter(|(index, _)| {
                let place = index % plane;
                place > width + 2 && known.is_known(place / width, place % width)
            });
            later.map(|(_, bits)| bits).sum::<f64>()
        };
        let kept = best.bits.clone().unwrap();
        for (group, kept) in kept.iter().enumerate() {
            let drawn = |image: usize| each.narrow(0, 4 * group + image, 1).unwrap();
            let all: Vec<f64> = (0..4).map(|image| bits(&drawn(image))).collect();
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(
                (kept - least).abs() < 1e-9 * least.max(1.0),
                "{}: {kept} {all:?}",
                case.name
            );
            let found = best.images.narrow(0, group, 1).unwrap();
            assert!((bits(&found) - least).abs() < 1e-9 * least.max(1.0));
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let setting = setting(&networks()[0]);
    let known = KnownPixels::new((1, 1), |_, _| true).unwrap();
    let refused = |image: &Tensor, known: &KnownPixels, best: usize, part: &str| {
        let condition = pixelcnn_models::Condition::None;
        let drawn = (&setting.config, best);
        let result = complete(
            &setting.engine,
            image,
            known,
            drawn,
            &condition,
            &|_, _, _| (),
        );
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(
        &setting.image,
        &known,
        1,
        "known pixels: 4 x 5 expected, found 1 x 1",
    );
    let all = setting.known(|_, _| true);
    refused(&setting.image, &all, 0, "best: at least 1 expected");
    let wrong = setting.image.narrow(2, 0, 1).unwrap();
    refused(
        &wrong,
        &all,
        1,
        "image: [1, 1, 4, 5] expected, found [1, 1, 1, 5]",
    );
    let large = (&setting.image + 9.0).unwrap();
    refused(&large, &all, 1, "levels, found the value");
}
