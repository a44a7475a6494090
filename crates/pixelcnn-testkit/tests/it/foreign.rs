//! Checkpoints of other programs: the same logits as an evaluation from their own tensors,
//! exact samples, further training, and what the audit says of them.

mod files;
mod masks;
mod reference;

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use pixelcnn_import::{Format, Import, ImportError, Settings, import};
use pixelcnn_models::audit::{Fault, Offset, audit};
use pixelcnn_models::{Condition, Given, Model, write_tensors};
use pixelcnn_sample::{Engine, outputs};
use pixelcnn_testkit::foreign::{Sizes, Wrapping, archive, settings, tensors};
use pixelcnn_testkit::{encoded, values};
use tempfile::TempDir;

use reference::{Maps, Reference};

const SIZE: (usize, usize) = (5, 6);

fn sizes(format: Format) -> Sizes {
    match format {
        // The log-odds of two levels.
        Format::PytorchGenerative => Sizes {
            levels: 1,
            maps: 5,
            ..Sizes::small()
        },
        Format::Anordertoreclaim => Sizes::small(),
        _ => Sizes {
            maps: 5,
            ..Sizes::small()
        },
    }
}

/// A file in a folder of its own.
fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.ckpt");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(format: Format, bytes: &[u8]) -> Result<Import, ImportError> {
    let (_folder, path) = written(bytes);
    import(format, path, &Settings::parse(settings(format)).unwrap())
}

fn imported(format: Format, sizes: Sizes) -> Import {
    let tensors = tensors(format, sizes).unwrap();
    read(format, &archive(&tensors, Wrapping::Bare).unwrap()).unwrap()
}

/// Images, their labels and the condition.
fn batch(model: &Model) -> (Tensor, Condition) {
    let image = model.config().image();
    let values = values(&[2, image.channels, SIZE.0, SIZE.1], image.levels).unwrap();
    (values, encoded(model, 2, SIZE.0, SIZE.1).unwrap())
}

