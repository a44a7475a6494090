//! The training of the networks without a likelihood, and the cost of a variational code.

use candle_core::{D, DType, Device, Tensor};
use pixelcnn_data::{Dataset, Images, Split};
use pixelcnn_models::{Condition, Given, Kind, Model, cross_entropy, normal};
use pixelcnn_train::{ConditionedDataset, Pairs, RunConfig, mistakes, squared_errors};

use crate::synthetic::{Laboratory, NOISE, Squares, finish, others, variational};

/// The model with initial weights and after training.
fn trained(config: &RunConfig, dataset: &Dataset) -> [Model; 2] {
    let folder = tempfile::tempdir().unwrap();
    let summary = finish(config, dataset, folder.path());
    let (drawn, _) = Model::initialise(&config.model, config.seed, &Device::Cpu).unwrap();
    [drawn, Model::load(summary.model, &Device::Cpu).unwrap()]
}

fn mean_error(model: &Model, images: &Images) -> f64 {
    let errors = match model.kind() {
        Kind::AutoEncoder(network) => squared_errors(network, images, 32),
        Kind::Classifier(network) => {
            let conditioned = ConditionedDataset::new(model.config(), images, None).unwrap();
            mistakes(network, &conditioned, 32)
        }
        other => panic!("{other:?}"),
    };
    let errors = errors.unwrap();
    errors.iter().sum::<f64>() / errors.len() as f64
}

#[test]
fn an_auto_encoder_learns_the_images() {
    let [auto_encoder, ..] = others();
    let laboratory = Laboratory::new(Squares::Apart, 0.0);
    let config = laboratory.config(&auto_encoder, 300);
    let [drawn, trained] = trained(&config, &laboratory.dataset);
    let [before, after] = [drawn, trained]
        .map(|model| mean_error(&model, laboratory.dataset.images(Split::Test).unwrap()));
    assert!(after < before / 20.0, "{before} to {after}");
}

#[test]
fn a_classifier_makes_no_mistakes_on_separable_classes() {
    let [.., classifier] = others();
    let laboratory = Laboratory::new(Squares::Alike, NOISE);
    let config = laboratory.config(&classifier, 60);
    let [_, trained] = trained(&config, &laboratory.dataset);
    assert_eq!(
        mean_error(&trained, laboratory.dataset.images(Split::Test).unwrap()),
        0.0
    );
}

/// Eight images of each of `people`. The brightness is random; a person is the difference
/// of red and green from blue.
fn portraits(people: std::ops::Range<u64>) -> Images {
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for person in people {
        let colour = normal(5, &[person], 2).unwrap().to_vec2::<f32>().unwrap();
        for image in 0..8 {
            let rows = [8 * person + image];
            let numbers = normal(6, &rows, 16).unwrap().to_vec2::<f32>().unwrap();
            for channel in 0..3 {
                let shift = colour[0].get(channel).map_or(0.0, |colour| 20.0 * colour);
                let pixels = numbers[0].iter().map(|light| 128.0 + 35.0 * light + shift);
                values.extend(pixels.map(|value| value.clamp(0.0, 255.0) as u8));
            }
            labels.push(person as u32);
        }
    }
    Images::new(crate::synthetic::SHAPE, values, labels).unwrap()
}

#[test]
fn an_embedding_tells_apart_people_it_has_never_seen() {
    let [_, embedding, _] = others();
    let laboratory = Laboratory::new(Squares::Alike, NOISE);
    let config = laboratory.config(&embedding, 200);
    let dataset = Dataset::new(
        "portraits",
        Vec::new(),
        [portraits(0..40), portraits(40..50), portraits(50..70)],
    );
    let areas = trained(&config, &dataset).map(|model| {
        let Kind::Embedding(network, _) = model.kind() else {
            panic!("no embedding network");
        };
        let pairs = Pairs::from_network(network, dataset.images(Split::Test).unwrap(), 32).unwrap();
        pairs.area_under_curve()
    });
    assert!(areas[0] < 0.8 && areas[1] > 0.9, "{areas:?}");
}

