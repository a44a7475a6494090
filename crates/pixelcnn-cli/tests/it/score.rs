//! `pixelcnn score`.

use serde_json::Value;

use crate::test_folder::{DATA, SIDE, TestFolder};

/// A folder with the test images also in `pictures/`.
fn place() -> TestFolder {
    let place = TestFolder::with_run();
    pictures(&place);
    place
}

fn pictures(place: &TestFolder) {
    std::fs::create_dir_all(place.path("pictures/inner")).unwrap();
    let record = 1 + 3 * SIDE * SIDE;
    let plane = SIDE * SIDE;
    for (index, record) in place.bytes("test.bin").chunks(record).enumerate() {
        let side = SIDE as u32;
        let picture = image::RgbImage::from_fn(side, side, |x, y| {
            let at = (y * side + x) as usize;
            image::Rgb([0, 1, 2].map(|channel| record[1 + channel * plane + at]))
        });
        let folder = if index < 3 {
            "pictures"
        } else {
            "pictures/inner"
        };
        picture
            .save(place.path(&format!("{folder}/{index}.png")))
            .unwrap();
    }
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_image_is_scored_by_name_as_eval_does() {
    let place = place();
    let result = place.json("score pictures --model run --json --csv scores.csv");
    let images = result["images"].as_array().unwrap();
    let files: Vec<_> = images
        .iter()
        .map(|image| image["file"].as_str().unwrap())
        .collect();
    let expected = ["0.png", "1.png", "2.png", "inner/3.png", "inner/4.png"];
    assert_eq!(files, expected.map(|name| format!("pictures/{name}")));
    let eval = place.json(&format!("eval --model run --data {DATA} --json"));
    for name in ["bits_per_dim", "std_err"] {
        let difference = number(&result[name]) - number(&eval[name]);
        assert!(difference.abs() < 1e-6, "{name}: {result} {eval}");
    }
    let nats: f64 = images.iter().map(|image| number(&image["nats"])).sum();
    assert!((nats - number(&result["nats"])).abs() < 1e-9);
    assert!((nats / 5.0 - number(&eval["nats_per_image"])).abs() < 1e-3);
    let table = String::from_utf8(place.bytes("scores.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("file,height,width,bits_per_dim,nats"));
    let first: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!(first[..3], ["pictures/0.png", "8", "8"]);
    assert_eq!(
        first[3].parse::<f64>().unwrap(),
        number(&images[0]["bits_per_dim"])
    );
    assert_eq!(lines.count(), 4);
}

#[test]
fn one_image_has_no_standard_error_and_any_size_will_do() {
    let place = place();
    let picture = image::RgbImage::from_fn(13, 5, |x, y| image::Rgb([90 + x as u8, 80, y as u8]));
    picture.save(place.path("wide.png")).unwrap();
    let output = place.run("score wide.png --model run");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("wide.png: ") && lines[0].contains("bits/dim, "),
        "{text}"
    );
    assert!(
        lines[1].starts_with("1 image: ") && !text.contains('±'),
        "{text}"
    );
    let result = place.json("score wide.png --model run --json");
    assert_eq!(result["std_err"], Value::Null);
    let image = &result["images"][0];
    assert_eq!((&image["height"], &image["width"]), (&5.into(), &13.into()));
    let bits = number(&image["nats"]) / (3.0 * 5.0 * 13.0) / std::f64::consts::LN_2;
    assert!((bits - number(&image["bits_per_dim"])).abs() < 1e-9);
    // The same is true for eval.
    let eval = format!("eval --model run --data {DATA} --limit 1");
    assert_eq!(
        place.json(&format!("{eval} --json"))["std_err"],
        Value::Null
    );
    let text = String::from_utf8(place.run(&eval).stdout).unwrap();
    assert!(
        text.contains(" bits/dim on 1 test image of") && !text.contains('±'),
        "{text}"
    );
}

#[test]
fn files_that_cannot_be_scored_are_listed_and_the_others_scored() {
    let place = place();
    place.write("pictures/broken.png", "no picture");
    place.write("pictures/notes.txt", "no picture either");
    place.write("pictures/Thumbs.db", "nor this");
    let whole = place.bytes("pictures/0.png");
    std::fs::write(place.path("pictures/cut.png"), &whole[..whole.len() / 2]).unwrap();
    let output = place.run("score pictures none.png notes.txt --model run --json --csv a.csv");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["images"].as_array().unwrap().len(), 5);
    let unusable = result["unusable"].as_array().unwrap();
    let files: Vec<_> = unusable
        .iter()
        .map(|it| it["file"].as_str().unwrap())
        .collect();
    let expected = [
        "pictures/broken.png",
        "pictures/cut.png",
        "none.png",
        "notes.txt",
    ];
    assert_eq!(files, expected);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("error: 4 of 9 files could not be scored"),
        "{said}"
    );
    let table = String::from_utf8(place.bytes("a.csv")).unwrap();
    assert_eq!(table.lines().count(), 6);
    let output = place.run("score pictures --model run");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n5 images: "), "{text}");
    place.fails("score pictures/notes.txt --model run", &["1 of 1 file"]);
}

