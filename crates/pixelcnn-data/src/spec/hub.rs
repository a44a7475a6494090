//! Data sets of the Hugging Face hub.

use std::fmt;

use super::options::Options;

/// A data set of the Hugging Face hub: Parquet files with PNG or JPEG pictures of one size, and
/// optionally labels.
///
/// ```
/// use pixelcnn_data::{DataSpec, HubSpec};
///
/// let spec: DataSpec = "hf:owner/name@v1,label=kind".parse()?;
/// let expected = HubSpec {
///     repository: "owner/name@v1".into(),
///     config: None,
///     split: None,
///     image: None,
///     label: Some("kind".into()),
/// };
/// assert_eq!(spec, DataSpec::Hub(expected));
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSpec {
    /// `OWNER/NAME` or `OWNER/NAME@REVISION`.
    pub repository: String,
    /// The configuration, if the data set has several.
    pub config: Option<String>,
    /// Use only this split of the data set, as the training images; without it, its splits
    /// train, validation and test.
    pub split: Option<String>,
    /// The column of the pictures; without it, the only one with pictures.
    pub image: Option<String>,
    /// The column of the labels; without it, `label` if there is one, otherwise all
    /// labels are 0.
    pub label: Option<String>,
}

/// Well-known data sets: a short name, and what follows `hf:` in the spec that it stands for.
const SHORT_NAMES: [(&str, &str); 4] = [
    ("cifar10", "uoft-cs/cifar10,image=img,label=label"),
    ("cifar100", "uoft-cs/cifar100,image=img,label=fine_label"),
    ("mnist", "ylecun/mnist,image=image,label=label"),
    (
        "fashion-mnist",
        "zalando-datasets/fashion_mnist,image=image,label=label",
    ),
];

/// What a short name stands for.
pub(super) fn of_short_name(name: &str) -> Option<&'static str> {
    let found = SHORT_NAMES.iter().find(|(short, _)| *short == name);
    found.map(|(_, long)| *long)
}

/// The text after `hf:` in a spec.
impl fmt::Display for HubSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        for (key, value) in [
            ("config", &self.config),
            ("split", &self.split),
            ("image", &self.image),
            ("label", &self.label),
        ] {
            if let Some(value) = value {
                write!(formatter, ",{key}={value}")?;
            }
        }
        Ok(())
    }
}

/// Parses the text after `hf:`; the error is only the reason. The name is checked further
/// when the hub is asked.
pub(super) fn parse(text: &str) -> Result<HubSpec, String> {
    let needs = "it needs the name of a data set: use hf:OWNER/NAME";
    let known = ["config=NAME", "split=NAME", "image=COLUMN", "label=COLUMN"];
    let options = Options::read(text, needs, &known)?;
    let repository = text.split(',').next().unwrap_or_default();
    if !repository.contains('/') {
        return Err(needs.into());
    }
    let value = |key| options.value(key).map(String::from);
    Ok(HubSpec {
        repository: repository.into(),
        config: value("config"),
        split: value("split"),
        image: value("image"),
        label: value("label"),
    })
}
