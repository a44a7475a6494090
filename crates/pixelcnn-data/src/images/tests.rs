//! Images in memory and in files.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::bytes::Bytes;
use crate::store::{Coding, Part, Width};
use crate::testing::{assert_says, numbered, write};

#[test]
fn a_tensor_holds_the_images_of_its_range() {
    let images = numbered(5, (3, 2, 4));
    let tensor = images.tensor(1..3, &Device::Cpu).unwrap();
    assert_eq!(tensor.dims(), [2, 3, 2, 4]);
    assert_eq!(tensor.dtype(), DType::U8);
    let values = tensor.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    assert_eq!(values, images.bytes()[24..72]);
}

#[test]
fn ranges_beyond_the_images_are_errors() {
    let images = numbered(5, (1, 1, 1));
    #[expect(clippy::reversed_empty_ranges)]
    for range in [4..6, 6..6, 3..2, 0..usize::MAX] {
        let error = images.tensor(range.clone(), &Device::Cpu).unwrap_err();
        assert!(matches!(error, DataError::Range { .. }), "{range:?}");
    }
    assert!(images.tensor(0..5, &Device::Cpu).is_ok());
    assert_eq!(images.tensor(5..5, &Device::Cpu).unwrap().dims()[0], 0);
}

#[test]
fn values_must_match_the_labels_and_the_shape() {
    assert!(Images::new((1, 2, 2), vec![0; 8], vec![0; 2]).is_ok());
    assert!(Images::new((1, 2, 2), Vec::new(), Vec::new()).is_ok());
    for (shape, values) in [
        ((1, 2, 2), 7),
        ((1, 2, 2), 9),
        ((0, 2, 2), 0),
        ((usize::MAX, 2, 2), 8),
        ((1 << 32, 1 << 31, 1), 0),
    ] {
        let error = Images::new(shape, vec![0; values], vec![0; 2]).unwrap_err();
        assert!(matches!(error, DataError::ImageValues { .. }), "{shape:?}");
    }
    assert!(Images::new((1, 0, 1), Vec::new(), Vec::new()).is_err());
}

#[test]
fn captions_stay_with_their_images() {
    let captions: Vec<String> = (0..20).map(|index| format!("image {index}")).collect();
    let images = numbered(20, (1, 1, 2)).with_captions(captions).unwrap();
    assert_eq!(images.first(2).captions(), ["image 0", "image 1"]);
    let chosen = images.select(&[7, 3, 7]).unwrap();
    assert_eq!(chosen.captions(), ["image 7", "image 3", "image 7"]);
    assert_eq!(chosen.labels(), [7, 3, 7]);
    let (kept, held_out) = images.hold_out_tenth();
    assert_eq!(held_out.captions(), ["image 9", "image 19"]);
    assert_eq!(kept.captions()[9], "image 10");
}

#[test]
fn each_image_needs_a_caption() {
    for captions in [0, 1, 3] {
        let error = numbered(2, (1, 1, 1))
            .with_captions(vec![String::new(); captions])
            .unwrap_err();
        assert_says(
            &error,
            &[&format!("{captions} caption"), "for 2 images: each"],
        );
    }
}

#[test]
fn images_that_are_not_there_cannot_be_chosen() {
    let images = numbered(5, (1, 1, 1));
    for index in [5, usize::MAX] {
        let error = images.select(&[0, index]).unwrap_err();
        assert_says(
            &error,
            &[&format!(
                "image {index} (from 0) requested, but there are only 5"
            )],
        );
        assert!(images.gather(&[index], &Device::Cpu).is_err());
    }
    assert!(images.select(&[]).unwrap().is_empty());
    let none = images.gather(&[], &Device::Cpu).unwrap();
    assert_eq!(none.dims(), [0, 1, 1, 1]);
}

#[test]
fn debug_is_short() {
    let text = format!("{:?}", numbered(200, (3, 4, 4)));
    assert_eq!(text, "Images { len: 200, shape: (3, 4, 4), .. }");
}

