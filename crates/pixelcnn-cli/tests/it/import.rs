//! `pixelcnn import` and `pixelcnn audit --from`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use pixelcnn_models::write_tensors;

use crate::test_folder::TestFolder;

/// A checkpoint in `theirs.safetensors`, with an entry of a mask's closed part that is not zero.
pub(crate) fn place() -> TestFolder {
    let place = TestFolder::new();
    let mut tensors = BTreeMap::new();
    for (name, shape) in [
        ("conv_vstack.conv", [2, 1, 3, 3]),
        ("conv_hstack.conv", [2, 1, 1, 3]),
        ("conv_layers.0.conv_vert.conv", [4, 2, 3, 3]),
        ("conv_layers.0.conv_horiz.conv", [4, 2, 1, 3]),
        ("conv_layers.0.conv_vert_to_horiz", [4, 4, 1, 1]),
        ("conv_layers.0.conv_horiz_1x1", [2, 2, 1, 1]),
        ("conv_out", [4, 2, 1, 1]),
    ] {
        for (part, shape) in [("weight", &shape[..]), ("bias", &shape[..1])] {
            let numbers = Tensor::full(0.25f32, shape, &Device::Cpu).unwrap();
            tensors.insert(format!("{name}.{part}"), numbers);
        }
    }
    // The row above is open.
    let mask = [[[[1f32, 1.0, 1.0], [0.0; 3], [0.0; 3]]]];
    let mask = Tensor::new(&mask, &Device::Cpu).unwrap();
    tensors.insert("conv_vstack.mask".to_string(), mask);
    write_tensors(place.path("theirs.safetensors"), &tensors, "").unwrap();
    place
}

const FROM: &str = "--from uvadlc theirs.safetensors --set dilations=2";

#[test]
fn a_checkpoint_becomes_a_model_that_every_command_reads() {
    let place = place();
    let result = place.json(&format!(
        "import {FROM} --set height=8 --set width=8 --out model --json"
    ));
    assert_eq!(result["format"], "uvadlc");
    assert_eq!(result["image"]["height"], 8);
    assert_eq!(
        result["parameters"],
        2 * 3 + 2 + 2 + 2 + 48 + 4 + 16 + 16 + 4 + 6 + 12
    );
    let warning = result["warnings"][0].as_str().unwrap();
    assert!(warning.contains("the largest is 2.500e-1"), "{warning}");
    let card = String::from_utf8(place.bytes("model/README.md")).unwrap();
    assert!(
        card.contains("| from | `theirs.safetensors`, uvadlc |"),
        "{card}"
    );
    assert!(card.contains("## Warnings"), "{card}");
    place.line("sample --model model --count 1 --out a.png");
    let audit = place.json("audit --model model --json");
    assert_eq!(audit["sound"], true);
    let mut from = place.json(&format!("audit {FROM} --json"));
    assert_eq!(from, audit);
    from["sound"] = false.into();
    assert_ne!(from, audit);
}

#[test]
fn mistakes_are_named_and_nothing_is_overwritten() {
    let place = place();
    place.line(&format!("import {FROM} --out model"));
    let again = format!("import {FROM} --out model");
    place.fails(&again, &["--out model", "an empty or new folder expected"]);
    let audit = "audit --from uvadlc theirs.safetensors";
    place.fails(audit, &["--set dilations", "each of 1 layers"]);
    place.fails(
        &format!("{audit} --set x"),
        &["--set x: key=value expected"],
    );
    place.fails(
        "import --from pytorch-vqvae theirs.safetensors --out b",
        &["theirs.safetensors", "tensor embedding.weight is missing"],
    );
    assert!(!place.path("b").exists());
    for (arguments, part) in [
        ("import theirs.safetensors --out b", "--from"),
        ("import --from uvadlc --out b", "<FILE>"),
        (
            "audit --from keras theirs.safetensors",
            "one of uvadlc, pytorch-vqvae",
        ),
        (
            "audit --model model --from uvadlc theirs.safetensors",
            "cannot be used with",
        ),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(part), "{arguments}: {text}");
    }
}
