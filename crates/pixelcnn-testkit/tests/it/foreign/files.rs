//! How torch.save lays out tensors; archives that it does not write are refused.

use std::io::{Cursor, Write};

use candle_core::Tensor;
use pixelcnn_import::{Format, Settings, import};
use pixelcnn_testkit::foreign::{Wrapping, entries, settings, tensors, zipped};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{read, sizes, written};

const FORMAT: Format = Format::Uvadlc;

type Entries = Vec<(String, Vec<u8>)>;

fn whole() -> Entries {
    entries(&tensors(FORMAT, sizes(FORMAT)).unwrap(), Wrapping::Bare).unwrap()
}

fn refused(bytes: &[u8], part: &str) {
    let error = read(FORMAT, bytes).unwrap_err().to_string();
    assert!(error.contains(part), "{part}: {error}");
}

/// A view with exchanged sides, and one that begins within its storage, have the numbers of the
/// tensor. One that ends after its storage is refused.
#[test]
fn views_are_read_and_ones_beyond_their_storage_refused() {
    let plain = tensors(FORMAT, sizes(FORMAT)).unwrap();
    let expected = read(FORMAT, &zipped(&whole()).unwrap()).unwrap().model;
    let check = |bytes: &[u8]| {
        let found = read(FORMAT, bytes).unwrap().model;
        for (name, tensor) in expected.tensors() {
            let numbers = |it: &Tensor| it.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(numbers(tensor), numbers(&found.tensors()[name]), "{name}");
        }
    };
    let exchanged = plain.iter().map(|(name, tensor)| {
        let view = match tensor.rank() {
            4 => {
                let stored = tensor.permute((1, 3, 2, 0)).unwrap().contiguous().unwrap();
                stored.permute((3, 0, 2, 1)).unwrap()
            }
            _ => tensor.clone(),
        };
        (name.clone(), view)
    });
    let exchanged = entries(&exchanged.collect(), Wrapping::Bare).unwrap();
    assert_ne!(exchanged, whole());
    check(&zipped(&exchanged).unwrap());

    // The first tensor: its length of one byte, then the end of its storage, then its offset.
    let mut within = whole();
    let pickle = &mut within[0].1;
    let at = pickle.windows(4).position(|it| it == b"tQK\0").unwrap();
    let length = pickle[at - 1];
    assert_eq!(pickle[at - 2], b'K');
    pickle[at + 3] = 1;
    let part = format!("ends at number {} of a storage of {length}", length + 1);
    refused(&zipped(&within).unwrap(), &part);
    within[0].1[at - 1] += 1;
    within[1].1.splice(0..0, [0; 4]);
    check(&zipped(&within).unwrap());
}

#[test]
fn numbers_in_another_byte_order_are_refused() {
    let with = |order: &str| {
        let mut all = whole();
        all.push(("model/byteorder".to_string(), order.into()));
        zipped(&all).unwrap()
    };
    read(FORMAT, &with("little")).unwrap();
    refused(&with("big"), "numbers in big order, little expected");
}

#[test]
fn a_storage_of_another_length_is_refused() {
    let mut all = whole();
    let (name, numbers) = &mut all[1];
    assert_eq!(name, "model/data/0");
    numbers.extend([0; 4]);
    refused(&zipped(&all).unwrap(), "data/0: it has ");
    let (_, numbers) = &mut all[1];
    numbers.truncate(numbers.len() - 8);
    let part = format!("bytes expected, found {}", numbers.len());
    refused(&zipped(&all).unwrap(), &part);
}

#[test]
fn entries_that_are_not_clear_are_refused() {
    let mut all = whole();
    let pickle = all[0].1.clone();
    all.push(("other/data.pkl".to_string(), pickle));
    refused(&zipped(&all).unwrap(), "two entries data.pkl");
    let mut bytes = zipped(&whole()).unwrap();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(b"model/data/1") {
            bytes[at + 11] = b'0';
        }
    }
    refused(&bytes, "two entries of one name");
}

#[test]
fn compressed_entries_are_refused() {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in whole() {
        archive.start_file(name, options).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    refused(&bytes, "data.pkl: it is compressed");
}

/// What is not stored is as it was set, in every format.
#[test]
fn the_size_of_samples_is_that_of_the_settings() {
    for format in Format::ALL {
        let tensors = tensors(format, sizes(format)).unwrap();
        let bytes = zipped(&entries(&tensors, Wrapping::Bare).unwrap()).unwrap();
        let (_folder, path) = written(&bytes);
        let all = [settings(format), &["height=5", "width=9"]].concat();
        let import = import(format, path, &Settings::parse(all).unwrap()).unwrap();
        let image = import.model.config().image();
        assert_eq!((image.height, image.width), (5, 9), "{format}");
    }
}