/// Height and width of the laboratory's images.
const SIZE: (usize, usize) = (crate::synthetic::SHAPE.1, crate::synthetic::SHAPE.2);

/// A variational model with codes far from their prior, and some images.
fn drawn() -> (Model, pixelcnn_models::Variables, Tensor) {
    let laboratory = Laboratory::new(Squares::Alike, NOISE);
    let config = laboratory.config(&variational("1.0"), 2);
    let (model, _) = Model::initialise(&config.model, 3, &Device::Cpu).unwrap();
    let mut tensors = model.tensors().clone();
    let weight = tensors.get_mut("condition.code.linear.weight").unwrap();
    *weight = (&*weight * 4.0).unwrap();
    let (model, variables) = Model::trainable(&config.model, tensors, &Device::Cpu).unwrap();
    let images = laboratory.dataset.split(Split::Test).unwrap();
    let values = images.tensor(0..3, &Device::Cpu).unwrap();
    (model, variables, values)
}

/// The divergence must be the mean of log q(z) - log p(z) over codes drawn from q.
#[test]
fn the_divergence_is_that_of_the_codes_that_are_drawn() {
    let (model, _, values) = drawn();
    let encoder = model.density().unwrap().condition_encoder();
    let image = values.narrow(0, 0, 1).unwrap();
    let latent = encoder.latent(&Given::Image(image.clone()));
    let latent = latent.unwrap().unwrap();
    let rows: Vec<u64> = (0..20_000).collect();
    let many = Given::Image(image.repeat((rows.len(), 1, 1, 1)).unwrap());
    let drawn = encoder.encode_drawn(&many, SIZE, 9, &rows);
    let (code, divergence) = drawn.unwrap();
    let Condition::Vector(code) = code else {
        panic!("{code}");
    };
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
    let of_prior = wide(&code).sqr().unwrap();
    let deviations = wide(&code).broadcast_sub(&wide(&latent.mean)).unwrap();
    let variance = wide(&latent.log_variance).exp().unwrap();
    let of_posterior = deviations.sqr().unwrap().broadcast_div(&variance).unwrap();
    let of_posterior = of_posterior.broadcast_add(&wide(&latent.log_variance));
    let nats = ((of_prior - of_posterior.unwrap()).unwrap() * 0.5).unwrap();
    let (found, numbers) = (nats.mean(0).unwrap(), rows.len() as f64);
    let spread = nats.broadcast_sub(&found).unwrap().sqr().unwrap();
    let std_err = (spread.mean(0).unwrap() / numbers).unwrap().sqrt().unwrap();
    let expected = wide(&divergence.unwrap()).get(0).unwrap();
    let [found, std_err, expected] =
        [found, std_err, expected].map(|tensor| tensor.to_vec1::<f64>().unwrap());
    for ((found, std_err), expected) in found.iter().zip(&std_err).zip(&expected) {
        assert!(*expected > 5.0 * std_err, "{expected} ± {std_err}");
        assert!(
            (found - expected).abs() < 4.0 * std_err,
            "{found} {expected}"
        );
    }
}

/// In the last layer of the encoder, the rows of the means precede those of the log
/// variances.
#[test]
fn gradients_of_the_images_reach_means_and_variances() {
    let (model, variables, values) = drawn();
    let given = Given::Image(values.clone());
    let encoder = model.density().unwrap().condition_encoder();
    let (code, _) = encoder.encode_drawn(&given, SIZE, 1, &[0, 1, 2]).unwrap();
    let logits = model.network().unwrap().outputs(&values, &code).unwrap();
    let loss = cross_entropy(&logits, &values).unwrap().mean_all().unwrap();
    let gradients = loss.backward().unwrap();
    let weight = &variables["condition.code.linear.weight"];
    let gradient = gradients.get(weight).unwrap().abs().unwrap();
    let each = gradient.flatten_from(1).unwrap().sum(D::Minus1).unwrap();
    let each = each.to_vec1::<f32>().unwrap();
    assert_eq!(each.len(), 4);
    assert!(each.iter().all(|sum| *sum > 0.0), "{each:?}");
}
