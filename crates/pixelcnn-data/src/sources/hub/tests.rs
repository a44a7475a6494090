use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use super::*;
use crate::sources::fixtures;
use crate::testing::assert_says;
use crate::{Cache, DataSpec};

const COMMIT: &str = "0123456789012345678901234567890123456789";

/// The bytes of a PNG file.
fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .into()
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A coloured picture of 3 x 2 whose first red value is `value`.
fn coloured(value: u8) -> Vec<u8> {
    png(RgbImage::from_fn(2, 3, |x, y| {
        Rgb([value + x as u8, y as u8, 7])
    }))
}

/// A grey picture of 3 x 2.
fn grey(value: u8) -> Vec<u8> {
    png(GrayImage::from_fn(2, 3, |x, y| {
        Luma([value + (x + 2 * y) as u8])
    }))
}

/// A Parquet file as the library `datasets` writes it: pictures in `img`, classes in `label`.
fn parquet(rows: &[(Vec<u8>, i64)], compression: Compression) -> Vec<u8> {
    let schema = "message schema {
        optional group img { optional binary bytes; optional binary path (STRING); }
        optional int64 label;
    }";
    let described = r#"{"info": {"features": {"img": {"_type": "Image"},
        "label": {"names": ["cat", "dog", "bird"], "_type": "ClassLabel"}}}}"#;
    let described = KeyValue::new("huggingface".into(), described.to_string());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_key_value_metadata(Some(vec![described]))
        .build();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    // Several groups of rows, as in large files.
    for rows in rows.chunks(3) {
        let mut group = writer.next_row_group().unwrap();
        for column in 0..3 {
            let mut writer = group.next_column().unwrap().unwrap();
            match column {
                2 => {
                    let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
                    let levels = vec![1; rows.len()];
                    let typed = writer.typed::<Int64Type>();
                    typed.write_batch(&labels, Some(&levels), None).unwrap();
                }
                _ => {
                    let value = |(picture, _): &(Vec<u8>, i64)| match column {
                        0 => ByteArray::from(picture.clone()),
                        _ => ByteArray::from("name.png"),
                    };
                    let values: Vec<_> = rows.iter().map(value).collect();
                    let levels = vec![2; rows.len()];
                    let typed = writer.typed::<ByteArrayType>();
                    typed.write_batch(&values, Some(&levels), None).unwrap();
                }
            }
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

/// A cache of the hub with a repository `owner/set`, and no network.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let refs = place.repository().join("refs");
        fs::create_dir_all(&refs).unwrap();
        fs::write(refs.join("main"), COMMIT).unwrap();
        place
    }

    fn repository(&self) -> PathBuf {
        self.0.path().join("datasets--owner--set")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.repository().join("snapshots").join(COMMIT).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn load(&self, options: &str, cache: Cache) -> Result<Dataset, DataError> {
        let text = format!("hf:owner/set{options}");
        let DataSpec::Hub(spec) = text.parse()? else {
            unreachable!()
        };
        let hub = Hub {
            cache: self.0.path().into(),
            offline: true,
            ..Hub::from_environment()?
        };
        let loading = Loading {
            cache,
            ..Loading::default()
        };
        load_from(&hub, text, &spec, &loading)?.opened()
    }

    fn fails(&self, options: &str, parts: &[&str]) {
        assert_says(&self.load(options, Cache::Off).unwrap_err(), parts);
    }
}

const TRAIN: &str = "plain_text/train-00000-of-00001.parquet";
const TEST: &str = "plain_text/test-00000-of-00001.parquet";

#[test]
fn pictures_and_labels_are_those_of_the_files() {
    let place = Place::new();
    let rows: Vec<_> = (0..25)
        .map(|row| (coloured(row), i64::from(row) % 3))
        .collect();
    place.write(TRAIN, &parquet(&rows, Compression::SNAPPY));
    place.write(TEST, &parquet(&rows[20..23], Compression::UNCOMPRESSED));
    let kept = tempfile::tempdir().unwrap();
    for cache in [
        Cache::Off,
        Cache::Folder(kept.path().into()),
        Cache::Folder(kept.path().into()),
    ] {
        let dataset = place.load("", cache).unwrap();
        assert_eq!(dataset.classes, ["cat", "dog", "bird"]);
        // Without validation files, every tenth training image is one.
        assert_eq!(dataset.all().map(|images| images.len()), [23, 2, 3]);
        assert_eq!(dataset.train().shape(), (3, 3, 2));
        assert_eq!(dataset.train().labels()[8..11], [2, 1, 2]);
        assert_eq!(dataset.valid().labels(), [0, 1]);
        let values = |images: &crate::Images, index: usize| {
            let image = images
                .tensor(index..index + 1, &candle_core::Device::Cpu)
                .unwrap();
            image.flatten_all().unwrap().to_vec1::<u8>().unwrap()
        };
        let expected = |value: u8| {
            let red = [value, value + 1].repeat(3);
            [red, vec![0, 0, 1, 1, 2, 2], vec![7; 6]].concat()
        };
        assert_eq!(values(dataset.train(), 3), expected(3));
        assert_eq!(values(dataset.valid(), 1), expected(19));
        assert_eq!(values(dataset.test(), 2), expected(22));
    }
    assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 1);
}

