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
    /// The images for choosing settings; may be empty.
    pub valid: Images,
    /// The images for reporting results; may be empty.
    pub test: Images,
    /// The name of each class, in the order of the labels; empty if the
    /// data set has no class names.
    pub classes: Vec<String>,
}

impl Dataset {
    /// The images of one split.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptySplit`] if the split has no images; its message
    /// says how to add some.
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

    /// The same data set with a function applied to the images of each split.
    ///
    /// ```
    /// use pixelcnn_data::load;
    ///
    /// let small = load(&"photos32".parse()?)?.map(|images| images.shrunk(4)?.with_bits(5))?;
    /// assert_eq!((small.test.shape(), small.test.levels()), ((3, 8, 8), 32));
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Errors of `act`.
    pub fn map(self, act: impl Fn(Images) -> Result<Images, DataError>) -> Result<Self, DataError> {
        Ok(Self {
            train: act(self.train)?,
            valid: act(self.valid)?,
            test: act(self.test)?,
            ..self
        })
    }

    /// The same data set with labels in the order of `names`: the label of each
    /// class becomes the position of its name.
    ///
    /// ```
    /// use pixelcnn_data::{Dataset, Images};
    ///
    /// let images = Images::new((1, 1, 1), vec![10, 20], vec![0, 1])?;
    /// let dataset = Dataset {
    ///     name: "made up".into(),
    ///     train: images.clone(),
    ///     valid: images.clone(),
    ///     test: images,
    ///     classes: vec!["cat".into(), "dog".into()],
    /// };
    /// let names = ["bird", "cat", "dog"].map(String::from);
    /// let matched = dataset.clone().with_classes(&names)?;
    /// assert_eq!(matched.test.labels(), [1, 2]);
    /// assert_eq!(matched.classes, names);
    /// assert!(dataset.with_classes(&names[..2]).is_err()); // dogs are not known
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::UnnamedClasses`] if the data set has no class names,
    /// [`DataError::UnknownClasses`] if an image has a class that is not
    /// in `names`.
    pub fn with_classes(self, names: &[String]) -> Result<Self, DataError> {
        if self.classes == names {
            return Ok(self);
        }
        if self.classes.is_empty() {
            return Err(DataError::UnnamedClasses {
                dataset: self.name,
                known: names.to_vec(),
            });
        }
        let place = |name| names.iter().position(|known| known == name);
        let places: Vec<Option<usize>> = self.classes.iter().map(place).collect();
        let unknown = self.unknown(&places);
        if !unknown.is_empty() {
            return Err(DataError::UnknownClasses {
                dataset: self.name,
                unknown,
                known: names.to_vec(),
            });
        }
        let relabelled = |images: Images| {
            let labels = images.labels().iter();
            let labels = labels.filter_map(|&label| places.get(label as usize).copied().flatten());
            let labels = labels.map(|place| place as u32).collect();
            images.with_labels(labels)
        };
        Ok(Self {
            name: self.name,
            train: relabelled(self.train)?,
            valid: relabelled(self.valid)?,
            test: relabelled(self.test)?,
            classes: names.to_vec(),
        })
    }

    /// The classes with images but without a place.
    fn unknown(&self, places: &[Option<usize>]) -> Vec<String> {
        let mut unknown = Vec::new();
        for images in [&self.train, &self.valid, &self.test] {
            for &label in images.labels() {
                if places.get(label as usize).copied().flatten().is_none() {
                    let name = self.classes.get(label as usize);
                    let name = name.cloned().unwrap_or_else(|| format!("label {label}"));
                    if !unknown.contains(&name) {
                        unknown.push(name);
                    }
                }
            }
        }
        unknown
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