#[test]
fn pictures_that_are_not_images_of_the_model_are_refused() {
    let place = TestFolder::new();
    pictures(&place);
    let model =
        r#"{"kind": "uniform", "image": {"channels": 1, "height": 8, "width": 8, "levels": 4}}"#;
    std::fs::create_dir(place.path("model")).unwrap();
    let config = serde_json::from_str(model).unwrap();
    let device = candle_core::Device::Cpu;
    let (model, _) = pixelcnn_models::Model::initialise(&config, 0, &device).unwrap();
    model.save(place.path("model")).unwrap();
    let output = place.run("score pictures/0.png --model model");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the picture is in colour"), "{said}");
    let save = |name: &str, shade: u8| {
        image::GrayImage::from_pixel(2, 2, image::Luma([shade]))
            .save(place.path(name))
            .unwrap();
    };
    save("level.png", 85);
    save("between.png", 86);
    let result = place.json("score level.png --model model --json");
    assert!(
        (number(&result["bits_per_dim"]) - 2.0).abs() < 1e-12,
        "{result}"
    );
    let output = place.run("score between.png --model model");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the shade 86"), "{said}");
}

#[test]
fn conditions_are_given_as_to_sample() {
    let place = TestFolder::with_condition(r#"{ kind = "class", classes = 10 }"#, "");
    pictures(&place);
    let score = "score pictures --model run";
    place.fails(score, &["the model is conditional", "--label"]);
    place.fails(&format!("{score} --label 1,2"), &["2 labels", "5 files"]);
    let eval = place.json("eval --model run --json");
    let own = place.json(&format!("{score} --label 0,1,2,3,4 --json"));
    let difference = number(&own["bits_per_dim"]) - number(&eval["bits_per_dim"]);
    assert!(difference.abs() < 1e-6, "{own} {eval}");
    let other = place.json(&format!("{score} --label 3 --json"));
    assert_ne!(own["bits_per_dim"], other["bits_per_dim"]);
    place.fails(
        "score pictures --model none --label 1",
        &["none: no such model and no such folder"],
    );
}

/// A score that is not a likelihood must not look like one.
#[test]
fn the_kind_of_score_is_printed() {
    let code =
        r#"{ kind = "code", length = 3, encoder_maps = [2], bottleneck = { kind = "plain" } }"#;
    let place = TestFolder::with_condition(code, "");
    pictures(&place);
    for command in ["eval --model run", "score pictures --model run"] {
        let text = String::from_utf8(place.run(command).stdout).unwrap();
        assert!(text.contains("Not a likelihood of the images"), "{text}");
        assert!(text.contains(" bits/dim given the image's code"), "{text}");
        let result = place.json(&format!("{command} --json"));
        assert_eq!(result["score"], "bits/dim given the image's code");
        assert!(result["note"].is_string());
    }
    let place = self::place();
    for command in ["eval --model run", "score pictures --model run"] {
        let result = place.json(&format!("{command} --json"));
        assert_eq!(
            (&result["score"], &result["note"]),
            (&"bits/dim".into(), &Value::Null)
        );
    }
    let place = TestFolder::new();
    place.train(
        "run",
        &crate::test_folder::beside("auto-encoder", "length = 3\nhidden = 2"),
    );
    pictures(&place);
    place.fails("score pictures --model run", &["no likelihood"]);
    let text = String::from_utf8(place.run("eval --model run").stdout).unwrap();
    assert!(text.contains("mean squared error: 0."), "{text}");
    // Rounded to the digits of the value.
    let line = text
        .lines()
        .find(|line| line.starts_with("mean squared"))
        .unwrap();
    let numbers: Vec<_> = line
        .split(' ')
        .filter(|word| word.starts_with("0."))
        .collect();
    assert!(numbers.iter().all(|number| number.len() == 7), "{line}");
    assert!(!place.json("eval --model run --json")["std_err"].is_null());
}

/// Control characters must not be in standard output or errors.
#[cfg(unix)]
#[test]
fn names_cannot_control_a_terminal() {
    let place = place();
    let picture = place.bytes("pictures/0.png");
    std::fs::create_dir(place.path("odd")).unwrap();
    std::fs::write(place.path("odd/a\u{1b}[31m\nb.png"), &picture).unwrap();
    std::fs::write(place.path("odd/c\u{9b}31m.png"), "no picture").unwrap();
    let output = place.run("score odd --model run");
    let (text, said) = (output.stdout, output.stderr);
    let (text, said) = (
        String::from_utf8(text).unwrap(),
        String::from_utf8(said).unwrap(),
    );
    assert!(text.starts_with("odd/a\\u001b[31m\\u000ab.png: "), "{text}");
    assert!(said.contains("odd/c\\u009b31m.png"), "{said}");
    let lines = text.lines().chain(said.lines());
    assert!(
        lines.flat_map(str::chars).all(|it| !it.is_control()),
        "{text}{said}"
    );
    // JSON contains the original names.
    let output = place.run("score odd --model run --json");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["images"][0]["file"], "odd/a\u{1b}[31m\nb.png");
    assert_eq!(result["unusable"][0]["file"], "odd/c\u{9b}31m.png");
}

