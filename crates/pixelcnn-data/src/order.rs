//! The random numbers behind batches.
//!
//! Each is addressed, not drawn in turn: the same seed, epoch and image give
//! the same number in whatever order they are asked for. The arithmetic on
//! top of the ChaCha stream is written out here, so that a newer version of a
//! library of random numbers changes no run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What random numbers are for; two purposes share none.
#[derive(Clone, Copy)]
enum Purpose {
    Order,
    Flip,
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

/// The order of `len` images in an epoch: a permutation, each as likely.
pub(crate) fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut numbers = stream(seed, Purpose::Order, epoch);
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, below(&mut numbers, last + 1));
    }
    order
}

/// A number below `bound`. The bias of the scaled product is `bound` / 2^64,
/// too little to be seen.
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

    /// The numbers come from a ChaCha8 written apart from this program. A run
    /// that is resumed with a newer version must see the same order.
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
