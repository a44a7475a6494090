//! Assigns images and classes to splits.

use std::collections::BTreeMap;

use crate::{Images, Split};

/// A hash that never changes: FNV-1a, followed by the finaliser of SplitMix64,
/// because the upper bits of FNV-1a hardly depend on the last bytes.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The split of each class by its name. In the order of their hashes, the first quarter of
/// the classes is the test split, a fifth of the others the validation split, each rounded
/// down but at least one. `None` for fewer than three classes. The result depends only on
/// the set of names.
pub(crate) fn of_classes(names: &[String]) -> Option<Vec<Split>> {
    let count = names.len();
    let test = (count / 4).max(1);
    let valid = (count.checked_sub(test)? / 5).max(1);
    if test + valid >= count {
        return None;
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&class| (hash(names[class].as_bytes()), &names[class]));
    let mut splits = vec![Split::Train; count];
    for (rank, class) in order.into_iter().take(test + valid).enumerate() {
        splits[class] = if rank < test {
            Split::Test
        } else {
            Split::Valid
        };
    }
    Some(splits)
}

/// The images for training, validation and test, with whole classes in each,
/// chosen by the names of the classes. The error is the number of
/// classes if it is below three.
pub(crate) fn by_class(
    images: &Images,
    name: impl Fn(u32) -> String,
) -> Result<[Images; 3], usize> {
    let labels: BTreeMap<u32, String> = images
        .labels()
        .iter()
        .map(|&label| (label, name(label)))
        .collect();
    let names: Vec<String> = labels.values().cloned().collect();
    let splits = of_classes(&names).ok_or(names.len())?;
    let split_of: BTreeMap<u32, Split> = labels.into_keys().zip(splits).collect();
    let split = |index: usize| split_of.get(&images.labels()[index]).copied();
    Ok(parts(images, split))
}

/// The split of an image by its path: a tenth of the hashes each for validation
/// and test. Adding or removing a file does not change the split of other files.
pub(crate) fn of_path(path: &str) -> Split {
    match hash(path.as_bytes()) % 10 {
        0 => Split::Test,
        1 => Split::Valid,
        _ => Split::Train,
    }
}

fn parts(images: &Images, split_of: impl Fn(usize) -> Option<Split>) -> [Images; 3] {
    [Split::Train, Split::Valid, Split::Test].map(|split| {
        let belongs = |&index: &usize| split_of(index) == Some(split);
        let indices: Vec<usize> = (0..images.len()).filter(belongs).collect();
        images.subset(&indices)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The published values of FNV-1a after the published finaliser. If a split changed,
    /// earlier results could not be compared with new ones.
    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(hash(b"a"), 0x02c0_bdbf_4814_20f8);
        assert_eq!(hash(b"person"), 0x5020_a938_09a3_5332);
    }

    #[test]
    fn the_shares_are_a_quarter_and_a_fifth_of_the_rest() {
        for (classes, test, valid) in [(3, 1, 1), (4, 1, 1), (10, 2, 1), (40, 10, 6)] {
            let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
            let splits = of_classes(&names).unwrap();
            let count = |split| splits.iter().filter(|&&other| other == split).count();
            assert_eq!(count(Split::Test), test, "{classes}");
            assert_eq!(count(Split::Valid), valid, "{classes}");
        }
        for classes in 0..3 {
            let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
            assert_eq!(of_classes(&names), None);
        }
    }

    proptest! {
        #[test]
        fn no_class_is_in_two_splits_and_no_image_is_lost(
            labels in prop::collection::vec(0_u32..12, 1..60),
        ) {
            let values = (0..labels.len()).map(|index| index as u8).collect();
            let images = Images::new((1, 1, 1), values, labels.clone()).unwrap();
            let classes: BTreeSet<u32> = labels.iter().copied().collect();
            match by_class(&images, |label| label.to_string()) {
                Err(found) => {
                    prop_assert_eq!(found, classes.len());
                    prop_assert!(found < 3);
                }
                Ok(parts) => {
                    let of = |part: &Images| part.labels().iter().copied().collect::<BTreeSet<_>>();
                    let sets = parts.each_ref().map(of);
                    prop_assert!(sets.iter().all(|set| !set.is_empty()));
                    let all: usize = sets.iter().map(BTreeSet::len).sum();
                    prop_assert_eq!(all, classes.len());
                    let mut values: Vec<u8> =
                        parts.iter().flat_map(|part| part.bytes()).collect();
                    values.sort_unstable();
                    prop_assert_eq!(values, images.bytes());
                }
            }
        }

        #[test]
        fn the_order_of_the_names_does_not_matter(count in 3_usize..50, seed: u64) {
            let names: Vec<String> = (0..count).map(|class| format!("person {class}")).collect();
            let order = crate::order::permutation(seed, 0, count);
            let shuffled: Vec<String> = order.iter().map(|&at| names[at].clone()).collect();
            let (splits, others) = (of_classes(&names).unwrap(), of_classes(&shuffled).unwrap());
            for (position, &at) in order.iter().enumerate() {
                prop_assert_eq!(others[position], splits[at]);
            }
        }
    }
}
