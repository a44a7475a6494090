//! `pixelcnn compress`, `decompress`, `list` and `verify`.

use std::io::Write;
use std::process::{Command, Stdio};

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

use crate::test_folder::{TestFolder, program};

fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    let value = |x: u32, y: u32, colour: u32| ((x * 31 + y * 17 + seed) * (colour + 3) % 251) as u8;
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([0, 1, 2].map(|colour| value(x, y, colour)))
    })
}

/// A model, and pictures in a folder.
fn with_pictures() -> TestFolder {
    let place = TestFolder::with_run();
    std::fs::create_dir_all(place.path("in/sub")).unwrap();
    picture(13, 9, 1).save(place.path("in/a.png")).unwrap();
    picture(5, 21, 2).save(place.path("in/sub/b.png")).unwrap();
    GrayImage::from_fn(4, 3, |x, y| Luma([(x * y) as u8]))
        .save(place.path("in/grey.png"))
        .unwrap();
    place
}

fn open(place: &TestFolder, name: &str) -> RgbImage {
    image::open(place.path(name)).unwrap().to_rgb8()
}

#[test]
fn pictures_come_back_from_an_archive() {
    let place = with_pictures();
    let answer = place.json("compress in --model run --tile 8 --out a.pxc --json");
    assert_eq!(
        (&answer["pictures"], &answer["tiles"]),
        (&3.into(), &8.into())
    );
    assert_eq!(answer["bytes"], place.bytes("a.pxc").len());
    let again = place.line("compress in --model run --tile 8 -o b.pxc --threads 1");
    assert!(
        again.starts_with("b.pxc: 3 pictures in 8 tiles, "),
        "{again}"
    );
    assert_eq!(place.bytes("a.pxc"), place.bytes("b.pxc"));
    let answer = place.json("decompress a.pxc --model run -o out --json");
    assert_eq!(answer["pictures"], 3);
    for name in ["a.png", "sub/b.png", "grey.png"] {
        assert_eq!(
            open(&place, &format!("in/{name}")),
            open(&place, &format!("out/{name}"))
        );
    }
    place.fails(
        "decompress a.pxc --model run -o out",
        &["out/a.png exists: remove it"],
    );

    place.json("decompress a.pxc --model run -o part --only sub/b.png --crop 2,7,3,4 --json");
    let part = image::imageops::crop_imm(&open(&place, "in/sub/b.png"), 2, 7, 3, 4).to_image();
    assert_eq!(open(&place, "part/sub/b.png"), part);
    assert!(!place.path("part/a.png").exists());
    place.fails(
        "decompress a.pxc --model run -o x --only sub/b.png --crop 0,0,6,1",
        &["has 5 x 21 pixels"],
    );
    place.fails(
        "decompress a.pxc --model run -o x --only c.png",
        &["no such picture in a.pxc"],
    );
}

#[test]
fn an_archive_is_listed_without_its_model() {
    let place = with_pictures();
    place.line("compress in --model run --model-name some/model --out a.pxc");
    let answer = place.json("list a.pxc --json");
    assert_eq!(
        (&answer["whole"], &answer["model"]["name"]),
        (&true.into(), &"some/model".into())
    );
    assert_eq!(
        (
            &answer["pictures"][2]["name"],
            &answer["pictures"][2]["height"]
        ),
        (&"sub/b.png".into(), &21.into())
    );
    let output = place.run("list a.pxc");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("model ") && text.contains("a.png: 13 x 9, 1 tile, "),
        "{text}"
    );
    assert!(text.contains("3 x 256 levels, some/model"), "{text}");
}

