//! Every layer and every model.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Model, Parameters};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{encoded, given, layers, size, values, wave};

use crate::compare::{Wrong, both, device};

#[test]
fn layers_give_the_same_maps() {
    let Some(device) = device() else { return };
    let mut wrong = Wrong::default();
    for case in layers::table().unwrap() {
        wrong.case(&case.name, |wrong| {
            let forward = |device: &Device| {
                let parameters = Parameters::drawn(1);
                let layer = (case.build)(parameters.builder(DType::F32, device)).unwrap();
                let maps = |maps: usize| {
                    let maps = wave(&[2, maps, 5, 6], 0.3).unwrap();
                    let maps = maps.to_dtype(DType::F32).unwrap();
                    maps.to_device(device).unwrap()
                };
                let inputs: Vec<_> = case.inputs.iter().map(|of| maps(of.maps())).collect();
                layer(&inputs).unwrap()
            };
            let (there, here) = both(&device, forward);
            for (there, here) in there.iter().zip(&here) {
                wrong.compare(&case.name, there, here, 1e-4);
            }
        });
    }
}

#[test]
fn models_give_the_same_outputs_cross_entropies_and_gradients() {
    let Some(device) = device() else { return };
    let mut wrong = Wrong::default();
    for case in networks() {
        wrong.case(&case.name, |wrong| {
            let (there, here) = both(&device, |device| pass(&case, device));
            assert_eq!(there.len(), here.len());
            for ((name, there), (_, here)) in there.iter().zip(&here) {
                wrong.compare(&format!("{}: {name}", case.name), there, here, 1e-3);
            }
        });
    }
}

/// Outputs, nats, and the gradient of every parameter.
fn pass(case: &ModelCase, device: &Device) -> Vec<(String, Tensor)> {
    let (model, variables) = Model::initialise(&case.config, 3, device).unwrap();
    let image = case.config.image();
    let (h, w) = size(&case.config, (7, 8));
    let images = values(&[2, image.channels, h, w], image.levels).unwrap();
    let given = given(&case.config, 2, h, w).unwrap();
    let encoder = model.density().unwrap().condition_encoder();
    let (condition, _) = encoder.encode_drawn(&given, (h, w), 1, &[0, 1]).unwrap();
    let network = model.network().unwrap();
    let outputs = network.outputs(&images, &condition).unwrap();
    let nats = network.value_nats(&images, &condition).unwrap();
    let gradients = nats.mean_all().unwrap().backward().unwrap();
    let mut all = vec![("outputs".to_string(), outputs), ("nats".to_string(), nats)];
    for (name, variable) in &variables {
        let gradient = gradients.get(variable).expect("a gradient");
        all.push((name.clone(), gradient.clone()));
    }
    all
}

/// Images have the same likelihood, and weights the same bits after they were saved on one
/// device and loaded on the other.
#[test]
fn models_move_between_devices() {
    let Some(device) = device() else { return };
    let mut wrong = Wrong::default();
    for case in networks() {
        wrong.case(&case.name, |wrong| {
            let (there, _) = Model::initialise(&case.config, 3, &device).unwrap();
            let folder = tempfile::tempdir().unwrap();
            there.save(folder.path().join("there")).unwrap();
            let here = Model::load(folder.path().join("there"), &Device::Cpu).unwrap();
            here.save(folder.path().join("here")).unwrap();
            let back = Model::load(folder.path().join("here"), &device).unwrap();
            for (name, tensor) in back.tensors() {
                let name = format!("{}: {name}", case.name);
                wrong.compare(
                    &name,
                    tensor,
                    &here.tensors()[&name[case.name.len() + 2..]],
                    0.0,
                );
            }
            let image = case.config.image();
            let (h, w) = (image.height, image.width);
            let images = values(&[2, image.channels, h, w], image.levels).unwrap();
            let nats = |model: &Model| {
                let condition = encoded(model, 2, h, w).unwrap();
                model.density().unwrap().nats(&images, &condition).unwrap()
            };
            wrong.compare(&case.name, &nats(&back), &nats(&here), 1e-4);
        });
    }
}