#[test]
fn grey_pictures_have_one_channel() {
    let place = Place::new();
    place.write(
        TRAIN,
        &parquet(&[(grey(1), 0), (grey(9), 1)], Compression::SNAPPY),
    );
    let dataset = place
        .load(",split=train,image=img,label=label", Cache::Off)
        .unwrap();
    assert_eq!(dataset.train().shape(), (1, 3, 2));
    let values = dataset
        .train()
        .tensor(1..2, &candle_core::Device::Cpu)
        .unwrap();
    let values = values.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    assert_eq!(values, [9, 10, 11, 12, 13, 14]);
    assert!(dataset.test().is_empty());
    // A grey picture among coloured ones has three equal channels; the reverse is refused.
    place.write(
        TRAIN,
        &parquet(&[(coloured(1), 0), (grey(9), 1)], Compression::SNAPPY),
    );
    let dataset = place.load("", Cache::Off).unwrap();
    let values = dataset
        .train()
        .tensor(1..2, &candle_core::Device::Cpu)
        .unwrap();
    let values = values.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    assert_eq!(values, [9, 10, 11, 12, 13, 14].repeat(3));
    place.write(
        TRAIN,
        &parquet(&[(grey(9), 1), (coloured(1), 0)], Compression::SNAPPY),
    );
    place.fails("", &["row 1", "in colour, but the first one is grey"]);
}

#[test]
fn columns_are_chosen_by_name() {
    let place = Place::new();
    place.write(TRAIN, &parquet(&[(grey(1), 2)], Compression::SNAPPY));
    let columns = "the columns are img, label";
    place.fails(
        ",image=picture",
        &["no column picture with pictures", columns],
    );
    place.fails(",image=label", &["no column label with pictures", columns]);
    place.fails(",label=kind", &["no column kind of whole numbers", columns]);
    place.fails(",label=img", &["no column img of whole numbers"]);
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let place = Place::new();
    let second =
        |picture: Vec<u8>, label| parquet(&[(grey(1), 0), (picture, label)], Compression::SNAPPY);
    for (bytes, parts) in [
        (
            second(grey(1), 3),
            ["row 1", "label 3, but there are 3 classes"],
        ),
        (
            second(grey(1), -1),
            ["row 1", "a class from 0 expected, found -1"],
        ),
        (
            second(png(GrayImage::new(5, 4)), 0),
            ["row 1", "a picture of 4 x 5, but the first one is 3 x 2"],
        ),
        (second(b"GIF89a".to_vec(), 0), ["row 1", "it is a GIF file"]),
        (
            second(grey(1)[..40].to_vec(), 0),
            ["row 1", "as a PNG or JPEG image"],
        ),
    ] {
        place.write(TRAIN, &bytes);
        place.fails("", &parts);
    }
    place.write(TRAIN, &parquet(&[], Compression::SNAPPY));
    place.fails("", &["the file has no rows"]);
}

/// Files of another program: pyarrow 26. The first has eight pictures in two groups of rows.
#[test]
fn files_with_zstandard_are_read_and_other_compressions_are_named() {
    let place = Place::new();
    let folder = fixtures::find("parquet").unwrap();
    let write = |name: &str| place.write(TRAIN, &fs::read(folder.join(name)).unwrap());
    write("zstd.parquet");
    let dataset = place.load("", Cache::Off).unwrap();
    assert_eq!(dataset.classes, ["cat", "dog", "bird"]);
    assert_eq!(dataset.train().labels(), [0, 1, 2, 0, 1, 2, 0, 1]);
    let image = dataset
        .train()
        .tensor(6..7, &candle_core::Device::Cpu)
        .unwrap();
    let image = image.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    let green_and_blue = [0, 0, 1, 1, 2, 2, 7, 7, 7, 7, 7, 7];
    assert_eq!(image[..6], [120, 121, 120, 121, 120, 121]);
    assert_eq!(image[6..], green_and_blue);
    write("brotli.parquet");
    place.fails(
        "",
        &[
            TRAIN,
            "img.bytes is compressed with BROTLI;",
            "Snappy, Zstandard or none expected",
        ],
    );
}

/// No damage may panic, and none may change what is read without an error; a changed
/// picture has wrong checksums of its own.
#[test]
fn damaged_files_are_refused() {
    let place = Place::new();
    let good = parquet(&[(grey(1), 0), (grey(2), 1)], Compression::SNAPPY);
    for length in (0..good.len()).step_by(7) {
        place.write(TRAIN, &good[..length]);
        place.fails("", &[TRAIN]);
    }
    let loaded = |bytes: &[u8]| {
        place.write(TRAIN, bytes);
        place
            .load("", Cache::Off)
            .map(|dataset| dataset.train().len())
    };
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 0x55;
        if let Ok(found) = loaded(&bad) {
            assert!(found <= 2, "{byte}");
        }
    }
}

#[test]
fn without_the_network_the_cache_must_have_the_set() {
    let place = Place::new();
    fs::remove_dir_all(place.repository()).unwrap();
    place.fails("", &["hf:owner/set", "HF_HUB_OFFLINE"]);
    assert!(Path::new(place.0.path()).exists());
}
