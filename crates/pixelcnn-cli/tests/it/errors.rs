//! Mistakes give one line that names what is wrong.

use candle_core::Device;
use pixelcnn_models::{read_tensors, write_tensors};

use crate::test_folder::{DATA, TestFolder, baseline, config};

/// A configuration with one part replaced.
fn changed(from: &str, to: &str) -> String {
    let text = config(4, 2);
    assert!(text.contains(from));
    text.replace(from, to)
}

fn train_fails(text: &str, parts: &[&str]) {
    let place = TestFolder::new();
    place.write("bad.toml", text);
    place.fails("train --config bad.toml --out run", parts);
    assert!(!place.path("run").exists(), "a folder was made for {text}");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    train_fails(&changed("seed", "sed"), &["bad.toml: ", "line 2", "`sed`"]);
    train_fails(
        &changed("max_grad_norm = 1.0", "clips = 1.0"),
        &["bad.toml: ", "`clips`"],
    );
    train_fails(
        &changed("maps = 3", "maps = 2"),
        &["bad.toml: ", "model.maps"],
    );
    train_fails(
        &changed("batch = 2", "batch = 0"),
        &["bad.toml: ", "training.batch"],
    );
    train_fails(
        &changed("steps = 4", "steps = \"4\""),
        &["bad.toml: ", "string \"4\""],
    );
    train_fails("seed = ", &["bad.toml: ", "line 1"]);
    train_fails(&baseline("pixelcnn"), &["bad.toml: ", "first_kernel"]);
}

#[test]
fn data_that_do_not_fit_are_named() {
    train_fails(
        &changed("side=8", "side=9"),
        &["train.bin", "244 bytes of a record"],
    );
    train_fails(&changed("side=8", "sides=8"), &["sides=8"]);
    train_fails(
        &changed("=valid.bin", "=none.bin"),
        &["cannot read none.bin"],
    );
    train_fails(
        &changed("height = 8", "height = 6"),
        &["model.image", "8 x 8"],
    );
    train_fails(
        &changed("levels = 256", "levels = 16"),
        &["model.image", "256 levels"],
    );
    train_fails(
        &changed("batch = 2", "batch = 41"),
        &["batches of 41 from 40 images"],
    );
}

