//! Training steps as one program, against candle's autograd on the CPU.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Condition, Model, Precision, TrainingStep};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{size, values};

use crate::compare::{Wrong, device};

/// The loss and the gradient of every parameter, by autograd on the CPU.
fn expected(case: &ModelCase, images: &Tensor) -> Vec<(String, Tensor)> {
    let (model, variables) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
    let network = model.network().unwrap();
    let nats = network.value_nats(images, &Condition::None).unwrap();
    let loss = nats.mean_all().unwrap();
    let gradients = loss.backward().unwrap();
    let named = |(name, variable): (&String, &candle_core::Var)| {
        (name.clone(), gradients.get(variable).unwrap().clone())
    };
    let mut all = vec![("loss".to_string(), loss)];
    all.extend(variables.iter().map(named));
    all
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
            let (model, variables) = Model::initialise(&case.config, 3, &device).unwrap();
            let network = model.network().unwrap();
            for precision in Precision::ALL {
                let step = TrainingStep::new(network, [2, h, w], precision).unwrap();
                let Some(mut step) = step else { return };
                programs += 1;
                let other = images.affine(0.0, 1.0).unwrap();
                step.run(&other).unwrap();
                let loss = step.run(&images).unwrap();
                let gradients = step.gradients(&variables).unwrap();
                let allowed = match precision {
                    Precision::F32 => 1e-4,
                    Precision::Tf32 => 1e-2,
                    Precision::Bf16 => 6e-2,
                };
                for (name, here) in expected(&case, &images) {
                    let there = match &name[..] {
                        "loss" => &loss,
                        name => &gradients[name],
                    };
                    let there = there.to_dtype(DType::F32).unwrap();
                    let what = format!("{}, {precision}: {name}", case.name);
                    wrong.compare(&what, &there, &here, allowed);
                }
            }
        });
    }
    println!("{programs} programs");
    assert!(device.is_cpu() || device.is_metal() || programs > 0);
}
