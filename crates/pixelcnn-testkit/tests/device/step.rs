//! Training steps as one program, against candle's autograd on the CPU.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Condition, Model, Precision, TrainingStep, Variables};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{size, values, wave};

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

/// The loss and the gradient of every parameter, by autograd on the CPU.
fn expected(case: &ModelCase, images: &Tensor) -> Vec<(String, Tensor)> {
    let (model, variables) = network(case, &Device::Cpu);
    let nats = model.network().unwrap().value_nats(images, &Condition::None);
    let loss = nats.unwrap().mean_all().unwrap();
    let gradients = loss.backward().unwrap();
    let named = |(name, variable): (&String, &candle_core::Var)| {
        (name.clone(), gradients.get(variable).unwrap().clone())
    };
    let mut all = vec![("loss".to_string(), loss)];
    all.extend(variables.iter().map(named));
    all
}

/// "by own kernels": it also runs on the stand-in driver, which has no kernels of candle.
///
/// Every network that has a program, in every precision, three times with the same program: what a
/// step leaves in its memory must not change the next one.
#[test]
fn training_steps_by_own_kernels_give_the_same_losses_and_gradients() {
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
                // The third run and later ones replay the second.
                let other = images.affine(0.0, 1.0).unwrap();
                step.run(&other).unwrap();
                step.run(&other).unwrap();
                let loss = step.run(&images).unwrap();
                let gradients = step.gradients(&variables).unwrap();
                let expected = expected(&case, &images);
                let found = |name: &str| match name {
                    "loss" => loss.to_dtype(DType::F32).unwrap(),
                    name => gradients[name].clone(),
                };
                let what = format!("{}, {precision}", case.name);
                if precision == Precision::F32 {
                    for (name, here) in &expected {
                        wrong.compare(&format!("{what}: {name}"), &found(name), here, 1e-4);
                    }
                    continue;
                }
                // Rounded numbers in small networks: the loss, and the gradient as a whole.
                wrong.compare(&what, &found("loss"), &expected[0].1, 1e-2);
                let row = |of: &dyn Fn(&str, &Tensor) -> Tensor| {
                    let parts = expected[1..].iter().map(|(name, here)| {
                        let part = of(name, here).to_device(&Device::Cpu).unwrap();
                        part.flatten_all().unwrap()
                    });
                    Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap()
                };
                let there = row(&|name, _| found(name));
                let here = row(&|_, here| here.clone());
                let norm = |row: &Tensor| {
                    let squares = row.sqr().unwrap().sum_all().unwrap();
                    squares.to_scalar::<f32>().unwrap().sqrt()
                };
                let far = norm(&(there - &here).unwrap()) / norm(&here);
                wrong.most(&format!("{what}: the gradient"), far, 0.1);
            }
        });
    }
    println!("{programs} programs");
    assert!(device.is_cpu() || device.is_metal() || programs > 0);
}
