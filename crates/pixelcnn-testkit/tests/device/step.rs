//! Training steps as one program, against candle's autograd on the CPU.

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_models::{Condition, Conditioning, Model, Precision, TrainingStep, Variables};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{condition, size, values, wave};

use crate::compare::{Wrong, device};

/// A network with weights of the CPU, and biases that are not zero.
fn network(case: &ModelCase, device: &Device) -> (Model, Variables) {
    let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
    let weights = model.tensors().iter().map(|(name, tensor)| {
        let tensor = match tensor.rank() {
            1 => (wave(tensor.dims(), 0.4).unwrap() * 0.1).unwrap(),
            _ => tensor.clone(),
        };
        let tensor = tensor.to_dtype(DType::F32).unwrap().detach();
        (name.clone(), tensor)
    });
    Model::trainable(&case.config, weights.collect(), device).unwrap()
}

/// A condition of the blocks, with other numbers for each image, and the variable that it reads.
fn given(case: &ModelCase, [b, h, w]: [usize; 3]) -> (Condition, Option<Var>) {
    let shape = case.config.conditioning().map(Conditioning::shape);
    let condition = condition(shape.unwrap_or_default(), b, h, w, DType::F32).unwrap();
    let variable = condition.tensor().map(|it| Var::from_tensor(it).unwrap());
    let tensor = variable.as_ref().map(|it| it.as_tensor().clone());
    let condition = match (&condition, tensor) {
        (Condition::Vector(_), Some(tensor)) => Condition::Vector(tensor),
        (Condition::Map(_), Some(tensor)) => Condition::Map(tensor),
        _ => Condition::None,
    };
    (condition, variable)
}

/// The loss and the gradient of every parameter of the network and of the condition, by autograd
/// on the CPU.
fn expected(case: &ModelCase, images: &Tensor) -> Vec<(String, Tensor)> {
    let (model, variables) = network(case, &Device::Cpu);
    let (b, _, h, w) = images.dims4().unwrap();
    let (condition, variable) = given(case, [b, h, w]);
    let nats = model.network().unwrap().value_nats(images, &condition);
    let loss = nats.unwrap().mean_all().unwrap();
    let gradients = loss.backward().unwrap();
    // The encoder's parameters have none.
    let named = |(name, variable): (&String, &Var)| {
        Some((name.clone(), gradients.get(variable)?.clone()))
    };
    let mut all = vec![("loss".to_string(), loss)];
    all.extend(variables.iter().filter_map(named));
    let gradient = variable.map(|it| gradients.get(&it).unwrap().clone());
    all.extend(gradient.map(|gradient| ("condition".to_string(), gradient)));
    all
}

/// What a training step gives for these names.
fn found(step: &TrainingStep, loss: &Tensor, variables: &Variables) -> Vec<(String, Tensor)> {
    let mut all = vec![("loss".to_string(), loss.to_dtype(DType::F32).unwrap())];
    all.extend(step.gradients(variables));
    let condition = step.condition_gradient();
    all.extend(condition.map(|gradient| ("condition".to_string(), gradient)));
    all
}

/// How far gradients are from the expected ones, by the norm of all together.
fn difference(there: &[(String, Tensor)], here: &[(String, Tensor)]) -> f32 {
    let row = |all: &[(String, Tensor)]| {
        let parts = all.iter().map(|(_, part)| {
            let part = part.to_device(&Device::Cpu).unwrap();
            part.flatten_all().unwrap()
        });
        Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap()
    };
    let norm = |row: &Tensor| {
        let squares = row.sqr().unwrap().sum_all().unwrap();
        squares.to_scalar::<f32>().unwrap().sqrt()
    };
    let (there, here) = (row(there), row(here));
    norm(&(there - &here).unwrap()) / norm(&here)
}

/// Every network that has a program, in every precision, twice with the same program: what a
/// step leaves in its memory must not change the next one.
#[test]
fn training_steps_give_the_same_losses_and_gradients() {
    let Some(device) = device() else { return };
    let mut wrong = Wrong::default();
    let mut programs = 0;
    for case in networks() {
        wrong.case(&case.name, |wrong| {
            let image = case.config.image();
            let (h, w) = size(&case.config, (7, 8));
            let images = values(&[2, image.channels, h, w], image.levels).unwrap();
            let (model, variables) = network(&case, &device);
            let network = model.network().unwrap();
            for precision in Precision::ALL {
                let step = TrainingStep::new(network, [2, h, w], precision).unwrap();
                let Some(mut step) = step else { return };
                programs += 1;
                let other = images.affine(0.0, 1.0).unwrap();
                let (condition, _) = given(&case, [2, h, w]);
                let swapped = match &condition {
                    Condition::None => Condition::None,
                    condition => condition.select(&[1, 0]).unwrap(),
                };
                step.run(&other, &swapped).unwrap();
                let loss = step.run(&images, &condition).unwrap();
                let found = found(&step, &loss, &variables);
                let expected = expected(&case, &images);
                let names = |all: &[(String, Tensor)]| -> Vec<String> {
                    all.iter().map(|(name, _)| name.clone()).collect()
                };
                assert_eq!(names(&found), names(&expected));
                let what = format!("{}, {precision}", case.name);
                if precision == Precision::F32 {
                    for ((name, there), (_, here)) in found.iter().zip(&expected) {
                        wrong.compare(&format!("{what}: {name}"), there, here, 1e-4);
                    }
                    continue;
                }
                // Rounded numbers in small networks: the loss, and the gradient as a whole.
                wrong.compare(&what, &found[0].1, &expected[0].1, 1e-2);
                let far = difference(&found[1..], &expected[1..]);
                wrong.most(&format!("{what}: the gradient"), far, 0.1);
                let last = expected.len() - 1;
                if expected[last].0 == "condition" {
                    // All that was rounded in the backward pass adds up here.
                    let far = difference(&found[last..], &expected[last..]);
                    wrong.most(&format!("{what}: the condition's gradient"), far, 0.25);
                }
            }
        });
    }
    println!("{programs} programs");
    assert!(device.is_cpu() || device.is_metal() || programs > 0);
}