#[test]
fn an_unknown_data_set_lists_the_known_ones() {
    let place = TestFolder::with_run();
    for arguments in [
        "train --config tiny.toml --out other --data photos",
        "eval --model run --data photos",
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("error: "), "{text}");
        for part in ["'photos'", "unknown data set", "photos32", "records:TRAIN"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}

#[test]
fn missing_files_are_named() {
    let place = TestFolder::with_run();
    place.fails(
        "train --config none.toml --out other",
        &["none.toml", "No such file"],
    );
    place.fails(
        "info --model none",
        &["none: no such model and no such folder"],
    );
    place.fails("audit --config none.toml", &["none.toml"]);
    place.fails("eval --model run --data records:none.bin", &["none.bin"]);
    place.fails(
        "sample --model run --count 1 --out none/a.png",
        &["none/a.png", "no such folder"],
    );
    std::fs::remove_file(place.path("run/best/model.safetensors")).unwrap();
    for command in ["info", "eval", "audit", "sample --out a.png"] {
        let arguments = format!("{command} --model run");
        place.fails(&arguments, &["run/best/model.safetensors", "No such file"]);
    }
}

#[test]
fn broken_weights_are_named() {
    let place = TestFolder::with_run();
    let (name, arguments) = ("run/best/model.safetensors", "info --model run");
    let whole = place.bytes(name);
    for length in [0, 7, 100, whole.len() - 1] {
        std::fs::write(place.path(name), &whole[..length]).unwrap();
        place.fails(arguments, &[name]);
    }
    std::fs::write(place.path(name), vec![0xff; 100]).unwrap();
    place.fails(arguments, &[name]);
}

#[test]
fn weights_of_another_model_are_named() {
    let place = TestFolder::with_run();
    let (name, arguments) = ("run/best/model.safetensors", "info --model run");
    let (tensors, _) = read_tensors(place.path(name), &Device::Cpu).unwrap();
    let bias = tensors["head.logits.bias"].clone();

    let mut extra = tensors.clone();
    extra.insert("surplus".to_string(), bias.clone());
    write_tensors(place.path(name), &extra, "").unwrap();
    place.fails(arguments, &[name, "do not belong to this model: surplus"]);

    let mut missing = tensors.clone();
    missing.remove("head.logits.bias").unwrap();
    write_tensors(place.path(name), &missing, "").unwrap();
    place.fails(arguments, &[name, "head.logits.bias [768] is missing"]);

    let mut misshapen = tensors;
    misshapen.insert(
        "head.logits.bias".to_string(),
        bias.narrow(0, 0, 700).unwrap(),
    );
    write_tensors(place.path(name), &misshapen, "").unwrap();
    place.fails(arguments, &[name, "head.logits.bias", "[768]", "[700]"]);
}

#[test]
fn a_broken_model_configuration_is_named() {
    let place = TestFolder::with_run();
    let name = "run/best/config.json";
    let text = String::from_utf8(place.bytes(name)).unwrap();
    for (from, to, part) in [
        ("\"maps\": 3", "\"maps\": 3, \"width\": 4", "width"),
        ("\"maps\": 3,", "", "maps"),
        ("\"maps\": 3", "\"maps\": 0", "model.maps"),
        ("gated-pixelcnn", "pixelmlp", "pixelmlp"),
        ("}", "", "config.json"),
    ] {
        assert!(text.contains(from), "{text}");
        place.write(name, &text.replace(from, to));
        place.fails("info --model run", &["run/best/config.json", part]);
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let place = TestFolder::with_run();
    let eval = format!("eval --model run --data {DATA}");
    place.fails(
        &format!("{eval} --device tpu"),
        &["device tpu", "auto, cpu, cuda:N or metal"],
    );
    place.fails(
        &format!("{eval} --device cuda:x"),
        &["device cuda:x", "x is not a number"],
    );
    let sample = "sample --model run --out a.png";
    place.fails(&format!("{sample} --size 0x3"), &["3 x 0 x 3"]);
    place.write("file", "no folder");
    place.fails(
        "info --model file",
        &["file: it is a file", "folder of a model"],
    );
    assert!(!place.path("a.png").exists());
}

#[test]
fn precisions_that_the_cpu_does_not_have_are_refused() {
    let place = TestFolder::with_run();
    let tiny = std::fs::read_to_string(place.path("tiny.toml")).unwrap();
    for precision in ["tf32", "bf16"] {
        let setting = format!("[training]\nprecision = \"{precision}\"");
        place.write("other.toml", &tiny.replace("[training]", &setting));
        let why = format!("{precision} needs a CUDA device, and this is the CPU");
        place.fails(
            "train --config other.toml --out other",
            &["training.precision", &why, "choose a CUDA device, or f32"],
        );
        assert!(!place.path("other").exists());
        // Not the CPU, but the other run is the mistake.
        place.fails("train --config other.toml --out run", &["another run"]);
        place.fails(
            &format!("bench train --maps 3 --blocks 1 --batch 1 --precision {precision}"),
            &["--precision", &why],
        );
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_the_program_was_not_built_for_is_refused() {
    let place = TestFolder::with_run();
    for command in ["train --config tiny.toml --out other", "eval --model run"] {
        place.fails(
            &format!("{command} --device cuda:0"),
            &["device cuda:0: this program was built without CUDA"],
        );
    }
}

#[test]
fn arguments_that_cannot_be_read_show_what_is_expected() {
    let place = TestFolder::new();
    for (arguments, part) in [
        ("sample --model run --out a.png --size 3", "HxW"),
        ("eval --model run --limit many", "many"),
        ("eval --model run --limit 0", "from 1"),
        ("eval --model run --batch 0", "--batch"),
        ("eval --model run --batch 0", "a whole number from 1"),
        ("eval --model run --data photos32 --shrink 0", "from 1"),
        ("sample --model run --out a.png --count 0", "from 1"),
        ("sample --model run --out a.png --count 1e3", "from 1"),
        ("sample --model run --out a.png --index 1,x", "from 0"),
        ("sample --model run --out a.png --zoom 65", "from 1 to 64"),
        ("sample --model run --out a.png --temperature 0", "above 0"),
        (
            "sample --model run --out a.png --temperature inf",
            "above 0",
        ),
        ("sample --model run --out a.png --top-p 1.5", "up to 1"),
        ("sample --model run --out a.png --top-p nan", "up to 1"),
        ("sample --model run --out a.png --seed=-1", "from 0"),
        ("train --config tiny.toml --out other --steps 0", "from 1"),
        ("train --config tiny.toml --out other --batch 0.5", "from 1"),
        ("bench train --maps x", "from 0"),
        ("bench train --precision fp16", "f32, tf32, bf16"),
        ("bench train --optimiser sgd", "adam, muon"),
        ("bench sample --batch 1,0", "from 1"),
        ("audit", "<--model <MODEL>|--config <FILE>|--from <FORMAT>>"),
        ("sample", "--model <MODEL>"),
        (
            "sample",
            "<--out <FILE>|--out-dir <DIR>|--npy <FILE>|--animate <FILE>|--preview>",
        ),
        ("eval --model run --split all", "train, valid and test"),
        ("eval --model run --dump-logits a", "--limit"),
        ("audit", "--model"),
        ("audit --model run --zoom 2", "--picture"),
        ("audit --model run --seed 2", "cannot be used with"),
        ("eval --model run --zoom 2", "--nll-maps"),
        ("data photos32 --zoom 2", "--picture"),
        ("paint", "paint"),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.starts_with("error: ") && text.contains(part),
            "{arguments}: {text}"
        );
        // Words that only programmers know.
        for jargon in ["non-zero", "digit", "float", "literal", "64-bit"] {
            assert!(!text.contains(jargon), "{arguments}: {text}");
        }
    }
}

#[test]
fn models_without_a_network_have_no_logits_field_or_samples() {
    let place = TestFolder::new();
    place.write("uniform.toml", &baseline("uniform"));
    place.json("train --config uniform.toml --out run --json");
    let named = "Uniform Distribution";
    place.fails("audit --model run", &[named]);
    place.fails("sample --model run --out a.png", &[named]);
    let dump = format!("eval --model run --data {DATA} --limit 1 --dump-logits a");
    place.fails(&dump, &[named]);
}

/// With little address space, the message is at the start and not in the middle of the
/// work.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_refused_at_the_start() {
    let mut refused = 0;
    // From where the program itself fits up to where the allocator maps a large part beforehand.
    for kibibytes in (48_000..280_000)
        .step_by(12_000)
        .chain([1_080_000, 1_100_000])
    {
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -v $1; exec \"$2\" audit --model \"$3\"", "sh"])
            .arg(kibibytes.to_string())
            .arg(crate::test_folder::program())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../fixtures/golden/gated-class"
            ))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => {}
            code => {
                refused += 1;
                assert_eq!(code, Some(1), "{kibibytes}: {text}");
                let start = "error: the program needs about 160.0 MiB of memory, ";
                assert!(text.starts_with(start), "{kibibytes}: {text}");
            }
        }
    }
    assert!(refused > 4, "{refused}");
}
