//! The files that commands write, and refusals before the work.

use image::Rgb;

use crate::test_folder::{DATA, SIDE, TestFolder};

/// The superuser may write to every folder, so a file where a folder is expected replaces a
/// folder without permission.
fn place() -> TestFolder {
    let place = TestFolder::with_run();
    place.write("file", "no folder");
    std::fs::create_dir(place.path("folder")).unwrap();
    place
}

/// Asserts that no temporary file is left.
fn is_clean(place: &TestFolder) {
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains("pixelcnn-partial"), "{name}");
    }
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_the_work() {
    let place = place();
    for (arguments, flag) in [
        ("sample --model run --out none/a.png", "--out"),
        ("sample --model run --npy none/a.npy", "--npy"),
        ("sample --model run --animate none/a.png", "--animate"),
        (
            "eval --model run --limit 1 --dump-logits none/a",
            "--dump-logits",
        ),
        ("audit --model run --picture none/a.png", "--picture"),
        ("embed --model run --out none/a.npy", "--out"),
        ("score test.png --model run --csv none/a.csv", "--csv"),
    ] {
        place.fails(arguments, &[flag, "none/a", "no such folder"]);
    }
    for (arguments, part) in [
        ("sample --model run --out-dir file", "--out-dir"),
        ("sample --model run --out-dir file/in", "--out-dir"),
        ("eval --model run --nll-maps file", "--nll-maps"),
        ("man file", "DIR"),
    ] {
        place.fails(arguments, &[part, "not a folder"]);
    }
    place.fails(
        "sample --model run --out folder",
        &["--out", "regular file"],
    );
    place.fails(
        "sample --model run --out file/a.png",
        &["--out", "file/a.png"],
    );
    is_clean(&place);
}

#[test]
fn names_that_promise_another_format_are_refused() {
    let place = place();
    for (arguments, right) in [
        ("sample --model run --out s.jpg", "name it s.png"),
        ("sample --model run --out s.jpeg", "name it s.png"),
        ("sample --model run --out s.gif", "name it s.png"),
        ("sample --model run --npy s.npz", "name it s.npy"),
        ("sample --model run --animate s.gif", "name it s.png"),
        ("audit --model run --picture f.svg", "name it f.png"),
        ("embed --model run --out v.csv", "name it v.npy"),
        (
            "eval --model run --limit 1 --dump-logits a.npy",
            "name it a.safetensors",
        ),
        ("score file --model run --csv a.json", "name it a.csv"),
    ] {
        place.fails(arguments, &[right]);
    }
    place.json("sample --model run --count 1 --out S.PNG --json");
}

#[test]
fn one_file_for_two_things_is_refused() {
    let place = place();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a.png", place.path("link.png")).unwrap();
        std::os::unix::fs::symlink("folder", place.path("other")).unwrap();
    }
    let sample = "sample --model run --count 1";
    for flags in [
        "--out a.png --animate a.png",
        "--out a.png --animate ./a.png",
        "--out a.png --animate folder/../a.png",
        "--out - --npy -",
        "--out a --npy a",
        #[cfg(unix)]
        "--out a.png --animate link.png",
        #[cfg(unix)]
        "--out folder/a.png --animate other/a.png",
    ] {
        place.fails(&format!("{sample} {flags}"), &["the same file"]);
    }
    let each = format!("{sample} --out-dir folder --out folder/0.png");
    place.fails(&each, &["--out and --out-dir", "0.png"]);
    is_clean(&place);
    place.json(&format!(
        "{sample} --out-dir folder --out folder/all.png --json"
    ));
    // A file that is read must not be overwritten.
    let grey =
        r#"{ kind = "image", reduction = { kind = "grey" }, spatial = { maps = 1, hidden = 2 } }"#;
    let place = TestFolder::with_condition(grey, "");
    place.json("sample --model run --index 0 --count 1 --out-dir each --json");
    let before = place.bytes("each/0.png");
    let flags = "--image each/0.png --out each/../each/0.png";
    place.fails(&format!("{sample} {flags}"), &["--image and --out"]);
    assert_eq!(place.bytes("each/0.png"), before);
}

#[cfg(unix)]
#[test]
fn links_are_written_through() {
    let place = place();
    std::os::unix::fs::symlink("folder/a.png", place.path("link.png")).unwrap();
    place.json("sample --model run --count 1 --out link.png --json");
    assert!(place.path("link.png").is_symlink());
    assert!(place.path("folder/a.png").is_file());
}

#[test]
fn standard_output_is_a_file_too() {
    let place = place();
    place.json("sample --model run --count 2 --out a.png --npy a.npy --json");
    let output = place.run("sample --model run --count 2 --out -");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, place.bytes("a.png"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("-: 2 images, "), "{said}");
    let output = place.run("sample --model run --count 2 --npy -");
    assert_eq!(output.stdout, place.bytes("a.npy"));
    place.fails("sample --model run --out - --json", &["--out -", "--json"]);
    assert!(!place.path("-").exists());
    place.json("sample --model run --count 2 --out ./-.png --json");
}

