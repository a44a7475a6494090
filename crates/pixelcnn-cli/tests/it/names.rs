//! Classes by name.

use serde_json::json;

use crate::test_folder::{DATA, SIDE, TEST_IMAGES, TestFolder};

/// A name with a comma, one with a space, and names that are numbers.
const NAMES: [&str; 10] = [
    "bird", "wet, dog", "big cat", "7", "0", "e", "f", "g", "h", "i",
];
const RECORD: usize = 1 + 3 * SIDE * SIDE;

/// A model of named classes in the folder `run`.
fn place() -> TestFolder {
    let place = TestFolder::new();
    place.write("names.txt", &NAMES.join("\n"));
    let conditioning = format!("{{ kind = \"class\", classes = {} }}", json!(NAMES));
    let config = crate::test_folder::conditional(&conditioning, "");
    place.train(
        "run",
        &config.replace(DATA, &format!("{DATA},classes=names.txt")),
    );
    place
}

/// Writes the test images as `other.bin` with the labels of `to`, and the names of these
/// labels.
fn relabel(place: &TestFolder, names: &[&str], to: impl Fn(u8) -> u8) -> String {
    let mut bytes = place.bytes("test.bin");
    for record in bytes.chunks_mut(RECORD) {
        record[0] = to(record[0]);
    }
    std::fs::write(place.path("other.bin"), bytes).unwrap();
    place.write("other.txt", &names.join("\n"));
    "records:other.bin,valid=other.bin,test=other.bin,classes=other.txt,side=8".to_string()
}

#[test]
fn labels_of_other_data_are_matched_by_name() {
    let place = place();
    let own = place.json("eval --model run --json");
    let accuracy = place.json("classify --model run --json")["predicted"].clone();
    let mut reversed = NAMES;
    reversed.reverse();
    let data = relabel(&place, &reversed, |label| 9 - label);
    let other = place.json(&format!("eval --model run --data {data} --json"));
    assert_eq!(own["bits_per_dim"], other["bits_per_dim"]);
    let other = place.json(&format!("classify --model run --data {data} --json"));
    assert_eq!(other["predicted"], accuracy);
    assert_eq!(other["labels"], json!([0, 1, 2, 3, 4]));
    // Fewer classes: the images' labels are 0 to 4.
    let data = relabel(
        &place,
        &["0", "7", "big cat", "wet, dog", "bird"],
        |label| 4 - label,
    );
    for command in ["eval", "classify"] {
        let result = place.json(&format!("{command} --model run --data {data} --json"));
        assert_eq!(result["images"], TEST_IMAGES, "{result}");
    }
    let fewer = place.json(&format!("eval --model run --data {data} --json"));
    assert_eq!(own["bits_per_dim"], fewer["bits_per_dim"]);
    // Images of a data set as conditions are matched, too.
    place.json("sample --model run --index 0,1 --count 1 --npy a.npy --json");
    place.json(&format!(
        "sample --model run --index 0,1 --data {data} --count 1 --npy b.npy --json"
    ));
    assert_eq!(place.bytes("a.npy"), place.bytes("b.npy"));
}

#[test]
fn classes_that_cannot_be_matched_are_refused() {
    let place = place();
    let data = relabel(&place, &["bird", "wolf", "big cat", "7", "0"], |label| {
        label
    });
    for command in [
        "eval --model run",
        "classify --model run",
        "sample --model run --index 0 --out a.png",
    ] {
        place.fails(&format!("{command} --data {data}"), &["wolf"]);
    }
    // Labels without names.
    place.fails(
        &format!("eval --model run --data {DATA}"),
        &["have no names"],
    );
}

#[test]
fn a_model_without_names_takes_labels_by_number_and_says_so() {
    let place = TestFolder::with_condition(r#"{ kind = "class", classes = 10 }"#, "");
    // As in models without class names.
    let path = "run/best/config.json";
    let text = String::from_utf8(place.bytes(path)).unwrap();
    assert!(text.contains("\"classes\": 10"), "{text}");
    let data = relabel(&place, &NAMES, |label| label);
    let output = place.run(&format!("eval --model run --data {data} --json"));
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("labels are matched by number"), "{said}");
    let data = relabel(&place, &NAMES[..5], |label| label);
    place.fails(
        &format!("eval --model run --data {data}"),
        &["5 classes", "bird", "10 without names"],
    );
}

#[test]
fn labels_are_given_by_name_or_number() {
    let place = place();
    let drawn = |flags: &[&str]| {
        let all = [
            "sample", "--model", "run", "--count", "1", "--npy", "a.npy", "--json",
        ];
        let output = place.run_with(&[&all[..], flags].concat());
        assert!(output.status.success(), "{output:?}");
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (place.bytes("a.npy"), result["classes"].clone())
    };
    let (both, names) = drawn(&["--label", "big cat,bird"]);
    assert_eq!(names, json!(["big cat", "bird"]));
    for flags in [
        vec!["--label", "big cat", "--label", "bird"],
        vec!["--label", "big cat, bird"],
    ] {
        assert_eq!(drawn(&flags), (both.clone(), names.clone()), "{flags:?}");
    }
    let (_, names) = drawn(&["--label", "wet, dog"]);
    assert_eq!(names, json!(["wet, dog"]));
    // A number that is the name of a class means this class.
    assert_eq!(drawn(&["--label", "7"]).1, json!(["7"]));
    assert_eq!(drawn(&["--label", "0"]).1, json!(["0"]));
    let line = place.line("sample --model run --label bird --count 1 --out a.png");
    assert!(
        line.starts_with("a.png: 1 image of the class bird, "),
        "{line}"
    );
    place.fails(
        "sample --model run --label wolf --out b.png",
        &["--label", "one of bird, wet, dog, big cat", "\"wolf\""],
    );
    // If a class name is a number, other numbers are mistakes.
    for number in ["2", "10"] {
        let line = format!("sample --model run --label {number} --out b.png");
        place.fails(&line, &[&format!("found {number:?}")]);
    }
}

#[test]
fn classify_and_info_print_names() {
    let place = place();
    let output = place.run("classify --model run --limit 2");
    let text = String::from_utf8(output.stdout).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("0: class bird; predicted "), "{text}");
    assert_eq!(first.matches(" (0.").count(), 3, "{text}");
    assert!(text.contains("\nwet, dog: "), "{text}");
    assert!(text.contains(" of 1 correct"), "{text}");
    // There is one image of each label, so their mean has no standard error.
    assert!(text.contains("balanced accuracy "), "{text}");
    let result = place.json("classify --model run --json");
    assert_eq!(result["names"], json!(NAMES));
    assert_eq!(result["balanced_std_err"], serde_json::Value::Null);
    let shares = result["probabilities"][0].as_array().unwrap();
    let sum: f64 = shares.iter().map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9);
    let confusion = result["confusion"].as_array().unwrap();
    assert_eq!(confusion.len(), 10);
    let all: u64 = confusion
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(all, TEST_IMAGES as u64);
    assert_eq!(
        place.json("info --model run --json")["classes"],
        json!(NAMES)
    );
    let text = String::from_utf8(place.run("info --model run").stdout).unwrap();
    assert!(
        text.contains("classes: 0 bird, 1 wet, dog, 2 big cat"),
        "{text}"
    );
}