/// Many pictures, so that something happens before all are scored.
fn many(place: &TestFolder, count: usize) {
    std::fs::create_dir(place.path("many")).unwrap();
    let picture = place.bytes("pictures/0.png");
    for index in 0..count {
        std::fs::write(place.path(&format!("many/{index:05}.png")), &picture).unwrap();
    }
}

fn start(place: &TestFolder, arguments: &str) -> std::process::Child {
    std::process::Command::new(crate::test_folder::program())
        .current_dir(place.path(""))
        .args(arguments.split_whitespace())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

/// Only results that are still needed are computed.
#[cfg(unix)]
#[test]
fn without_a_reader_nothing_more_is_scored() {
    use std::io::{BufRead, BufReader, Read};
    let place = place();
    many(&place, 5_000);
    for flags in ["", "--csv -"] {
        let mut child = start(&place, &format!("score many --model run {flags}"));
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        drop(output);
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert!(child.wait().unwrap().success(), "{flags}: {said}");
        assert!(said.lines().count() < 5_000, "{flags}");
    }
    let mut child = start(&place, "score pictures --model run --csv a.csv");
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let table = String::from_utf8(place.bytes("a.csv")).unwrap();
    assert_eq!(table.lines().count(), 6);
}

#[cfg(unix)]
#[test]
fn a_request_to_stop_keeps_the_rows_so_far() {
    use std::io::{BufRead, BufReader, Read};
    crate::test_folder::heed_signals();
    let place = place();
    many(&place, 5_000);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = start(&place, "score many --model run --csv a.csv");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        let kill = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let mut lines = String::new();
        output.read_to_string(&mut lines).unwrap();
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said}");
        let table = String::from_utf8(place.bytes("a.csv")).unwrap();
        let rows = table.lines().count() - 1;
        assert_eq!(rows, lines.lines().count() + 1);
        assert!(rows < 5_000 && table.ends_with('\n'), "{rows}");
        for part in [
            format!("wrote a.csv: {rows} row"),
            format!("stopped after {rows} of"),
        ] {
            assert!(said.contains(&part), "{part}: {said}");
        }
    }
}

#[cfg(unix)]
#[test]
fn folders_that_are_links_are_entered_and_circles_end() {
    let place = place();
    std::fs::create_dir(place.path("linked")).unwrap();
    std::os::unix::fs::symlink("../pictures", place.path("linked/there")).unwrap();
    std::os::unix::fs::symlink("..", place.path("pictures/inner/back")).unwrap();
    let result = place.json("score linked --model run --json");
    let files: Vec<_> = result["images"].as_array().unwrap().iter().collect();
    assert_eq!(files.len(), 5, "{result}");
    assert_eq!(files[0]["file"], "linked/there/0.png");
}