#[test]
fn pictures_can_be_seen() {
    let place = place();
    let size = |name: &str| image::image_dimensions(place.path(name)).unwrap();
    place.json("sample --model run --count 16 --out a.png --json");
    // Four images of 8 pixels and five gaps of one are 37 pixels, enlarged 21 times.
    assert_eq!(size("a.png"), (777, 777));
    place.json("sample --model run --count 1 --out a.png --zoom 3 --json");
    assert_eq!(size("a.png"), (30, 30));
    place.json("audit --model run --picture f.png --json");
    let (width, height) = size("f.png");
    assert!(
        width.max(height) > 400 && width.max(height) <= 800,
        "{width} {height}"
    );
    place.json(&format!(
        "eval --model run --data {DATA} --limit 1 --nll-maps maps --json"
    ));
    assert_eq!(size("maps/0.png").0, 2 * 49 * SIDE as u32 + 4);
    // Single images are not enlarged, because they can be read again.
    place.json("sample --model run --count 1 --out-dir each --animate g.png --json");
    assert_eq!(size("each/0.png"), (8, 8));
    assert_eq!(size("g.png"), (640, 640));
}

#[test]
fn outputs_that_are_too_large_are_refused_in_one_sentence() {
    let place = place();
    let sample = "sample --model run";
    for (flags, parts) in [
        ("--count 1 --size 134217728x16 --out a.png", vec!["2^32"]),
        (
            "--count 1 --size 99999999999999999999x2 --out a.png",
            vec![],
        ),
        (
            "--count 10000000000 --columns 10000000000 --out a.png",
            vec!["PNG allows"],
        ),
        ("--count 100000000000000 --out a.png", vec!["PNG allows"]),
        (
            "--count 18446744073709551615 --animate a.png",
            vec!["PNG allows"],
        ),
        (
            "--count 1000000000 --columns 30000 --animate a.png",
            vec!["--animate", "memory"],
        ),
    ] {
        let output = place.run(&format!("{sample} {flags}"));
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{flags}: {output:?}"
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: "), "{flags}: {said}");
        for part in parts {
            assert!(said.contains(part), "{flags}: {part} is not in {said}");
        }
    }
    is_clean(&place);
}

/// With 3 GiB of address space, larger work is refused before an abort; many images need
/// only the memory of a few.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_checked_before_it_is_allocated() {
    let place = place();
    let run_in = |mebibytes: usize, arguments: &str| {
        let program = crate::test_folder::program().display();
        let limit = mebibytes * 1024;
        std::process::Command::new("sh")
            .current_dir(place.path(""))
            .args([
                "-c",
                &format!("ulimit -v {limit}; exec {program} {arguments}"),
            ])
            .output()
            .unwrap()
    };
    let run = |arguments: &str| run_in(3072, arguments);
    for flags in [
        "--out a.png",
        "--npy a.npy",
        "--out-dir each",
        "--animate a.png",
    ] {
        let output = run(&format!(
            "sample --model run --count 1 --size 20000x20000 {flags}"
        ));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags}: {said}");
        assert!(said.contains("of memory, "), "{flags}: {said}");
        let errors = said.lines().filter(|line| !line.contains("INFO"));
        assert_eq!(errors.count(), 1, "{said}");
    }
    assert!(!place.path("each").exists());
    image::RgbImage::new(3000, 3000)
        .save(place.path("large.png"))
        .unwrap();
    let said = String::from_utf8(run_in(700, "score large.png --model run").stderr).unwrap();
    assert_eq!(said.matches("of memory").count(), 1, "{said}");
    let animate = run("sample --model run --count 10000000 --columns 1000 --animate a.png");
    let said = String::from_utf8(animate.stderr).unwrap();
    assert!(
        said.contains("--animate") && said.contains("of memory, "),
        "{said}"
    );
}

#[test]
fn one_output_that_fails_does_not_lose_the_others() {
    let place = place();
    // A folder has the name of the second picture.
    std::fs::create_dir_all(place.path("each/1.png")).unwrap();
    let flags = "--count 3 --out-dir each --out a.png --npy a.npy --zoom 1";
    let output = place.run(&format!("sample --model run {flags}"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("each/1.png"), "{said}");
    assert!(place.path("each/0.png").exists());
    let picture = image::open(place.path("a.png")).unwrap().to_rgb8();
    assert_eq!(*picture.get_pixel(0, 0), Rgb([255; 3]));
    let values = candle_core::Tensor::read_npy(place.path("a.npy")).unwrap();
    assert_eq!(values.dims(), [3, 3, SIDE, SIDE]);
    // The score is printed before the maps are written.
    std::fs::create_dir_all(place.path("maps/1.png")).unwrap();
    let output = place.run("eval --model run --nll-maps maps");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("bits/dim on 5 test images"), "{text}");
}

