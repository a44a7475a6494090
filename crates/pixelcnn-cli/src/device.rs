//! The device of tensors.

use anyhow::{Context, Result, bail};
use candle_core::Device;

/// `cpu`, `cuda:N` or `metal`.
pub(crate) fn parse(name: &str) -> Result<Device> {
    let number = |text: &str| {
        text.parse()
            .with_context(|| format!("device {name}: {text} is not a number"))
    };
    let device = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => Device::new_cuda(0),
        None if name == "metal" => Device::new_metal(0),
        Some(("cuda", text)) => Device::new_cuda(number(text)?),
        _ => bail!("device {name}: cpu, cuda:N or metal expected"),
    };
    device.with_context(|| {
        let (kind, _) = name.split_once(':').unwrap_or((name, ""));
        format!("device {name} (see --version: was the program built with {kind}?)")
    })
}