fn check_logits(format: Format, model: &Model, tensors: &BTreeMap<String, Tensor>) {
    let image = model.config().image();
    let (values, condition) = batch(model);
    let found = model
        .network()
        .unwrap()
        .outputs(&values, &condition)
        .unwrap();
    let found = found.flatten_from(3).unwrap();
    for label in 0..2 {
        let one = values.get(label).unwrap().to_dtype(DType::F64).unwrap();
        let one: Maps = one.to_vec3().unwrap();
        let expected = Reference::new(tensors, SIZE, label).logits(format, &one, image.levels);
        let found = found.get(label).unwrap().flatten(0, 1).unwrap();
        let found: Vec<Vec<f32>> = found.to_vec2().unwrap();
        assert_eq!(found.len(), expected.len());
        // Otherwise the comparison would say nothing.
        let last = expected.last().unwrap();
        let varies = last
            .iter()
            .flatten()
            .any(|it| (it - last[0][0]).abs() > 0.01);
        assert!(varies, "{format}: all positions are alike");
        for (map, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for (at, (found, expected)) in found.iter().zip(expected.iter().flatten()).enumerate() {
                let difference = (f64::from(*found) - expected).abs();
                assert!(
                    difference < 1e-4,
                    "{format}: {map} {at}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn logits_are_those_of_the_other_program() {
    for format in Format::ALL {
        let tensors = tensors(format, sizes(format)).unwrap();
        for wrapping in [Wrapping::Bare, Wrapping::Lightning] {
            let import = read(format, &archive(&tensors, wrapping).unwrap()).unwrap();
            check_logits(format, &import.model, &tensors);
        }
        let wrapped = tensors.iter();
        let wrapped = wrapped.map(|(name, it)| (format!("_orig_mod.module.{name}"), it.clone()));
        let (_folder, path) = written(b"");
        write_tensors(&path, &wrapped.collect(), "").unwrap();
        let settings = Settings::parse(settings(format)).unwrap();
        let import = import(format, &path, &settings).unwrap();
        check_logits(format, &import.model, &tensors);
        let notes = import.notes.join("; ");
        assert!(notes.contains("begin with _orig_mod."), "{notes}");
        assert!(notes.contains("begin with module."), "{notes}");
    }
}

/// Colour masks of maps that the colours do not divide evenly, and several levels of a model
/// without log-odds.
#[test]
fn other_sizes_have_the_logits_of_the_other_program_too() {
    for (format, sizes) in [
        (
            Format::Anordertoreclaim,
            Sizes {
                maps: 7,
                head: 5,
                ..Sizes::small()
            },
        ),
        (
            Format::Anordertoreclaim,
            Sizes {
                maps: 8,
                levels: 2,
                ..Sizes::small()
            },
        ),
        (
            Format::PytorchGenerative,
            Sizes {
                levels: 3,
                ..Sizes::small()
            },
        ),
        (
            Format::PytorchVqvae,
            Sizes {
                first_kernel: 7,
                kernel: 5,
                ..Sizes::small()
            },
        ),
    ] {
        let tensors = tensors(format, sizes).unwrap();
        let import = read(format, &archive(&tensors, Wrapping::Bare).unwrap()).unwrap();
        check_logits(format, &import.model, &tensors);
    }
}

#[test]
fn closed_taps_are_zeroed_with_a_warning_and_zeros_give_none() {
    for format in Format::ALL {
        let warnings = imported(format, sizes(format)).warnings;
        let closed = format != Format::PytorchGenerative;
        assert_eq!(
            warnings.len(),
            usize::from(closed),
            "{format}: {warnings:?}"
        );
        assert!(
            warnings.iter().all(|it| it.contains("the largest is")),
            "{warnings:?}"
        );
    }
    let mut tensors = tensors(Format::Uvadlc, sizes(Format::Uvadlc)).unwrap();
    for (name, rows, columns) in [("conv_vstack", 2, 5), ("conv_hstack", 1, 2)] {
        close(&mut tensors, &format!("{name}.conv"), (rows, columns));
    }
    for layer in 0..2 {
        let name = |part: &str| format!("conv_layers.{layer}.{part}.conv");
        close(&mut tensors, &name("conv_vert"), (2, 3));
        close(&mut tensors, &name("conv_horiz"), (1, 2));
    }
    let bytes = archive(&tensors, Wrapping::Bare).unwrap();
    let import = read(Format::Uvadlc, &bytes).unwrap();
    assert_eq!(import.warnings, Vec::<String>::new());
}

/// Sets a kernel to zero from a row and a column on.
fn close(tensors: &mut BTreeMap<String, Tensor>, name: &str, (rows, columns): (usize, usize)) {
    let weight = tensors.get_mut(&format!("{name}.weight")).unwrap();
    let (_, _, height, width) = weight.dims4().unwrap();
    let open = weight
        .narrow(2, 0, rows)
        .unwrap()
        .narrow(3, 0, columns)
        .unwrap();
    let open = open.pad_with_zeros(2, 0, height - rows).unwrap();
    *weight = open.pad_with_zeros(3, 0, width - columns).unwrap();
}

#[test]
fn a_checkpoint_is_sampled_trained_saved_and_scored() {
    for format in Format::ALL {
        let model = imported(format, sizes(format)).model;
        let (values, condition) = batch(&model);
        let density = model.density().unwrap();
        let engine = Engine::new(density).unwrap();
        let exact = outputs(&engine, &values, &condition).unwrap();
        let network = model
            .network()
            .unwrap()
            .outputs(&values, &condition)
            .unwrap();
        let largest = (exact - network)
            .unwrap()
            .abs()
            .unwrap()
            .flatten_all()
            .unwrap();
        let largest = largest.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(largest < 1e-4, "{format}: {largest}");

        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let loaded = Model::load(folder.path(), &Device::Cpu).unwrap();
        let nats = |model: &Model| {
            let nats = model.density().unwrap().nats(&values, &condition).unwrap();
            nats.sum_all().unwrap().to_scalar::<f64>().unwrap()
        };
        assert_eq!(nats(&model), nats(&loaded), "{format}");

        let tensors = loaded.tensors().clone();
        let trainable = Model::trainable(loaded.config(), tensors, &Device::Cpu).unwrap();
        let (trained, variables) = trainable;
        let loss = trained
            .network()
            .unwrap()
            .value_nats(&values, &condition)
            .unwrap();
        let gradients = loss.mean_all().unwrap().backward().unwrap();
        for variable in variables.values() {
            let step = (gradients.get(variable).unwrap() * 0.05).unwrap();
            variable
                .set(&(variable.as_tensor() - step).unwrap())
                .unwrap();
        }
        assert!(nats(&trained) < nats(&model), "{format}");
    }
}

#[test]
fn a_model_given_a_class_tells_classes_apart() {
    for format in [Format::PytorchVqvae, Format::Anordertoreclaim] {
        let model = imported(format, sizes(format)).model;
        let image = model.config().image();
        let shape = [1, image.channels, image.height, image.width];
        let values = values(&shape, image.levels).unwrap();
        let bits = |label| {
            let given = Given::Labels(vec![label]);
            let density = model.density().unwrap();
            density
                .bits_per_dim(&values, &given)
                .unwrap()
                .bits_per_dim()
        };
        assert!((bits(0) - bits(1)).abs() > 1e-6, "{format}");
        assert_eq!(model.config().classes().unwrap().count(), 3);
    }
}

#[test]
fn the_audit_finds_no_fault_where_there_is_none() {
    for format in Format::ALL {
        let model = imported(format, sizes(format)).model;
        let report = audit(model.config(), model.tensors()).unwrap();
        assert_eq!(report.findings, [], "{format}");
        let blind = report.blind_by_design > 0;
        assert_eq!(blind, format == Format::PytorchGenerative, "{format}");
        if blind {
            let field = &report.reached[0];
            let at = |row, column| Offset {
                row,
                column,
                channel: 0,
            };
            // The first kernel reaches 2 to the right in one row up; no other path stays in
            // the row above, and further up each layer adds one.
            assert!(field.contains(&at(-1, 2)) && !field.contains(&at(-1, 3)));
            assert!(field.contains(&at(-2, 3)) && !field.contains(&at(-2, 4)));
        }
    }
}

/// Of 7 maps, the halves before a gate belong to different colours.
#[test]
fn the_audit_finds_the_leak_between_colours() {
    for (maps, leaks) in [(6, false), (7, true), (8, true), (9, false)] {
        let format = Format::Anordertoreclaim;
        let import = imported(
            format,
            Sizes {
                maps,
                ..Sizes::small()
            },
        );
        let model = import.model;
        let report = audit(model.config(), model.tensors()).unwrap();
        let kinds: Vec<_> = report.findings.iter().map(|it| it.fault).collect();
        assert_eq!(
            kinds.contains(&Fault::ColourOrder),
            leaks,
            "{maps}: {kinds:?}"
        );
        let warned = import.warnings.iter().any(|it| it.contains("wrong order"));
        assert_eq!(warned, leaks, "{maps}");
        let engine = Engine::new(model.density().unwrap());
        assert_eq!(engine.is_err(), leaks, "{maps}");
    }
}

#[test]
fn half_precision_and_views_are_read() {
    let format = Format::PytorchVqvae;
    let whole = tensors(format, sizes(format)).unwrap();
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let converted = |it: &Tensor| it.to_dtype(dtype).unwrap();
        let stored: BTreeMap<_, _> = whole
            .iter()
            .map(|(name, it)| (name.clone(), converted(it)))
            .collect();
        let import = read(format, &archive(&stored, Wrapping::Bare).unwrap()).unwrap();
        check_logits(format, &import.model, &stored);
    }
}

#[test]
fn weights_of_whole_numbers_are_refused_in_safetensors_too() {
    let format = Format::PytorchVqvae;
    let mut stored = tensors(format, sizes(format)).unwrap();
    let (_folder, path) = written(b"");
    let read = |stored: &BTreeMap<String, Tensor>| {
        write_tensors(&path, stored, "").unwrap();
        import(format, &path, &Settings::parse(settings(format)).unwrap())
    };
    assert!(read(&stored).is_ok());
    let weight = stored.get_mut("embedding.weight").unwrap();
    *weight = weight.to_dtype(DType::U8).unwrap();
    let error = read(&stored).unwrap_err().to_string();
    let expected = "tensor embedding.weight: F32, F16, BF16 or F64 expected, found u8";
    assert!(error.contains(expected), "{error}");
}

/// Each prefix costs a copy of all names, and names may be long.
#[test]
fn names_in_notes_are_escaped_and_prefixes_limited() {
    let format = Format::PytorchVqvae;
    let stored = tensors(format, sizes(format)).unwrap();
    let (_folder, path) = written(b"");
    let read = |prefix: &str| {
        let named = stored
            .iter()
            .map(|(name, it)| (format!("{prefix}{name}"), it.clone()));
        write_tensors(&path, &named.collect(), "").unwrap();
        import(format, &path, &Settings::parse(settings(format)).unwrap())
    };
    assert!(read(&"module.".repeat(8)).is_ok());
    let error = read(&"module.".repeat(9)).unwrap_err().to_string();
    assert!(error.contains("it has module."), "{error}");
    let error = read("a\nb").unwrap_err().to_string();
    assert!(
        error.contains("it has a\\nb") && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn what_is_not_understood_is_refused_with_the_way_out() {
    let format = Format::Uvadlc;
    let whole = tensors(format, sizes(format)).unwrap();
    let bytes = archive(&whole, Wrapping::Bare).unwrap();
    let says = |read: Result<Import, ImportError>, part: &str| {
        let error = read.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    };
    says(
        read(Format::PytorchVqvae, &bytes),
        "tensor embedding.weight is missing; it has conv_",
    );
    says(
        read(format, &bytes[..bytes.len() - 9]),
        "its end is not that of a zip archive",
    );
    says(
        read(format, b"\x80\x02\x8a\nl\xfc\x9cF"),
        "a file of PyTorch before 1.6",
    );
    for (bytes, part) in [
        (&b"nothing at all"[..], "begins like neither"),
        (b"short", "begins like neither"),
        (b"", "it is empty"),
        (b"\x09\0\0\0\0\0\0\0{nothing}", "not a safetensors file"),
    ] {
        says(read(format, bytes), part);
    }
    let mut more = whole.clone();
    more.insert("other.weight".to_string(), whole["conv_out.bias"].clone());
    let more = archive(&more, Wrapping::Bare).unwrap();
    says(
        read(format, &more),
        "tensors that this format does not have: other.weight",
    );
    let mut less = whole.clone();
    less.remove("conv_layers.1.conv_horiz_1x1.bias");
    let less = archive(&less, Wrapping::Bare).unwrap();
    says(
        read(format, &less),
        "conv_layers.1.conv_horiz_1x1.bias: it is missing",
    );
    let mut other = whole.clone();
    let wrong = Tensor::zeros((4, 5, 2, 1), DType::F32, &Device::Cpu).unwrap();
    other.insert("conv_out.weight".to_string(), wrong);
    let other = archive(&other, Wrapping::Bare).unwrap();
    says(
        read(format, &other),
        "conv_out.weight: [4, 5, 1, 1] expected, found [4, 5, 2, 1]",
    );
    let (_folder, path) = written(&bytes);
    let set = |texts: &[&str]| import(format, &path, &Settings::parse(texts).unwrap());
    says(
        set(&["dilations=1"]),
        "--set dilations: one number for each of 2 layers expected, found 1",
    );
    says(
        set(&["levels=2"]),
        "--set levels: this format has the settings height, width, dilations",
    );
    says(set(&["dilations=1,2", "height=0"]), "found [1, 0, 28]");
}

/// In the other program, NaN times the zero of a mask is NaN.
#[test]
fn numbers_that_are_not_finite_are_refused_also_where_a_mask_is_closed() {
    for format in Format::ALL {
        let whole = tensors(format, sizes(format)).unwrap();
        // Masks are compared: another test.
        let read_ones = whole.iter().filter(|(name, _)| !name.ends_with(".mask"));
        for (name, tensor) in read_ones {
            for number in [f32::NAN, f32::NEG_INFINITY] {
                let mut numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                *numbers.last_mut().unwrap() = number;
                let wrong = Tensor::from_vec(numbers, tensor.dims(), &Device::Cpu).unwrap();
                let mut all = whole.clone();
                all.insert(name.clone(), wrong);
                let bytes = archive(&all, Wrapping::Bare).unwrap();
                match read(format, &bytes) {
                    Ok(import) => {
                        let mut left_out = import
                            .notes
                            .iter()
                            .filter_map(|note| note.split_once("no output depends on it: "));
                        let is_left_out = left_out.any(|(_, part)| name.starts_with(part));
                        assert!(is_left_out, "{format}: {name}");
                    }
                    Err(error) => {
                        let error = error.to_string();
                        let expected = format!("tensor {name}: finite numbers in f32 expected");
                        assert!(error.contains(&expected), "{format}: {error}");
                        assert!(error.contains("theirs.ckpt"), "{format}: {error}");
                    }
                }
            }
        }
    }
}

/// What the network refuses is said of the file, whose user does not know the network.
#[test]
fn sizes_that_no_network_has_are_errors_of_the_file() {
    let format = Format::Uvadlc;
    let mut tensors = tensors(format, sizes(format)).unwrap();
    for name in ["conv_out.weight", "conv_out.bias"] {
        let one = tensors[name].narrow(0, 0, 1).unwrap();
        tensors.insert(name.to_string(), one.contiguous().unwrap());
    }
    let (_folder, path) = written(&archive(&tensors, Wrapping::Bare).unwrap());
    let settings = Settings::parse(settings(format).iter().copied()).unwrap();
    let error = import(format, &path, &settings).unwrap_err().to_string();
    let expected = format!("{}: model.image.levels", path.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_lightning_file_lists_what_is_passed_over() {
    let format = Format::PytorchGenerative;
    let tensors = tensors(format, sizes(format)).unwrap();
    let import = read(format, &archive(&tensors, Wrapping::Lightning).unwrap()).unwrap();
    let notes = import.notes.join("; ");
    assert!(
        notes.contains("passed over: epoch, hyper_parameters, callbacks"),
        "{notes}"
    );
    assert!(
        notes.contains("no output depends on it: _gated_layers.1._vstack_1x1"),
        "{notes}"
    );
}