/// A signal ends drawing at once. Finished files stay, and no file is incomplete.
#[cfg(unix)]
#[test]
fn interrupted_drawing_keeps_complete_files() {
    crate::test_folder::heed_signals();
    let place = place();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let flags = "--count 1000000 --out-dir each --out a.png --npy a.npy";
        let mut child = std::process::Command::new(crate::test_folder::program())
            .current_dir(place.path(""))
            .args(format!("sample --model run {flags}").split_whitespace())
            .spawn()
            .unwrap();
        while !place.path("each/000003.png").exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(child.try_wait().unwrap().is_none());
        }
        let kill = std::process::Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        is_clean(&place);
        assert!(!place.path("a.png").exists() && !place.path("a.npy").exists());
        for entry in std::fs::read_dir(place.path("each")).unwrap() {
            let path = entry.unwrap().path();
            assert!(image::open(&path).is_ok(), "{}", path.display());
        }
        std::fs::remove_dir_all(place.path("each")).unwrap();
    }
}

/// A killed command cannot remove its temporary files: the next command does, but keeps
/// those of a running one.
#[cfg(unix)]
#[test]
fn temporary_files_of_killed_commands_are_removed() {
    let place = place();
    let start = || {
        let flags = "--count 1000000 --out-dir each --out a.png --npy a.npy";
        let child = std::process::Command::new(crate::test_folder::program())
            .current_dir(place.path(""))
            .args(format!("sample --model run {flags}").split_whitespace())
            .spawn();
        while !place.path("each/000003.png").exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        child.unwrap()
    };
    let left = |folder: &str| {
        let entries = std::fs::read_dir(place.path(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("-partial")).count()
    };
    let mut child = start();
    child.kill().unwrap();
    child.wait().unwrap();
    for name in [".7.png.x1y2z3", ".other.png.x1y2z3"] {
        place.write(&format!("each/{name}.pixelcnn-partial"), "half");
    }
    assert_eq!(left(""), 2);
    std::fs::remove_file(place.path("each/000003.png")).unwrap();
    let mut living = start();
    assert_eq!(left(""), 2);
    // Only the files of the other, running program remain.
    place.json("sample --model run --count 1 --out a.png --out-dir each --json");
    assert_eq!(left(""), 2);
    assert!(
        place
            .path("each/.other.png.x1y2z3.pixelcnn-partial")
            .exists()
    );
    assert!(!place.path("each/.7.png.x1y2z3.pixelcnn-partial").exists());
    living.kill().unwrap();
    living.wait().unwrap();
    place.json("sample --model run --count 1 --out a.png --npy a.npy --json");
    is_clean(&place);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error_and_no_panic() {
    let place = place();
    for command in [
        "info --model run",
        "sample --model run --count 1 --out -",
        "completions bash",
        "man",
        "eval --model run",
    ] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let mut child = std::process::Command::new(crate::test_folder::program())
            .current_dir(place.path(""))
            .args(command.split_whitespace())
            .stdout(full)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{command}: {said}");
        assert!(said.contains("No space left"), "{command}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_ends_early_is_not_an_error() {
    let place = place();
    for command in [
        "info --model run",
        "man",
        "completions zsh",
        "sample --model run --out -",
        // The program ends as soon as the reader is gone.
        "sample --model run --count 10000000 --npy -",
    ] {
        let mut child = std::process::Command::new(crate::test_folder::program())
            .current_dir(place.path(""))
            .args(command.split_whitespace())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert!(child.wait().unwrap().success(), "{command}");
    }
}

#[test]
fn every_file_that_is_written_is_named() {
    let place = place();
    std::fs::create_dir(place.path("pictures")).unwrap();
    image::RgbImage::new(8, 8)
        .save(place.path("pictures/a.png"))
        .unwrap();
    for (arguments, files) in [
        (
            "sample --model run --count 2 --out a.png --npy a.npy --out-dir each --animate b.png",
            "a.png 2 images, a.npy 2 images, each 2 images, b.png 2 images",
        ),
        (
            "eval --model run --limit 1 --dump-logits a.safetensors --nll-maps maps",
            "a.safetensors logits of 1 image, maps 1 image with maps",
        ),
        ("score pictures --model run --csv a.csv", "a.csv 1 row"),
        (
            "audit --model run --picture f.png",
            "f.png the receptive field",
        ),
        ("man pages", "pages 27 pages"),
    ] {
        let output = std::process::Command::new(crate::test_folder::program())
            .current_dir(place.path(""))
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        for file in files.split(", ") {
            let (name, what) = file.split_once(' ').unwrap();
            assert!(
                said.contains(&format!("wrote {name}: {what}\n")),
                "{file}: {said}"
            );
            assert!(place.path(name).exists());
        }
        let sampled = arguments.starts_with("sample");
        let begun = said.contains("sampling 2 images of 8 x 8: 16 rows");
        assert_eq!(begun, sampled, "{said}");
        assert_eq!(
            said.matches("wrote ").count(),
            files.split(", ").count(),
            "{said}"
        );
    }
}