#[test]
fn shrunk_images_keep_labels_captions_and_levels() {
    let images = Images::new((1, 2, 3), (0..12).collect(), vec![0, 1]).unwrap();
    let images = images.with_captions(vec!["a".into(), "b".into()]);
    let small = images.unwrap().shrunk(2).unwrap();
    // The images are 0 1 2 / 3 4 5 and 6 7 8 / 9 10 11; the means are 2, 3.5, 8 and 9.5.
    assert_eq!(small.bytes(), [2, 4, 8, 10]);
    assert_eq!((small.shape(), small.labels()), ((1, 1, 2), &[0, 1][..]));
    assert_eq!((small.captions().len(), small.levels()), (2, 256));
    assert!(small.shrunk(3).is_err());
}

#[test]
fn two_bytes_per_value_are_kept_chosen_and_reduced() {
    let values: Vec<u16> = (0..12).map(|value| value * 5_957).collect();
    let images = Images::from_values((1, 2, 2), values.clone().into(), vec![0, 1, 2]);
    let images = images.unwrap();
    assert_eq!(images.levels(), 65_536);
    let tensor = images.gather(&[2, 0], &Device::Cpu).unwrap();
    assert_eq!(tensor.dtype(), DType::U32);
    let found = tensor.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let of = |range: Range<usize>| values[range].iter().map(|value| u32::from(*value));
    assert_eq!(found, of(8..12).chain(of(0..4)).collect::<Vec<_>>());
    assert_eq!(
        images.read(1..2).unwrap(),
        Values::U16(values[4..8].to_vec())
    );
    let few = images.clone().with_bits(8).unwrap();
    let bytes: Vec<u8> = values.iter().map(|value| (value >> 8) as u8).collect();
    assert_eq!((few.bytes(), few.levels()), (bytes, 256));
    assert_ne!(images.identity().unwrap(), few.identity().unwrap());
    assert!(few.with_bits(9).is_err());
    assert!(images.with_bits(0).is_err());
}

/// Images with two bytes per value in a file, and the same in memory.
fn in_file_and_in_memory(
    folder: &TempDir,
    shape: (usize, usize, usize),
    len: usize,
) -> [Images; 2] {
    let size = shape.0 * shape.1 * shape.2;
    let values: Vec<u16> = (0..len * size)
        .map(|it| (it * 7919 % 65_536) as u16)
        .collect();
    let labels: Vec<u32> = (0..len as u32).collect();
    // Three bytes before the first image, one after each image.
    let mut bytes = vec![9; 3];
    for image in values.chunks(size) {
        bytes.extend(image.iter().flat_map(|value| value.to_le_bytes()));
        bytes.push(9);
    }
    let path = write(folder.path(), "images.bin", bytes);
    let part = Part {
        bytes: Bytes::open(&path).unwrap(),
        first: 3,
        stride: 2 * size as u64 + 1,
        images: len,
    };
    let store = Store::new(vec![part], size, Coding::plain(Width::Two));
    let lying = Images::from_store(shape, store, labels.clone()).unwrap();
    [
        lying,
        Images::from_values(shape, values.into(), labels).unwrap(),
    ]
}

#[test]
fn images_in_a_file_equal_those_in_memory() {
    let folder = tempdir().unwrap();
    let [lying, held] = in_file_and_in_memory(&folder, (2, 3, 5), 30);
    let acts: [fn(&Images) -> Images; 7] = [
        Images::clone,
        |images| images.first(7),
        |images| images.select(&[5, 6, 7, 2, 29, 2]).unwrap().first(5),
        |images| images.clone().shrunk(2).unwrap(),
        |images| images.clone().with_bits(9).unwrap().shrunk(4).unwrap(),
        |images| {
            images
                .hold_out_tenth()
                .0
                .shrunk(2)
                .unwrap()
                .with_bits(8)
                .unwrap()
        },
        |images| images.clone().with_bits(4).unwrap().hold_out_tenth().1,
    ];
    for (number, act) in acts.iter().enumerate() {
        let (lying, held) = (act(&lying), act(&held));
        assert_eq!(lying, held, "{number}");
        assert_eq!(lying.identity().unwrap(), held.identity().unwrap());
        assert_eq!(lying.max().unwrap(), held.max().unwrap());
        assert_eq!(lying.dtype(), held.dtype());
        let indices = [2, 0, 1];
        let tensors = [&lying, &held].map(|it| it.gather(&indices, &Device::Cpu).unwrap());
        assert_eq!(tensors[0].dtype(), lying.dtype());
        let numbers = |it: &Tensor| it.to_dtype(DType::U32).unwrap().flatten_all().unwrap();
        let [one, other] = tensors
            .each_ref()
            .map(|it| numbers(it).to_vec1::<u32>().unwrap());
        assert_eq!(one, other);
    }
}

