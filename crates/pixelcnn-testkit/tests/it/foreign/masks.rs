//! The masks that a checkpoint keeps are those of the model, or the file is refused.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use pixelcnn_import::{Format, Import, ImportError};
use pixelcnn_testkit::foreign::{Sizes, Wrapping, archive, tensors};

use super::{read, sizes};

type Tensors = BTreeMap<String, Tensor>;

/// The formats that keep masks, also with halves before a gate of different colours.
fn kept() -> Vec<(Format, Tensors)> {
    let format = Format::Anordertoreclaim;
    let uneven = Sizes {
        maps: 7,
        head: 5,
        ..sizes(format)
    };
    let all = [
        (Format::Uvadlc, sizes(Format::Uvadlc)),
        (format, sizes(format)),
        (format, uneven),
    ];
    let tensors = all.map(|(format, sizes)| (format, tensors(format, sizes).unwrap()));
    tensors.into()
}

fn import(format: Format, tensors: &Tensors) -> Result<Import, ImportError> {
    read(format, &archive(tensors, Wrapping::Bare).unwrap())
}

fn refused(format: Format, tensors: &Tensors, parts: &[&str]) {
    let error = import(format, tensors).unwrap_err().to_string();
    for part in parts.iter().chain(&["theirs.ckpt"]) {
        assert!(error.contains(part), "{format}: {part} is not in: {error}");
    }
}

/// The masks whose convolutions the model has.
fn names(tensors: &Tensors) -> Vec<String> {
    let masks = tensors.keys().filter(|name| name.ends_with(".mask"));
    // No output depends on the last one.
    let read = masks.filter(|name| *name != "hidden_conv.1.h_fc.mask");
    let names: Vec<_> = read.cloned().collect();
    assert!(names.len() >= 6, "{names:?}");
    names
}

fn with(tensors: &Tensors, name: &str, numbers: Vec<f32>, shape: &[usize]) -> Tensors {
    let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
    let mut all = tensors.clone();
    all.insert(name.to_string(), tensor);
    all
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn the_masks_of_a_format_pass_in_every_form_and_may_be_absent() {
    for (format, tensors) in kept() {
        import(format, &tensors).unwrap();
        let mut without = tensors.clone();
        without.retain(|name, _| !name.ends_with(".mask"));
        import(format, &without).unwrap();
        let mut half = tensors.clone();
        for name in names(&tensors) {
            let stored = tensors[&name].to_dtype(DType::F16).unwrap();
            half.insert(name, stored);
        }
        import(format, &half).unwrap();
    }
    // One mask for all maps may also be stored for each.
    let (format, tensors) = kept().swap_remove(0);
    let name = "conv_layers.0.conv_vert.mask";
    let shape = tensors["conv_layers.0.conv_vert.conv.weight"].dims();
    let whole = tensors[name].broadcast_as(shape).unwrap();
    import(format, &with(&tensors, name, numbers(&whole), shape)).unwrap();
}

/// The first, the middle and the last entry of each mask: some are open, some closed, and some
/// of parts of a kernel that the model does not have.
#[test]
fn a_mask_with_another_entry_is_refused() {
    for (format, tensors) in kept() {
        for name in names(&tensors) {
            let (mask, shape) = (numbers(&tensors[&name]), tensors[&name].dims());
            for at in [0, mask.len() / 2, mask.len() - 1] {
                let mut flipped = mask.clone();
                flipped[at] = 1.0 - flipped[at];
                let said = format!("tensor {name}: ");
                let expected = format!("expected, found {}", flipped[at]);
                let all = with(&tensors, &name, flipped, shape);
                match import(format, &all).unwrap_err().to_string() {
                    outside if outside.contains("does not read, found 1") => {
                        assert!(outside.contains(&said), "{outside}");
                        assert_eq!(mask[at], 0.0, "{outside}");
                    }
                    _ => refused(format, &all, &[&said, "not that of this format", &expected]),
                }
            }
        }
    }
}

/// Colours of maps that lie side by side, as in the model, and not in turn.
#[test]
fn another_order_of_colours_is_refused() {
    let (format, tensors) = kept().swap_remove(1);
    let name = "hidden_conv.0.h_fc.mask";
    let colour = |map: usize| map * 3 / 6;
    let open = |at: usize| colour(at % 6) <= colour(at / 6);
    let mask = (0..36).map(|at| if open(at) { 1.0 } else { 0.0 }).collect();
    refused(
        format,
        &with(&tensors, name, mask, &[6, 6, 1, 1]),
        &[
            "tensor hidden_conv.0.h_fc.mask",
            "in 10 of 36 entries",
            "for blocks.0.output.weight",
        ],
    );
}

#[test]
fn a_mask_of_another_form_is_refused() {
    let (format, tensors) = kept().swap_remove(0);
    let name = "conv_layers.0.conv_vert.mask";
    let wrong = |numbers: Vec<f32>, shape: &[usize], parts: &[&str]| {
        refused(format, &with(&tensors, name, numbers, shape), parts);
    };
    let said = "[10, 5, 3, 3], or 1 expected, found ";
    wrong(vec![1.0; 25], &[1, 1, 5, 5], &[name, said, "[1, 1, 5, 5]"]);
    wrong(vec![1.0; 9], &[3, 3], &[name, said, "[3, 3]"]);
    wrong(vec![1.0], &[1, 1, 1, 1], &[name, "does not read, found 1"]);
    for number in [0.5, -1.0, f32::NAN, f32::INFINITY] {
        let mut mask = numbers(&tensors[name]);
        mask[0] = number;
        let found = format!("a mask of 0 and 1 expected, found {number}");
        wrong(mask, &[1, 1, 3, 3], &[name, &found]);
    }
    let name = "conv_elsewhere.mask";
    let all = with(&tensors, name, vec![1.0], &[1, 1, 1, 1]);
    refused(format, &all, &["does not have: conv_elsewhere.mask"]);
}
