//! Verification: how well an embedding decides whether two images have the same label.

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Images;
use pixelcnn_models::{EmbeddingNetwork, triplet_loss};
use pixelcnn_system::check_memory;

use crate::evaluate::{Watch, all_of, finite, for_each_batch};
use crate::objective::{Objective, Scoring, Step};
use crate::{Loss, Result, TrainError};

/// The squared distances of all pairs of images, and whether each pair has the same
/// label.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Pairs;
///
/// let pairs = Pairs::new(vec![(0.1, true), (0.3, false), (0.2, true), (0.9, false)])?;
/// assert_eq!(pairs.area_under_curve(), 1.0);
/// let threshold = pairs.best_threshold();
/// assert!((0.2..0.3).contains(&threshold));
/// assert_eq!(pairs.accuracy(threshold), 1.0);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Sorted by distance.
    pairs: Vec<(f64, bool)>,
    same: f64,
    different: f64,
}

impl Pairs {
    /// From squared distances, each with whether the images have the same label.
    ///
    /// # Errors
    ///
    /// If there are no pairs of one label, or no pairs of two labels, or a distance is
    /// NaN.
    pub fn new(mut pairs: Vec<(f64, bool)>) -> Result<Self> {
        let same = pairs.iter().filter(|pair| pair.1).count();
        let different = pairs.len() - same;
        let refused = |why: String| TrainError::Invalid {
            what: "verification".to_string(),
            why,
        };
        if same == 0 || different == 0 {
            let found = format!("{same} pairs of one label and {different} of two");
            return Err(refused(format!("{found}: both are needed")));
        }
        if let Some(pair) = pairs.iter().position(|pair| pair.0.is_nan()) {
            let why = format!("the distance of pair {pair} (from 0) is not a number");
            return Err(refused(why));
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Self {
            pairs,
            same: same as f64,
            different: different as f64,
        })
    }

    /// All pairs of images by their embeddings, `batch` images at a time.
    ///
    /// # Errors
    ///
    /// If the images do not fit the network, their pairs do not fit into memory, or as
    /// [`Pairs::new`].
    pub fn from_network(network: &EmbeddingNetwork, images: &Images, batch: usize) -> Result<Self> {
        check_pairs(images.len())?;
        Self::between(&embeddings(network, images, batch)?, images)
    }

    /// All pairs of images with these embeddings `[n, d]`, f64.
    pub(crate) fn between(embeddings: &Tensor, images: &Images) -> Result<Self> {
        let embeddings = embeddings.to_vec2::<f64>()?;
        let labels = images.labels();
        let mut pairs = Vec::with_capacity(labels.len() * labels.len().saturating_sub(1) / 2);
        for (first, a) in embeddings.iter().enumerate() {
            for (second, b) in embeddings.iter().enumerate().skip(first + 1) {
                let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
                pairs.push((distance, labels[first] == labels[second]));
            }
        }
        Self::new(pairs)
    }

    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.pairs.len()
    }

    /// The area under the ROC curve: the probability that a pair of one label is closer
    /// than a pair of two labels; a tie counts half.
    pub fn area_under_curve(&self) -> f64 {
        let mut closer = 0.0;
        let mut same_so_far = 0.0;
        for tie in self.pairs.chunk_by(|a, b| a.0 == b.0) {
            let same = tie.iter().filter(|pair| pair.1).count() as f64;
            let different = tie.len() as f64 - same;
            closer += different * (same_so_far + same / 2.0);
            same_so_far += same;
        }
        closer / (self.same * self.different)
    }

    /// The mean of two shares: pairs of one label within `threshold`, and
    /// pairs of two labels beyond it. This is the accuracy if both are equally frequent.
    pub fn accuracy(&self, threshold: f64) -> f64 {
        let count = |same: bool, within: bool| {
            let wanted = |pair: &&(f64, bool)| pair.1 == same && (pair.0 <= threshold) == within;
            self.pairs.iter().filter(wanted).count() as f64
        };
        (count(true, true) / self.same + count(false, false) / self.different) / 2.0
    }

    /// The threshold with the highest [`Pairs::accuracy`], halfway between two
    /// distances.
    pub fn best_threshold(&self) -> f64 {
        let (mut within, mut wrong) = (0.0, 0.0);
        let mut best = (f64::NEG_INFINITY, 0.0);
        for (index, (distance, same)) in self.pairs.iter().enumerate() {
            match same {
                true => within += 1.0,
                false => wrong += 1.0,
            }
            let next = self.pairs.get(index + 1).map_or(*distance, |pair| pair.0);
            let score = within / self.same - wrong / self.different;
            if score > best.0 && (next > *distance || index + 1 == self.pairs.len()) {
                best = (score, (distance + next) / 2.0);
            }
        }
        best.1
    }
}