#[test]
fn an_archive_goes_through_a_pipe() {
    let place = with_pictures();
    let compress = "compress in/a.png --model run --out -";
    let archive = place.run(compress);
    assert!(archive.status.success(), "{archive:?}");
    let mut decompress = Command::new(program())
        .current_dir(place.path(""))
        .args(["decompress", "-", "--model", "run", "--out-dir", "piped"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    decompress
        .stdin
        .take()
        .unwrap()
        .write_all(&archive.stdout)
        .unwrap();
    assert!(decompress.wait().unwrap().success());
    assert_eq!(open(&place, "piped/a.png"), open(&place, "in/a.png"));
}

/// An archive of which a part was read is no success, whoever is asked.
#[test]
fn an_archive_that_nobody_reads_to_its_end_is_an_error() {
    let place = with_pictures();
    let mut compress = Command::new(program())
        .current_dir(place.path(""))
        .args(["compress", "in", "--model", "run", "--out", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(compress.stdout.take());
    let output = compress.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("its reader ended before"), "{text}");
    assert!(!text.contains("3 pictures"), "{text}");
}

/// The check before the work sees two names, but the second one leads to the first file.
#[cfg(unix)]
#[test]
fn no_file_is_replaced_whatever_the_path() {
    let place = with_pictures();
    for (folder, seed) in [("in/x", 3), ("in/y", 4)] {
        std::fs::create_dir(place.path(folder)).unwrap();
        let file = place.path(folder).join("c.png");
        picture(4, 4, seed).save(file).unwrap();
    }
    place.line("compress in --model run --out a.pxc");
    std::fs::create_dir_all(place.path("out/x")).unwrap();
    std::os::unix::fs::symlink("x", place.path("out/y")).unwrap();
    place.fails(
        "decompress a.pxc --model run -o out",
        &["cannot write out/y/c.png: a file with this name exists"],
    );
    assert_eq!(open(&place, "out/x/c.png"), picture(4, 4, 3));
}

#[test]
fn partial_files_of_a_killed_command_are_removed() {
    let place = with_pictures();
    place.line("compress in --model run --out a.pxc");
    std::fs::create_dir_all(place.path("out/sub")).unwrap();
    let partial = |name: &str| place.path(&format!("out/{name}.x1y2z3.pixelcnn-partial"));
    for name in [".a.png", "sub/.b.png", "sub/.other.png"] {
        std::fs::write(partial(name), b"half").unwrap();
    }
    place.line("decompress a.pxc --model run -o out");
    assert!(!partial(".a.png").exists() && !partial("sub/.b.png").exists());
    assert!(partial("sub/.other.png").exists());
}

/// A name may be long and tiles many: their text would be much longer than the archive.
#[test]
fn of_many_missing_tiles_some_are_shown() {
    let place = with_pictures();
    place.line("compress in/a.png --model run --tile 1 --out a.pxc");
    let bytes = place.bytes("a.pxc");
    std::fs::write(place.path("cut.pxc"), &bytes[..bytes.len() / 2]).unwrap();
    let output = place.run("verify cut.pxc --model run --json");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = answer["problems"].as_array().unwrap();
    let absent = problems
        .iter()
        .filter(|problem| problem.as_str().unwrap().contains("not in the archive"));
    assert_eq!(absent.count(), 16);
    let rest = 13 * 9 - 16 - answer["whole_tiles"].as_u64().unwrap();
    let last = format!("a.png: {rest} more tiles damaged or missing");
    assert_eq!(problems.last().unwrap().as_str(), Some(&*last));
}

#[test]
fn damage_costs_its_tile_and_is_said() {
    let place = with_pictures();
    place.line("compress in --model run --tile 8 --out a.pxc");
    let whole = place.json("verify a.pxc --model run --json");
    assert_eq!(
        (
            &whole["whole_tiles"],
            whole["problems"].as_array().unwrap().len()
        ),
        (&8.into(), 0)
    );
    // In the last tile of the archive.
    let mut bytes = place.bytes("a.pxc");
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    std::fs::write(place.path("a.pxc"), bytes).unwrap();
    let output = place.run("verify a.pxc --model run --json");
    assert_eq!(output.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["whole_tiles"], 7, "{answer}");
    let problem = answer["problems"][0].as_str().unwrap();
    assert_eq!(problem, "sub/b.png: tile 0,16,5,5: its bytes are damaged");

    let output = place.run("decompress a.pxc --model run -o out");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("error: a.pxc: sub/b.png: tile 0,16,5,5"),
        "{text}"
    );
    assert!(place.path("out/a.png").exists() && !place.path("out/sub/b.png").exists());

    place.run("decompress a.pxc --model run -o some --only sub/b.png --incomplete");
    let some = image::open(place.path("some/sub/b.png"))
        .unwrap()
        .to_rgba8();
    for (x, y, pixel) in some.enumerate_pixels() {
        let expected = *open(&place, "in/sub/b.png").get_pixel(x, y);
        let [red, green, blue, alpha] = pixel.0;
        match y < 16 {
            true => assert_eq!((Rgb([red, green, blue]), alpha), (expected, 255)),
            false => assert_eq!(alpha, 0),
        }
    }
    place.json("decompress a.pxc --model run -o crop --only sub/b.png --crop 0,0,5,16 --json");
    let (cut, length) = (place.bytes("a.pxc"), 60);
    std::fs::write(place.path("cut.pxc"), &cut[..length]).unwrap();
    place.fails(
        "decompress cut.pxc --model run -o cut",
        &["its end is missing"],
    );
    place.fails(
        "list in/a.png",
        &["in/a.png: it is not an archive of pixelcnn"],
    );
}

#[test]
fn other_models_are_refused() {
    let place = with_pictures();
    place.line("compress in --model run --out a.pxc");
    place.json("train --config tiny.toml --seed 9 --out other --json");
    for command in ["verify a.pxc", "decompress a.pxc -o out"] {
        place.fails(
            &format!("{command} --model other"),
            &["made with another model: it needs"],
        );
    }
    assert!(!place.path("out").exists());
}

#[test]
fn what_would_be_lost_is_refused() {
    let place = with_pictures();
    let refused = |name: &str, parts: &[&str]| {
        place.fails(&format!("compress {name} --model run --out b.pxc"), parts);
        assert!(!place.path("b.pxc").exists());
    };
    picture(8, 8, 3).save(place.path("c.jpg")).unwrap();
    refused("c.jpg", &["c.jpg: a JPEG file", "use --pixels"]);
    place.line("compress c.jpg --model run --pixels --out c.pxc");
    place.line("decompress c.pxc --model run -o jpeg");
    assert_eq!(open(&place, "jpeg/c.jpg.png"), open(&place, "c.jpg"));
    let transparent = image::RgbaImage::from_pixel(2, 2, image::Rgba([1, 2, 3, 4]));
    transparent.save(place.path("t.png")).unwrap();
    refused("t.png", &["parts of it are transparent"]);
    ImageBuffer::from_pixel(2, 2, Luma([40_000u16]))
        .save(place.path("deep.png"))
        .unwrap();
    refused("deep.png", &["16 bits per channel"]);
    refused("in in", &["would both be named ", "in/"]);
    refused("tiny.toml", &["tiny.toml"]);
    place.fails(
        "compress in --model run --out in/a.png",
        &["the output is an archive, not .png"],
    );
}

/// A PNG file with a chunk before its pixels.
fn with_chunk(picture: &RgbImage, tag: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_chunk(png::chunk::ChunkType(tag), data)
        .unwrap();
    writer.write_image_data(picture).unwrap();
    writer.finish().unwrap();
    file
}

#[test]
fn metadata_are_kept_if_requested() {
    let place = with_pictures();
    let gamma = 45_455_u32.to_be_bytes();
    let file = with_chunk(&picture(6, 5, 1), *b"gAMA", &gamma);
    std::fs::write(place.path("g.png"), file).unwrap();
    let has_gamma = |name: &str| {
        let bytes = place.bytes(name);
        let chunk = [&b"gAMA"[..], &gamma].concat();
        bytes.windows(8).any(|window| window == chunk)
    };
    for (flag, out, kept) in [("", "plain", false), ("--keep-metadata", "kept", true)] {
        place.line(&format!(
            "compress g.png --model run {flag} --out {out}.pxc"
        ));
        place.line(&format!("decompress {out}.pxc --model run -o {out}"));
        assert_eq!(has_gamma(&format!("{out}/g.png")), kept, "{out}");
        assert_eq!(open(&place, &format!("{out}/g.png")), picture(6, 5, 1));
    }
    // A picture with two damaged parts is one damaged picture.
    let mut bytes = place.bytes("kept.pxc");
    let chunk = bytes.windows(4).position(|window| window == b"gAMA");
    let tile = bytes.len() - 20;
    for at in [chunk.unwrap() + 6, tile] {
        bytes[at] ^= 1;
    }
    std::fs::write(place.path("twice.pxc"), bytes).unwrap();
    let output = place.run("decompress twice.pxc --model run -o twice --incomplete --json");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("bytes are damaged; "), "{text}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["pictures"], &answer["damaged"]),
        (&1.into(), &1.into())
    );
    // Exif, little-endian, with the orientation 6.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let file = with_chunk(&picture(6, 5, 1), *b"eXIf", exif);
    std::fs::write(place.path("turned.png"), file).unwrap();
    place.fails(
        "compress turned.png --model run --out t.pxc",
        &["its Exif says", "use --pixels"],
    );
    place.line("compress turned.png --model run --pixels --out t.pxc");
    place.line("decompress t.pxc --model run -o turned");
    assert_eq!(
        open(&place, "turned/turned.png"),
        image::imageops::rotate90(&picture(6, 5, 1))
    );
}
