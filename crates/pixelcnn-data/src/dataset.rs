//! A data set in memory.

use crate::{DataError, Images, Split};

/// The three splits of a data set, and the names of its classes.
///
/// ```
/// use pixelcnn_data::{Split, load};
///
/// let dataset = load(&"photos32".parse()?)?;
/// assert_eq!(dataset.classes[dataset.train.labels()[0] as usize].is_empty(), false);
/// assert_eq!(dataset.split(Split::Test)?.len(), 512);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The spec that the data set was loaded from, as text.
    pub name: String,
    /// The images that a model learns from.
    pub train: Images,
    /// The images that settings are chosen by; may be empty.
    pub valid: Images,
    /// The images that results are reported on; may be empty.
    pub test: Images,
    /// The name of each class, in the order of the labels; empty where the
    /// data set names none.
    pub classes: Vec<String>,
}

impl Dataset {
    /// The images of one split.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptySplit`] where the split holds no images; its message
    /// says how to give it some.
    pub fn split(&self, split: Split) -> Result<&Images, DataError> {
        let images = match split {
            Split::Train => &self.train,
            Split::Valid => &self.valid,
            Split::Test => &self.test,
        };
        if images.is_empty() {
            return Err(DataError::EmptySplit {
                dataset: self.name.clone(),
                split,
            });
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbered;

    fn dataset() -> Dataset {
        Dataset {
            name: "records:a.bin".into(),
            train: numbered(3, (1, 1, 1)),
            valid: numbered(0, (1, 1, 1)),
            test: numbered(2, (1, 1, 1)),
            classes: Vec::new(),
        }
    }

    #[test]
    fn a_split_is_its_own_images() {
        let dataset = dataset();
        assert_eq!(dataset.split(Split::Train).unwrap().len(), 3);
        assert_eq!(dataset.split(Split::Test).unwrap().len(), 2);
    }

    #[test]
    fn an_empty_split_says_how_to_give_one() {
        let mut dataset = dataset();
        let message = dataset.split(Split::Valid).unwrap_err().to_string();
        for part in ["records:a.bin", "valid split", "valid=FILE"] {
            assert!(message.contains(part), "{message}");
        }
        dataset.test = numbered(0, (1, 1, 1));
        let message = dataset.split(Split::Test).unwrap_err().to_string();
        assert!(message.contains("test=FILE"), "{message}");
    }
}