#[test]
fn a_file_that_changes_is_an_error_of_its_images() {
    let folder = tempdir().unwrap();
    let [lying, held] = in_file_and_in_memory(&folder, (1, 2, 2), 4);
    assert_eq!(lying, held);
    write(folder.path(), "images.bin", [1; 5]);
    let error = lying.tensor(0..1, &Device::Cpu).unwrap_err();
    assert_says(&error, &["images.bin"]);
    assert!(lying.identity().is_err() && lying.max().is_err());
    assert_ne!(lying, held);
    let first = lying.first(2).with_bits(8).unwrap();
    assert!(first.read(0..1).is_err());
    assert_eq!((first.len(), first.labels()), (2, &[0, 1][..]));
}

#[test]
fn blocks_are_all_images_in_their_order() {
    let images = numbered(5, (1, 1 << 10, 1 << 10));
    let blocks: Vec<Values> = images.blocks().map(Result::unwrap).collect();
    let lengths: Vec<usize> = blocks.iter().map(Values::len).collect();
    assert_eq!(lengths, [4 << 20, 1 << 20]);
    let all: Vec<u8> = blocks
        .iter()
        .flat_map(|it| it.as_bytes().unwrap())
        .copied()
        .collect();
    assert_eq!(all, images.bytes());
}

/// Values and tensors must be averaged in the same way.
#[test]
fn shrunk_images_are_the_shrunk_tensors() {
    for len in [1, 3] {
        let images = numbered(len, (3, 5, 7));
        for factor in [2, 4, 8] {
            let tensor = images.tensor(0..len, &Device::Cpu).unwrap();
            let tensor = Reduction::Shrunk { factor }.apply(&tensor).unwrap();
            let small = images.clone().shrunk(factor).unwrap();
            let found = small.tensor(0..len, &Device::Cpu).unwrap();
            assert_eq!(found.dims(), tensor.dims());
            let bytes = |it: Tensor| it.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            assert_eq!(bytes(found), bytes(tensor));
        }
    }
}

proptest! {
    #[test]
    fn first_is_a_prefix(len in 0_usize..30, limit in 0_usize..40) {
        let images = numbered(len, (2, 1, 3));
        let first = images.first(limit);
        let count = limit.min(len);
        prop_assert_eq!(first.len(), count);
        prop_assert_eq!(first.shape(), images.shape());
        prop_assert_eq!(first.labels(), &images.labels()[..count]);
        let bytes = |images: &Images| images.bytes().to_vec();
        prop_assert_eq!(&bytes(&first), &bytes(&images)[..count * 6]);
    }

    #[test]
    fn selected_images_are_the_gathered_ones(
        indices in prop::collection::vec(0_usize..9, 0..12),
    ) {
        let images = numbered(9, (2, 1, 3));
        let chosen = images.select(&indices).unwrap();
        let gathered = images.gather(&indices, &Device::Cpu).unwrap();
        prop_assert_eq!(gathered.dims(), &[indices.len(), 2, 1, 3]);
        let values = gathered.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        prop_assert_eq!(chosen.bytes(), values);
        for (position, &index) in indices.iter().enumerate() {
            prop_assert_eq!(chosen.image(position), images.image(index));
            prop_assert_eq!(chosen.labels()[position], index as u32);
        }
    }

    #[test]
    fn a_tenth_is_held_out_by_position(len in 0_usize..45) {
        let images = numbered(len, (1, 1, 2));
        let (kept, held_out) = images.clone().hold_out_tenth();
        let (tenth, rest): (Vec<u32>, Vec<u32>) =
            (0..len as u32).partition(|index| index % 10 == 9);
        prop_assert_eq!(kept.labels(), rest);
        prop_assert_eq!(held_out.labels(), tenth);
        for part in [kept, held_out] {
            for (index, &label) in part.labels().iter().enumerate() {
                prop_assert_eq!(part.image(index), images.image(label as usize));
            }
        }
    }
}
