//! The device, and how its numbers are compared.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{DType, Device, Tensor};
use pixelcnn_kernels::portable;

/// What the environment names.
pub(crate) fn device() -> Option<Device> {
    let Ok(name) = std::env::var("PIXELCNN_DEVICE") else {
        println!("skipped: PIXELCNN_DEVICE names no device");
        return None;
    };
    let device = match name.split_once(':') {
        Some(("cuda", number)) => pixelcnn_kernels::cuda(number.parse().unwrap()),
        None if name == "metal" => Device::new_metal(0),
        None if name == "cpu" => Ok(Device::Cpu),
        _ => panic!("PIXELCNN_DEVICE={name}: cuda:N, metal or cpu expected"),
    };
    Some(device.unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Computes on the device, and then on the CPU with this workspace's own operations.
pub(crate) fn both<T>(device: &Device, compute: impl Fn(&Device) -> T) -> (T, T) {
    let there = match device {
        Device::Cpu => portable(|| compute(device)),
        _ => compute(device),
    };
    (there, compute(&Device::Cpu))
}

/// What is wrong, collected, so that one run on a device tells everything.
#[derive(Default)]
pub(crate) struct Wrong(Vec<String>);

impl Wrong {
    /// Adds tensors whose largest difference is more than `allowed` of their largest value, or
    /// more than `allowed / 100` where all are small.
    pub(crate) fn compare(&mut self, what: &str, there: &Tensor, here: &Tensor, allowed: f32) {
        if there.dims() != here.dims() {
            let (there, here) = (there.shape(), here.shape());
            return self.0.push(format!("{what}: shapes {there:?}, {here:?}"));
        }
        let on_cpu = |tensor: &Tensor| {
            let tensor = tensor.to_device(&Device::Cpu).unwrap();
            tensor.to_dtype(DType::F32).unwrap()
        };
        let (there, here) = (on_cpu(there), on_cpu(here));
        let largest = |tensor: &Tensor| {
            let all = tensor.abs().unwrap().flatten_all().unwrap();
            all.max(0).unwrap().to_scalar::<f32>().unwrap()
        };
        let (difference, size) = (largest(&(&there - &here).unwrap()), largest(&here));
        // NaN is no number up to the limit either.
        if !difference.le(&(allowed * size.max(1e-2))) {
            self.0.push(format!("{what}: {difference} of {size}"));
        }
    }

    /// Adds a number that is more than `allowed`.
    pub(crate) fn most(&mut self, what: &str, found: f32, allowed: f32) {
        if !found.le(&allowed) {
            self.0.push(format!("{what}: {found}"));
        }
    }

    /// Runs a case; a panic is one more thing that is wrong.
    pub(crate) fn case(&mut self, name: &str, case: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| case(self))).is_err() {
            self.0.push(format!("{name}: it panicked, see above"));
        }
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let count = self.0.len();
            assert!(count == 0, "{count} wrong:\n{}", self.0.join("\n"));
        }
    }
}

#[test]
fn a_difference_and_a_panic_are_found() {
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let mut wrong = Wrong::default();
    let (one, near, far) = (
        tensor(&[1.0, 0.0]),
        tensor(&[1.0, 5e-4]),
        tensor(&[1.0, 0.1]),
    );
    wrong.compare("near", &near, &one, 1e-3);
    assert!(wrong.0.is_empty());
    wrong.compare("far", &far, &one, 1e-3);
    wrong.compare("not a number", &tensor(&[f32::NAN, 0.0]), &one, 1e-3);
    wrong.compare("shape", &tensor(&[1.0]), &one, 1e-3);
    wrong.case("panic", |_| panic!("on purpose"));
    assert_eq!(wrong.0.len(), 4, "{:?}", wrong.0);
    wrong.0.clear();
}
