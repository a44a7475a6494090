//! The identity of a data set, to detect changes.

use pixelcnn_system::counted;
use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{DataError, Dataset, Images, Split};

/// The identity of a data set: for each split the number of images, their shape and
/// a checksum, and the names of the classes. Two data sets with the same identity have
/// the same data, wherever they are stored.
///
/// ```
/// use pixelcnn_data::{Split, load};
///
/// let dataset = load(&"photos32".parse()?)?;
/// let identity = dataset.identity()?;
/// assert_eq!(identity.train.images, 2048);
/// assert_eq!(identity.difference(&identity), None);
///
/// let fewer = dataset.images(Split::Valid)?.first(255);
/// let changed = dataset.with_split(Split::Valid, fewer);
/// let difference = identity.difference(&changed.identity()?).unwrap();
/// assert_eq!(difference, "valid: 256 images then, 255 now");
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIdentity {
    /// The names of the classes in the order of the labels; empty if the
    /// data set has no class names.
    pub classes: Vec<String>,
    /// The training images.
    pub train: SplitIdentity,
    /// The validation images.
    pub valid: SplitIdentity,
    /// The test images.
    pub test: SplitIdentity,
}

/// The identity of a split.
///
/// ```
/// use pixelcnn_data::Images;
///
/// let identity = Images::new((1, 1, 1), vec![1, 2, 3], vec![0, 2, 2])?.identity()?;
/// assert_eq!((identity.images, identity.labels), (3, vec![1, 0, 2]));
/// assert_eq!(identity.checksum, "a47670dd1a1c847562b3d9950abed821");
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitIdentity {
    /// Number of images.
    pub images: usize,
    /// Channels, height and width.
    pub shape: (usize, usize, usize),
    /// Number of levels.
    #[serde(default = "of_a_byte", skip_serializing_if = "is_of_a_byte")]
    pub levels: usize,
    /// Number of images of each label, from 0 to the largest label; empty if that is above
    /// 65,535.
    pub labels: Vec<usize>,
    /// XXH3 with 128 bits, in hexadecimal, of all values (two bytes each, little-endian, if
    /// there are more than 256 levels), all labels as 32 bits little-endian, and each
    /// caption with a line break.
    pub checksum: String,
}

/// Labels of images that are no classes, such as numbers of users, may be far larger than their
/// number.
const MOST_COUNTED: usize = 1 << 16;

fn of_a_byte() -> usize {
    256
}

fn is_of_a_byte(levels: &usize) -> bool {
    *levels == of_a_byte()
}

impl DataIdentity {
    /// The first difference to `now`, in words; `None` if there is no
    /// difference.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let splits = [Split::Train, Split::Valid, Split::Test];
        let differing = |split| self.split_difference(split, now.split(split));
        self.class_difference(&now.classes)
            .or_else(|| splits.into_iter().find_map(differing))
    }

    /// The difference in the names of the classes, in words.
    pub fn class_difference(&self, now: &[String]) -> Option<String> {
        let (then, other) = (Names(&self.classes), Names(now));
        (self.classes != now).then(|| format!("classes: {then} then, {other} now"))
    }

    /// The first difference in one split, in words. The other splits need not be read.
    pub fn split_difference(&self, split: Split, now: &SplitIdentity) -> Option<String> {
        Some(format!("{split}: {}", self.split(split).difference(now)?))
    }

    /// One of the splits.
    pub fn split(&self, split: Split) -> &SplitIdentity {
        match split {
            Split::Train => &self.train,
            Split::Valid => &self.valid,
            Split::Test => &self.test,
        }
    }
}

impl SplitIdentity {
    fn difference(&self, now: &Self) -> Option<String> {
        if self == now {
            return None;
        }
        Some(if self.images != now.images {
            format!("{} then, {} now", counted(self.images, "image"), now.images)
        } else if self.shape != now.shape {
            let text = |(c, h, w)| format!("{c} channels, {h} x {w}");
            format!("{} then, {} now", text(self.shape), text(now.shape))
        } else if self.levels != now.levels {
            format!("{} levels then, {} now", self.levels, now.levels)
        } else if self.labels != now.labels {
            "the number of images per label differs".to_string()
        } else {
            let (then, now) = (&self.checksum, &now.checksum);
            format!(
                "the number of images is the same, but values, labels or captions differ: checksum {then} then, {now} now"
            )
        })
    }
}