/// Refuses a number of images whose pairs do not fit into memory.
pub(crate) fn check_pairs(images: usize) -> Result<()> {
    let pairs = images as u128 * images.saturating_sub(1) as u128 / 2;
    // The sort needs half as much again.
    let bytes = pairs.saturating_mul(3 * size_of::<(f64, bool)>() as u128 / 2);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    check_memory(format!("all pairs of {images} images"), bytes).map_err(|error| {
        TrainError::Invalid {
            what: "images".to_string(),
            why: format!("{error}: fewer images need less memory"),
        }
    })
}

/// The embeddings of images, `[n, d]`, f64, on the CPU.
///
/// # Errors
///
/// If there are no images, or they do not fit the network.
pub fn embeddings(network: &EmbeddingNetwork, images: &Images, batch: usize) -> Result<Tensor> {
    let all = all_of(|watch| embeddings_until(network, images, batch, watch))?;
    Ok(Tensor::cat(&all, 0)?)
}

/// The same, batch by batch; `None` if `watch` ended it.
fn embeddings_until(
    network: &EmbeddingNetwork,
    images: &Images,
    batch: usize,
    watch: &mut Watch,
) -> Result<Option<Vec<Tensor>>> {
    let mut all = Vec::new();
    for_each_batch(images, batch, watch, |batch| {
        let embeddings = network.forward(&batch.values)?;
        finite(&embeddings)?;
        // Not every device has f64.
        all.push(embeddings.to_device(&Device::Cpu)?.to_dtype(DType::F64)?);
        Ok(())
    })
    .map(|done| done.then_some(all))
}

/// Loss: the triplet loss with this margin. Score: the area above the ROC curve.
pub(crate) struct Verification<'a>(pub &'a EmbeddingNetwork, pub f64);

impl Objective for Verification<'_> {
    fn loss(&self, step: &Step) -> Result<Loss> {
        let embeddings = self.0.forward(&step.batch.values)?;
        Ok(triplet_loss(&embeddings, &step.batch.labels, self.1)?.into())
    }

    fn score(&self, scoring: &Scoring, watch: &mut Watch) -> Result<Option<f64>> {
        let images = scoring.conditioned.images();
        let Some(all) = embeddings_until(self.0, images, scoring.batch, watch)? else {
            return Ok(None);
        };
        let pairs = Pairs::between(&Tensor::cat(&all, 0)?, images)?;
        Ok(Some(1.0 - pairs.area_under_curve()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let pairs = |distances: &[(f64, bool)]| Pairs::new(distances.to_vec()).unwrap();
        let mixed = pairs(&[(0.1, true), (0.2, false), (0.3, true), (0.4, false)]);
        assert_eq!(mixed.area_under_curve(), 0.75);
        let ties = pairs(&[(0.5, true), (0.5, false), (0.5, false)]);
        assert_eq!(ties.area_under_curve(), 0.5);
        let wrong = pairs(&[(0.9, true), (0.1, false)]);
        assert_eq!(wrong.area_under_curve(), 0.0);
        assert!(Pairs::new(vec![(0.1, true)]).is_err());
    }

    #[test]
    fn the_best_threshold_weighs_both_kinds_alike() {
        let pairs = Pairs::new(vec![
            (0.1, true),
            (0.2, true),
            (0.3, false),
            (0.4, true),
            (0.5, false),
            (0.6, false),
            (0.7, false),
        ]);
        let pairs = pairs.unwrap();
        let threshold = pairs.best_threshold();
        assert!((threshold - 0.45).abs() < 1e-12, "{threshold}");
        assert_eq!(pairs.accuracy(threshold), (1.0 + 0.75) / 2.0);
    }
}
