//! The random numbers of batches.
//!
//! They are addressed, not drawn in sequence: the same seed, epoch and image give
//! the same number in any order of the requests. The arithmetic on
//! top of the ChaCha stream is implemented here, so that a newer version of a
//! random-number library does not change any run.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The purpose of random numbers; different purposes have different numbers.
#[derive(Clone, Copy)]
enum Purpose {
    Order,
    Flip,
    Groups,
}

/// The numbers of one purpose in one epoch.
fn stream(seed: u64, purpose: Purpose, epoch: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    let mut stream = ChaCha8Rng::from_seed(key);
    stream.set_stream(epoch);
    stream
}

/// The order of `len` images in an epoch: a uniformly random permutation, which
/// depends only on the arguments.
///
/// ```
/// assert_eq!(pixelcnn_data::permutation(1, 0, 8), [6, 1, 0, 7, 5, 4, 2, 3]);
/// ```
pub fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    shuffled(stream(seed, Purpose::Order, epoch), len)
}

/// The order of images in an epoch in which `each` images of one label are next to each other.
/// The images of each label are shuffled and split into groups of `each`, and
/// the groups are shuffled; incomplete groups are left out.
pub(crate) fn grouped(seed: u64, epoch: u64, labels: &[u32], each: usize) -> Vec<usize> {
    let mut of_label = BTreeMap::<u32, Vec<usize>>::new();
    // In a uniform permutation of all images, the images of one label are in a uniform
    // order too.
    for image in permutation(seed, epoch, labels.len()) {
        of_label.entry(labels[image]).or_default().push(image);
    }
    let groups: Vec<&[usize]> = of_label
        .values()
        .flat_map(|images| images.chunks_exact(each))
        .collect();
    shuffled(stream(seed, Purpose::Groups, epoch), groups.len())
        .into_iter()
        .flat_map(|group| groups[group])
        .copied()
        .collect()
}

fn shuffled(mut numbers: ChaCha8Rng, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, below(&mut numbers, last + 1));
    }
    order
}

/// A number below `bound`. The bias of the scaled product is negligible: `bound` / 2^64.
fn below(numbers: &mut ChaCha8Rng, bound: usize) -> usize {
    let product = u128::from(numbers.next_u64()) * bound as u128;
    (product >> 64) as usize
}

/// The coin flips of an epoch, one for each image.
pub(crate) struct Coins(ChaCha8Rng);

impl Coins {
    pub(crate) fn new(seed: u64, epoch: u64) -> Self {
        Self(stream(seed, Purpose::Flip, epoch))
    }

    /// Whether the coin of this image shows heads.
    pub(crate) fn heads(&mut self, image: usize) -> bool {
        self.0.set_word_pos(image as u128);
        self.0.next_u32() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The numbers come from a separate implementation of ChaCha8. A run that is resumed
    /// with a newer version must have the same order.
    #[test]
    fn the_numbers_are_those_of_chacha8() {
        assert_eq!(permutation(1, 0, 8), [6, 1, 0, 7, 5, 4, 2, 3]);
        assert_eq!(permutation(1, 1, 8), [7, 6, 2, 4, 1, 3, 5, 0]);
        assert_eq!(permutation(2, 0, 8), [1, 5, 6, 3, 4, 2, 0, 7]);
        let bits = |epoch| {
            let mut coins = Coins::new(1, epoch);
            [0, 1, 2, 3, 4, 5, 6, 7].map(|image| u8::from(coins.heads(image)))
        };
        assert_eq!(bits(0), [1, 0, 0, 1, 1, 0, 1, 0]);
        assert_eq!(bits(1), [0, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn every_order_of_three_is_as_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..6000 {
            *counts.entry(permutation(5, epoch, 3)).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Five standard deviations of a count of mean 1,000.
        assert!(
            counts.values().all(|count| (count - 1000).abs() < 145),
            "{counts:?}"
        );
    }

    /// Four images of label 1 and three of label 2 in groups of two: the
    /// shuffles of the numbers below decide which image of label 2 is left out
    /// and which of the three groups comes first.
    #[test]
    fn every_group_and_every_place_is_as_likely() {
        let labels = [1, 1, 1, 1, 2, 2, 2];
        let (mut left_out, mut first) = ([0_i32; 7], [0_i32; 7]);
        for epoch in 0..3000 {
            let order = grouped(5, epoch, &labels, 2);
            assert_eq!(order.len(), 6);
            (0..7)
                .filter(|image| !order.contains(image))
                .for_each(|image| left_out[image] += 1);
            first[order[0]] += 1;
        }
        // Five standard deviations of counts of means 1,000, 500 and 333.
        assert_eq!(left_out[..4], [0; 4]);
        assert!(left_out[4..].iter().all(|n| (n - 1000).abs() < 130));
        assert!(first[..4].iter().all(|n| (n - 500).abs() < 103));
        assert!(first[4..].iter().all(|n| (n - 333).abs() < 87));
    }

    #[test]
    fn coins_are_fair_and_differ_between_epochs_and_seeds() {
        let throw = |seed, epoch| {
            let mut coins = Coins::new(seed, epoch);
            (0..1000)
                .map(|image| coins.heads(image))
                .collect::<Vec<_>>()
        };
        let first = throw(3, 0);
        for other in [throw(3, 1), throw(4, 0)] {
            let agree = first.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((420..580).contains(&agree), "{agree}");
        }
        let heads = first.iter().filter(|&&heads| heads).count();
        assert!((420..580).contains(&heads), "{heads}");
    }

    proptest! {
        #[test]
        fn an_order_is_a_permutation(seed: u64, epoch: u64, len in 0_usize..300) {
            let mut order = permutation(seed, epoch, len);
            prop_assert_eq!(&order, &permutation(seed, epoch, len));
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..len));
        }

        #[test]
        fn groups_are_of_one_label_and_as_many_as_there_can_be(
            seed: u64,
            epoch: u64,
            labels in prop::collection::vec(0_u32..6, 0..60),
            each in 1_usize..5,
        ) {
            let mut order = grouped(seed, epoch, &labels, each);
            for group in order.chunks(each) {
                prop_assert_eq!(group.len(), each);
                prop_assert!(group.iter().all(|&image| labels[image] == labels[group[0]]));
            }
            let count = |label| labels.iter().filter(|&&other| other == label).count();
            let expected: usize = (0..6).map(|label| count(label) / each * each).sum();
            prop_assert_eq!(order.len(), expected);
            order.sort_unstable();
            order.dedup();
            prop_assert_eq!(order.len(), expected, "an image came twice");
        }

        #[test]
        fn a_coin_does_not_depend_on_those_thrown_before(
            seed: u64,
            epoch: u64,
            images in prop::collection::vec(0_usize..100_000, 1..20),
        ) {
            let mut coins = Coins::new(seed, epoch);
            for image in images {
                let alone = Coins::new(seed, epoch).heads(image);
                prop_assert_eq!(coins.heads(image), alone);
            }
        }
    }
}