/// Class names for a message.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => formatter.write_str("no names"),
            names => write!(formatter, "{}", names.join(", ")),
        }
    }
}

impl Images {
    /// The identity of these images. Reads all values, some megabytes at a time.
    ///
    /// # Errors
    ///
    /// As [`Images::read`].
    pub fn identity(&self) -> Result<SplitIdentity, DataError> {
        let largest = self.labels().iter().max();
        let count = largest.map_or(0, |largest| *largest as usize + 1);
        let mut labels = match count <= MOST_COUNTED {
            true => vec![0; count],
            false => Vec::new(),
        };
        let mut hash = Xxh3::new();
        for values in self.blocks() {
            values?.bytes(|bytes| hash.update(bytes));
        }
        for &label in self.labels() {
            hash.update(&label.to_le_bytes());
            if let Some(count) = labels.get_mut(label as usize) {
                *count += 1;
            }
        }
        for caption in self.captions() {
            hash.update(caption.as_bytes());
            hash.update(b"\n");
        }
        Ok(SplitIdentity {
            images: self.len(),
            shape: self.shape(),
            levels: self.levels(),
            labels,
            checksum: format!("{:032x}", hash.digest128()),
        })
    }
}

impl Dataset {
    /// The identity of this data set. Opens and reads all splits.
    ///
    /// # Errors
    ///
    /// If a split cannot be opened or read.
    pub fn identity(&self) -> Result<DataIdentity, DataError> {
        let of = |split| self.images(split)?.identity();
        Ok(DataIdentity {
            classes: self.classes.clone(),
            train: of(Split::Train)?,
            valid: of(Split::Valid)?,
            test: of(Split::Test)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbered;

    #[test]
    fn every_value_label_and_caption_counts() {
        let of = |values: Vec<u8>, labels: Vec<u32>, captions: [&str; 2]| {
            let images = Images::new((1, 1, 2), values, labels).unwrap();
            let captions = captions.map(String::from).to_vec();
            images.with_captions(captions).unwrap().identity().unwrap()
        };
        let one = of(vec![1, 2, 3, 4], vec![1, 0], ["a", "b"]);
        assert_eq!(one, of(vec![1, 2, 3, 4], vec![1, 0], ["a", "b"]));
        for other in [
            of(vec![1, 2, 4, 3], vec![1, 0], ["a", "b"]),
            of(vec![1, 2, 3, 4], vec![0, 1], ["a", "b"]),
            of(vec![1, 2, 3, 4], vec![1, 0], ["a", "c"]),
            of(vec![1, 2, 3, 4], vec![1, 0], ["a\nb", ""]),
        ] {
            assert_ne!(one.checksum, other.checksum);
            assert!(one.difference(&other).unwrap().contains("checksum"));
        }
    }

    #[test]
    fn labels_are_counted_up_to_a_limit() {
        let of = |labels: Vec<u32>| {
            let images = Images::new((1, 1, 1), vec![0; labels.len()], labels).unwrap();
            images.identity().unwrap()
        };
        assert_eq!(of(vec![65_535, 0]).labels.len(), 1 << 16);
        let (one, other) = (of(vec![65_536, 0]), of(vec![u32::MAX, 0]));
        assert!(one.labels.is_empty() && other.labels.is_empty());
        assert_ne!(one.checksum, other.checksum);
    }

    #[test]
    fn differences_are_described() {
        let splits = [3, 0, 2].map(|images| numbered(images, (1, 1, 1)));
        let dataset = Dataset::new("made up", vec!["cat".into(), "dog".into()], splits);
        let identity = dataset.identity().unwrap();
        let mut other = dataset.clone();
        other.classes = vec![];
        let said = identity.difference(&other.identity().unwrap());
        assert_eq!(said.unwrap(), "classes: cat, dog then, no names now");
        let other = dataset.with_split(Split::Test, numbered(2, (1, 1, 2)));
        let said = identity.difference(&other.identity().unwrap()).unwrap();
        assert_eq!(said, "test: 1 channels, 1 x 1 then, 1 channels, 1 x 2 now");
        let text = serde_json::to_string(&identity).unwrap();
        assert_eq!(
            serde_json::from_str::<DataIdentity>(&text).unwrap(),
            identity
        );
    }
}
