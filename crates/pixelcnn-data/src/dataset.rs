//! A data set: three splits, each opened at its first use.

use std::fmt;
use std::sync::Arc;

use crate::lazy::Lazy;
use crate::{DataError, Images, Split};

/// The three splits of a data set, and the names of its classes.
///
/// A split is opened at its first use. So an evaluation on the test split reads no training
/// file, and does not notice a missing or broken one. [`Dataset::opened`] opens all splits.
///
/// ```
/// use pixelcnn_data::{Split, load};
///
/// let dataset = load(&"photos32".parse()?)?;
/// let train = dataset.split(Split::Train)?;
/// assert_eq!(dataset.classes[train.labels()[0] as usize].is_empty(), false);
/// assert_eq!(dataset.split(Split::Test)?.len(), 512);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    /// The spec that the data set was loaded from, as text.
    pub name: String,
    /// The name of each class, in the order of the labels; empty if the
    /// data set has no class names.
    pub classes: Vec<String>,
    splits: [Lazy<Images>; 3],
}

/// The order of splits in arrays.
const SPLITS: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

impl Dataset {
    /// A data set of training, validation and test images. The last two may be
    /// empty.
    ///
    /// ```
    /// use pixelcnn_data::{Dataset, Images, Split};
    ///
    /// let images = Images::new((1, 1, 1), vec![10, 20], vec![0, 1])?;
    /// let splits = [images.clone(), images.first(0), images];
    /// let dataset = Dataset::new("made up", vec!["cat".into(), "dog".into()], splits);
    /// assert_eq!(dataset.split(Split::Test)?.len(), 2);
    /// assert!(dataset.split(Split::Valid).is_err());
    /// assert!(dataset.images(Split::Valid)?.is_empty());
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    pub fn new(name: impl Into<String>, classes: Vec<String>, splits: [Images; 3]) -> Self {
        let [train, valid, test] = splits;
        Self::lazy(name, classes, move |split| {
            Ok(match split {
                Split::Train => train.clone(),
                Split::Valid => valid.clone(),
                Split::Test => test.clone(),
            })
        })
    }

    /// A data set that calls `open` at the first use of each split.
    ///
    /// ```
    /// use pixelcnn_data::{Dataset, Images, Split};
    ///
    /// let open = |split| {
    ///     println!("opening {split}");
    ///     Images::new((1, 1, 1), vec![7], vec![0])
    /// };
    /// let dataset = Dataset::lazy("made up", vec![], open);
    /// assert_eq!(dataset.split(Split::Test)?.len(), 1); // prints "opening test" alone
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    pub fn lazy(
        name: impl Into<String>,
        classes: Vec<String>,
        open: impl Fn(Split) -> Result<Images, DataError> + Send + Sync + 'static,
    ) -> Self {
        let open = Arc::new(open);
        let splits = SPLITS.map(|split| {
            let open = Arc::clone(&open);
            Lazy::new(move || open(split))
        });
        Self {
            name: name.into(),
            classes,
            splits,
        }
    }

    /// The images of a split that must not be empty.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptySplit`] if the split has no images; its message
    /// says how to provide some. Otherwise as [`Dataset::images`].
    pub fn split(&self, split: Split) -> Result<&Images, DataError> {
        let images = self.images(split)?;
        if images.is_empty() {
            return Err(DataError::EmptySplit {
                dataset: self.name.clone(),
                split,
            });
        }
        Ok(images)
    }

    /// The images of a split, which may be empty.
    ///
    /// # Errors
    ///
    /// If the split cannot be opened, because a file is missing, unreadable, empty or
    /// truncated, or has a label without a class. The message has the file and the
    /// position.
    pub fn images(&self, split: Split) -> Result<&Images, DataError> {
        self.lazily(split).get()
    }

    fn lazily(&self, split: Split) -> &Lazy<Images> {
        let [train, valid, test] = &self.splits;
        match split {
            Split::Train => train,
            Split::Valid => valid,
            Split::Test => test,
        }
    }

    /// The same data set with all splits open.
    ///
    /// # Errors
    ///
    /// As [`Dataset::images`], of any split.
    pub fn opened(self) -> Result<Self, DataError> {
        for split in SPLITS {
            self.images(split)?;
        }
        Ok(self)
    }

    /// The same data set with other images in one split.
    pub fn with_split(&self, split: Split, images: Images) -> Self {
        let mut splits = self.splits.clone();
        let [train, valid, test] = &mut splits;
        let place = match split {
            Split::Train => train,
            Split::Valid => valid,
            Split::Test => test,
        };
        *place = Lazy::new(move || Ok(images.clone()));
        Self {
            name: self.name.clone(),
            classes: self.classes.clone(),
            splits,
        }
    }

