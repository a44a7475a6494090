//! `emoji32`, the emoji with captions that come with the source.

use std::collections::BTreeMap;
use std::path::Path;

use crate::spec::DEFAULT_SIDE;
use crate::table::Table;
use crate::{DataError, Dataset, EmojiLabels, Images, Loading, RecordsSpec, Split};

use super::{fixtures, records};

/// The files of records, in the order of the splits.
const RECORDS: [&str; 3] = ["train.bin.gz", "valid.bin.gz", "test.bin.gz"];
/// The column of captions.
const NAME: &str = "name";
/// The column of the emoji without its colour.
const BASE: &str = "base";
/// The column of the colour: 0 for the emoji's own, 1 to 5 for the skin tones.
const VARIANT: &str = "variant";

pub(super) fn load(
    name: String,
    labels: EmojiLabels,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    let folder = fixtures::find("emoji32")?;
    let dataset = records::load(name, &spec(&folder), loading)?;
    match labels {
        EmojiLabels::Category => Ok(dataset),
        EmojiLabels::Identity => identities(&folder, dataset),
    }
}

fn spec(folder: &Path) -> RecordsSpec {
    let [train, valid, test] = RECORDS.map(|name| folder.join(name));
    RecordsSpec {
        train,
        valid: Some(valid),
        test: Some(test),
        classes: Some(folder.join("classes.txt")),
        captions: Some(NAME.into()),
        side: DEFAULT_SIDE,
    }
}

/// The emoji that exist in several colours, labelled by emoji. The labels continue from the
/// training split to the validation and the test split. So all splits are opened; they are
/// small.
fn identities(folder: &Path, dataset: Dataset) -> Result<Dataset, DataError> {
    let mut classes = Vec::new();
    let [train, valid, test] = RECORDS.map(|name| folder.join(name));
    let splits = [
        identities_of(&train, dataset.images(Split::Train)?, &mut classes)?,
        identities_of(&valid, dataset.images(Split::Valid)?, &mut classes)?,
        identities_of(&test, dataset.images(Split::Test)?, &mut classes)?,
    ];
    Ok(Dataset::new(dataset.name, classes, splits))
}

/// The labels of one split; appends the name of each emoji to `classes`.
fn identities_of(
    records: &Path,
    images: &Images,
    classes: &mut Vec<String>,
) -> Result<Images, DataError> {
    let table = Table::of_records(records, images.len())?;
    let (bases, variants) = (table.column(BASE)?, table.column(VARIANT)?);
    let mut counts = BTreeMap::<&str, usize>::new();
    for base in &bases {
        *counts.entry(base).or_default() += 1;
    }
    let several = |index: &usize| counts.get(bases[*index].as_str()) > Some(&1);
    let indices: Vec<usize> = (0..images.len()).filter(several).collect();
    let mut label_of = BTreeMap::<&str, u32>::new();
    for &index in indices.iter().filter(|&&index| variants[index] == "0") {
        label_of.insert(&bases[index], classes.len() as u32);
        classes.push(images.captions()[index].clone());
    }
    let mut labels = Vec::with_capacity(indices.len());
    for &index in &indices {
        let label = label_of.get(bases[index].as_str());
        labels.push(*label.ok_or_else(|| {
            let reason = format!("no line has {} with variant 0", bases[index]);
            table.error_of_record(index, reason)
        })?);
    }
    images.select(&indices)?.with_labels(labels)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{DataSpec, load};

    fn loaded(labels: EmojiLabels) -> Dataset {
        load(&DataSpec::Emoji32 { labels }).unwrap()
    }

    #[test]
    fn the_set_is_complete() {
        let dataset = loaded(EmojiLabels::Category);
        assert_eq!(dataset.name, "emoji32");
        let splits = dataset.all();
        assert_eq!(splits.map(|images| images.len()), [1225, 121, 195]);
        assert!(splits.iter().all(|images| images.shape() == (3, 32, 32)));
        assert_eq!(dataset.classes.len(), 10);
        assert_eq!(dataset.classes[6], "People & Body");
        for images in splits {
            assert_eq!(images.captions().len(), images.len());
            assert!(images.captions().iter().all(|caption| !caption.is_empty()));
        }
        assert_eq!(dataset.train().captions()[0], "keycap 0");
    }

    /// The code points of an emoji without presentation and sex, because a man, a woman and
    /// a person with the same activity look alike.
    fn family(base: &str) -> String {
        let parts = base.split('-').filter(|&part| part != "FE0F");
        let person = |part| match part {
            "1F468" | "1F469" => "1F9D1",
            other => other,
        };
        let text = parts.map(person).collect::<Vec<_>>().join("-");
        text.replace("-200D-2640", "").replace("-200D-2642", "")
    }

    #[test]
    fn no_emoji_and_no_picture_is_in_two_splits() {
        let folder = fixtures::find("emoji32").unwrap();
        let dataset = loaded(EmojiLabels::Category);
        let mut split_of = BTreeMap::new();
        let mut pictures = BTreeSet::new();
        let splits = dataset.all();
        for (name, images) in RECORDS.iter().zip(splits) {
            let table = Table::of_records(&folder.join(name), images.len()).unwrap();
            for (index, base) in table.column(BASE).unwrap().into_iter().enumerate() {
                assert_eq!(split_of.entry(family(&base)).or_insert(name), &name);
                assert!(pictures.insert(images.image(index)), "{name} {index}");
            }
        }
    }

    #[test]
    fn an_identity_is_one_emoji_in_six_colours() {
        let dataset = loaded(EmojiLabels::Identity);
        assert_eq!(dataset.name, "emoji32:identities");
        assert_eq!(dataset.classes.len(), 105);
        let splits = dataset.all();
        assert_eq!(splits.map(|images| images.len()), [6 * 82, 6 * 8, 6 * 15]);
        let mut counts = BTreeMap::<u32, usize>::new();
        for images in splits {
            for (&label, caption) in images.labels().iter().zip(images.captions()) {
                *counts.entry(label).or_default() += 1;
                assert!(caption.starts_with(&dataset.classes[label as usize]));
            }
        }
        assert!(counts.keys().copied().eq(0..105));
        assert!(counts.values().all(|&count| count == 6));
    }
}
