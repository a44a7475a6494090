//! The device of tensors.

use anyhow::{Context, Result, bail};
use candle_core::{Device, Error};

/// `auto`, `cpu`, `cuda:N` or `metal`. `auto` is the first GPU that this program can use, or
/// else the CPU.
pub(crate) fn parse(name: &str) -> Result<Device> {
    let number = |text: &str| {
        text.parse()
            .with_context(|| format!("device {name}: {text} is not a number"))
    };
    let (device, kind) = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "auto" => return Ok(automatic()),
        None if name == "cuda" => (pixelcnn_kernels::cuda(0), "CUDA"),
        None if name == "metal" => (Device::new_metal(0), "Metal"),
        Some(("cuda", text)) => (pixelcnn_kernels::cuda(number(text)?), "CUDA"),
        _ => bail!("device {name}: auto, cpu, cuda:N or metal expected"),
    };
    device.or_else(|error| bail!("device {name}: {}", sentence(&error, kind)))
}

fn automatic() -> Device {
    let found = pixelcnn_kernels::cuda(0).or_else(|_| Device::new_metal(0));
    let device = found.unwrap_or(Device::Cpu);
    tracing::info!("device: {}", name(&device));
    device
}

/// As in `--device`.
pub(crate) fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".to_owned(),
    }
}

/// Why a device cannot be used, without candle's names and backtrace.
fn sentence(error: &Error, kind: &str) -> String {
    if let Error::WithBacktrace { inner, .. } = error {
        return sentence(inner, kind);
    }
    match error {
        Error::NotCompiledWithCudaSupport | Error::NotCompiledWithMetalSupport => {
            let feature = kind.to_lowercase();
            format!("this program was built without {kind} (feature `{feature}` of pixelcnn-cli)")
        }
        _ => {
            let cause = error.to_string();
            let cause = cause.lines().next().unwrap_or_default();
            format!("{kind} finds no driver or no such device ({cause})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_fails_is_one_sentence() {
        let error = Error::Msg("CUDA_ERROR_NO_DEVICE\n0: a frame".into()).bt();
        let sentence = sentence(&error, "CUDA");
        assert_eq!(
            sentence,
            "CUDA finds no driver or no such device (CUDA_ERROR_NO_DEVICE)"
        );
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn without_a_gpu_auto_is_the_cpu() {
        let device = parse("auto").unwrap();
        assert!(device.is_cpu());
        assert_eq!(name(&device), "cpu");
        let error = parse("metal").unwrap_err().to_string();
        assert!(error.contains("built without Metal"), "{error}");
    }
}