    /// The same data set with `act` applied to the images of each split at its first use.
    /// That use returns the errors of `act`.
    ///
    /// ```
    /// use pixelcnn_data::{Split, load};
    ///
    /// let small = load(&"photos32".parse()?)?.map(|images| images.shrunk(4)?.with_bits(5));
    /// let test = small.split(Split::Test)?;
    /// assert_eq!((test.shape(), test.levels()), ((3, 8, 8), 32));
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    pub fn map(
        self,
        act: impl Fn(Images) -> Result<Images, DataError> + Send + Sync + 'static,
    ) -> Self {
        let before = self.splits;
        let open = move |split| {
            let [train, valid, test] = &before;
            let images = match split {
                Split::Train => train,
                Split::Valid => valid,
                Split::Test => test,
            };
            act(images.get()?.clone())
        };
        Self::lazy(self.name, self.classes, open)
    }

    /// The same data set with labels in the order of `names`: the label of each
    /// class becomes the position of its name.
    ///
    /// ```
    /// use pixelcnn_data::{Dataset, Images, Split};
    ///
    /// let images = Images::new((1, 1, 1), vec![10, 20], vec![0, 1])?;
    /// let splits = [images.clone(), images.clone(), images];
    /// let dataset = Dataset::new("made up", vec!["cat".into(), "dog".into()], splits);
    /// let names = ["bird", "cat", "dog"].map(String::from);
    /// let matched = dataset.clone().with_classes(&names)?;
    /// assert_eq!(matched.split(Split::Test)?.labels(), [1, 2]);
    /// assert_eq!(matched.classes, names);
    /// let matched = dataset.with_classes(&names[..2])?;
    /// assert!(matched.split(Split::Test).is_err()); // dogs are not known
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::UnnamedClasses`] if the data set has no class names. If an image has a
    /// class that is not in `names`, the use of its split fails with
    /// [`DataError::UnknownClasses`].
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
        let matching = Matching {
            dataset: self.name.clone(),
            classes: self.classes.clone(),
            names: names.to_vec(),
        };
        let relabelled = self.map(move |images| matching.relabelled(images));
        Ok(Self {
            classes: names.to_vec(),
            ..relabelled
        })
    }
}

/// The name, the classes, and the open splits.
impl fmt::Debug for Dataset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Dataset");
        shown
            .field("name", &self.name)
            .field("classes", &self.classes);
        for split in SPLITS {
            if let Some(images) = self.lazily(split).made() {
                shown.field(&split.to_string(), images);
            }
        }
        shown.finish_non_exhaustive()
    }
}

/// The positions of class names in another list of names.
struct Matching {
    dataset: String,
    classes: Vec<String>,
    names: Vec<String>,
}

impl Matching {
    fn relabelled(&self, images: Images) -> Result<Images, DataError> {
        let place = |name| self.names.iter().position(|known| known == name);
        let places: Vec<Option<usize>> = self.classes.iter().map(place).collect();
        let place = |label: u32| places.get(label as usize).copied().flatten();
        let mut unknown = Vec::new();
        let mut labels = Vec::with_capacity(images.len());
        for &label in images.labels() {
            match place(label) {
                Some(place) => labels.push(place as u32),
                None => {
                    let name = self.classes.get(label as usize);
                    let name = name.cloned().unwrap_or_else(|| format!("label {label}"));
                    if !unknown.contains(&name) {
                        unknown.push(name);
                    }
                }
            }
        }
        match unknown.is_empty() {
            true => images.with_labels(labels),
            false => Err(DataError::UnknownClasses {
                dataset: self.dataset.clone(),
                unknown,
                known: self.names.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::numbered;

    fn dataset() -> Dataset {
        let splits = [3, 0, 2].map(|images| numbered(images, (1, 1, 1)));
        Dataset::new("records:a.bin", Vec::new(), splits)
    }

    #[test]
    fn a_split_is_its_own_images() {
        let dataset = dataset();
        assert_eq!(dataset.split(Split::Train).unwrap().len(), 3);
        assert_eq!(dataset.split(Split::Test).unwrap().len(), 2);
    }

    #[test]
    fn an_empty_split_says_how_to_give_one() {
        let dataset = dataset();
        let message = dataset.split(Split::Valid).unwrap_err().to_string();
        for part in ["records:a.bin", "valid split", "valid=FILE"] {
            assert!(message.contains(part), "{message}");
        }
        let dataset = dataset.with_split(Split::Test, numbered(0, (1, 1, 1)));
        let message = dataset.split(Split::Test).unwrap_err().to_string();
        assert!(message.contains("test=FILE"), "{message}");
        assert_eq!(dataset.split(Split::Train).unwrap().len(), 3);
    }

    #[test]
    fn a_split_is_opened_once_and_no_other_with_it() {
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let dataset = Dataset::lazy("made up", Vec::new(), move |split| {
            assert_eq!(split, Split::Test);
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(numbered(5, (1, 2, 2)))
        });
        let small = dataset.clone().map(|images| images.shrunk(2));
        assert_eq!(opened.load(Ordering::Relaxed), 0);
        for _ in 0..2 {
            assert_eq!(small.split(Split::Test).unwrap().shape(), (1, 1, 1));
            assert_eq!(dataset.split(Split::Test).unwrap().shape(), (1, 2, 2));
        }
        assert_eq!(opened.load(Ordering::Relaxed), 1);
    }
}
