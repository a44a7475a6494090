//! Peak memory, measured in processes of their own, because the peak never falls.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{GatedPixelCnnConfig, Model, ModelConfig, write_tensors};
use pixelcnn_system::peak_memory;

/// A folder with a model: this process then only loads it.
const FOLDER: &str = "PIXELCNN_TEST_LOADED";
/// Before the number of bytes in what the process prints.
const GROWTH: &str = "growth of the peak: ";
const MIB: usize = 1 << 20;

/// Loads a model in a process of its own; the bytes by which its peak grows.
fn growth(test: &str, folder: &Path) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let number = printed.split(GROWTH).nth(1).unwrap_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("{printed}\n{errors}")
    });
    number.lines().next().unwrap().parse().unwrap()
}

/// If this is the process that loads a model, it loads it and prints the growth.
fn is_loader() -> bool {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return false;
    };
    let before = peak_memory().unwrap();
    let model = Model::load(Path::new(&folder), &Device::Cpu).unwrap();
    let growth = peak_memory().unwrap() - before;
    println!("{GROWTH}{growth}");
    assert!(model.parameters() > 0);
    true
}

/// Weights in f32, one tensor, and what a program needs beside them.
#[test]
fn loading_a_model_takes_its_weights_and_one_tensor() {
    if is_loader() {
        return;
    }
    let config = GatedPixelCnnConfig {
        blocks: 6,
        maps: 256,
        ..GatedPixelCnnConfig::imagenet32()
    };
    let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu).unwrap();
    let bytes = |tensor: &Tensor| tensor.elem_count() * DType::F32.size_in_bytes();
    let weights: usize = model.tensors().values().map(bytes).sum();
    let largest = model.tensors().values().map(bytes).max().unwrap();
    assert!(weights > 60 * MIB, "{weights}");
    let folder = tempfile::tempdir().unwrap();
    for dtype in [DType::F32, DType::F16] {
        model.save(folder.path()).unwrap();
        let stored = model.tensors().iter();
        let stored: BTreeMap<_, _> = stored
            .map(|(name, it)| (name.clone(), it.to_dtype(dtype).unwrap()))
            .collect();
        write_tensors(folder.path().join("model.safetensors"), &stored, "").unwrap();
        let test = "memory::loading_a_model_takes_its_weights_and_one_tensor";
        let growth = growth(test, folder.path());
        println!("{dtype:?}: {growth} bytes; weights {weights}, largest {largest}");
        // Otherwise nothing was measured.
        assert!(growth > weights * 9 / 10, "{dtype:?}: {growth} {weights}");
        let most = weights + largest + 16 * MIB;
        assert!(growth < most, "{dtype:?}: {growth} bytes, at most {most}");
    }
}
