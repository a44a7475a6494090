//! If a condition is missing or does not fit, the error comes before the run takes its
//! folder.

use pixelcnn_data::{Dataset, Images, Split};
use pixelcnn_models::{Conditioning, GatedPixelCnnConfig};
use pixelcnn_train::RunConfig;

use crate::synthetic::{Case, Laboratory, NOISE, conditional, others, run_until};

fn named(name: &str) -> Case {
    let mut cases = conditional().into_iter();
    cases.find(|case| case.name == name).unwrap()
}

/// Asserts that `change` makes a run of `case` an error whose message has each of `parts`.
fn refused(case: &Case, change: impl Fn(&mut RunConfig, &mut Dataset), parts: &[&str]) {
    let mut laboratory = Laboratory::new(case.squares, NOISE);
    let mut config = laboratory.config(case, 4);
    change(&mut config, &mut laboratory.dataset);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let error = run_until(&config, &laboratory.dataset, &out, 1).unwrap_err();
    let error = error.to_string();
    for part in parts {
        assert!(
            error.contains(part),
            "{}: {part} is not in: {error}",
            case.name
        );
    }
    assert!(
        !out.exists(),
        "{}: the folder was taken: {error}",
        case.name
    );
}

fn relabelled(images: &Images, label: impl Fn(usize) -> u32) -> Images {
    let labels = (0..images.len()).map(label);
    let values = images
        .read(0..images.len())
        .unwrap()
        .as_bytes()
        .unwrap()
        .to_vec();
    Images::new(images.shape(), values, labels.collect()).unwrap()
}

#[test]
fn labels_beyond_the_classes() {
    let [.., classifier] = others();
    for case in [named("class"), classifier] {
        let parts = [
            "split: image 5 (from 0) has the label 2",
            "has 2 classes: model.",
        ];
        let label = |image: usize| u32::from(image == 5) * 2;
        refused(
            &case,
            |_, dataset| {
                *dataset = dataset.with_split(
                    Split::Train,
                    relabelled(dataset.images(Split::Train).unwrap(), label),
                )
            },
            &parts,
        );
        refused(
            &case,
            |_, dataset| {
                *dataset = dataset.with_split(
                    Split::Valid,
                    relabelled(dataset.images(Split::Valid).unwrap(), label),
                )
            },
            &parts,
        );
    }
}

#[test]
fn images_without_captions() {
    let without = |_: &mut RunConfig, dataset: &mut Dataset| {
        *dataset = dataset.with_split(
            Split::Train,
            relabelled(dataset.images(Split::Train).unwrap(), |_| 0),
        );
    };
    refused(
        &named("caption"),
        without,
        &["the data set has no captions"],
    );
}

#[test]
fn a_vocabulary_of_fewer_tokens_than_letters() {
    let fewer = |config: &mut RunConfig, _: &mut Dataset| {
        let Some(model) = config.model.get_mut::<GatedPixelCnnConfig>() else {
            panic!("a gated network was expected");
        };
        if let Some(Conditioning::Caption(caption)) = &mut model.conditioning {
            caption.vocabulary = 3;
        }
    };
    let parts = ["model.conditioning.vocabulary", "found 3"];
    refused(&named("caption"), fewer, &parts);
}

#[test]
fn labels_of_which_no_triplet_can_be_made() {
    let [_, embedding, _] = others();
    let parts = ["two images of one label and one of another"];
    for labels in [|_| 0, |image| image as u32] as [fn(usize) -> u32; 2] {
        let change = |_: &mut RunConfig, dataset: &mut Dataset| {
            *dataset = dataset.with_split(
                Split::Valid,
                relabelled(dataset.images(Split::Valid).unwrap(), labels),
            );
        };
        refused(&embedding, change, &parts);
    }
}

#[test]
fn vectors_and_maps_of_another_number_or_size() {
    let swapped = |config: &mut RunConfig, _: &mut Dataset| {
        let given = config.condition_files.as_mut().unwrap();
        given.train.clone_from(&given.valid);
    };
    let parts = ["[256, 4]) expected", "found [64, 4]"];
    refused(&named("vector"), swapped, &parts);
    let parts = ["[256, 1, 4, 4]) expected", "found [64, 1, 4, 4]"];
    refused(&named("map"), swapped, &parts);
    let maps = |config: &mut RunConfig, _: &mut Dataset| {
        let given = config.condition_files.as_mut().unwrap();
        given.valid = given.valid.replace("vectors", "maps");
    };
    let parts = ["[64, 4] or [64, 4, 4, 4]) expected", "found [64, 1, 4, 4]"];
    refused(&named("vector, spatial"), maps, &parts);
    let gone = |config: &mut RunConfig, _: &mut Dataset| {
        let given = config.condition_files.as_mut().unwrap();
        given.valid = given.valid.replace("valid", "none");
    };
    refused(&named("vector"), gone, &["none-vectors.npy"]);
    let none = |config: &mut RunConfig, _: &mut Dataset| config.condition_files = None;
    refused(
        &named("vector"),
        none,
        &["condition_files", "files of vectors or maps"],
    );
}

#[test]
fn an_embedding_network_that_is_missing_or_another() {
    let case = named("embedding");
    let without = |config: &mut RunConfig, _: &mut Dataset| config.pretrained_encoder = None;
    let parts = ["pretrained_encoder", "needs a trained embedding network"];
    refused(&case, without, &parts);
    let gone = |config: &mut RunConfig, _: &mut Dataset| {
        config.pretrained_encoder = Some("no/such/folder".to_string());
    };
    refused(&case, gone, &["no/such/folder"]);
    let other = |config: &mut RunConfig, _: &mut Dataset| {
        let Some(model) = config.model.get_mut::<GatedPixelCnnConfig>() else {
            panic!("a gated network was expected");
        };
        let Some(Conditioning::Embedding(image_encoder)) = &mut model.conditioning else {
            panic!("{:?}", model.conditioning);
        };
        image_encoder.length = 5;
    };
    let parts = ["encoder", "length = 5", "expected, found", "length = 4"];
    refused(&case, other, &parts);
}

#[test]
fn a_wrong_number_of_images_of_a_label() {
    let each = |each: usize| {
        move |config: &mut RunConfig, _: &mut Dataset| {
            config.training.as_mut().unwrap().images_per_class = each;
        }
    };
    let [_, embedding, _] = others();
    let parts = [
        "training.images_per_class",
        "at least 2 for an embedding network",
    ];
    refused(&embedding, each(1), &parts);
    refused(
        &embedding,
        each(0),
        &["training.images_per_class", "at least 1"],
    );
    refused(&embedding, each(5), &["batches of 16 from groups of 5"]);
    // A batch of one label has no image of another label to compare with.
    refused(&embedding, each(16), &["training.batch", "two labels"]);
    refused(
        &named("class"),
        each(2),
        &[
            "training.images_per_class",
            "only an embedding network changes",
        ],
    );
}
