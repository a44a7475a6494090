//! `photos32`, the photographs that come with the source.

use crate::spec::DEFAULT_SIDE;
use crate::{DataError, Dataset, Loading, RecordsSpec};

use super::{fixtures, records};

pub(super) fn load(name: String, loading: &Loading) -> Result<Dataset, DataError> {
    let folder = fixtures::find("photos32")?;
    let spec = RecordsSpec {
        train: folder.join("train.bin"),
        valid: Some(folder.join("valid.bin")),
        test: Some(folder.join("test.bin")),
        classes: Some(folder.join("classes.txt")),
        captions: None,
        side: DEFAULT_SIDE,
    };
    records::load(name, &spec, loading)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::{DataSpec, load};

    #[test]
    fn the_set_is_complete() {
        let dataset = load(&DataSpec::Photos32).unwrap();
        assert_eq!(dataset.name, "photos32");
        let splits = dataset.all();
        assert_eq!(splits.map(|images| images.len()), [2048, 256, 512]);
        assert!(splits.iter().all(|images| images.shape() == (3, 32, 32)));
        assert_eq!(dataset.classes.len(), 10);
        assert_eq!(dataset.classes[0], "rock_mountain");
        assert_eq!(dataset.classes[9], "other");
        let labels: HashSet<u32> = dataset.train().labels().iter().copied().collect();
        assert_eq!(labels.len(), 10);
    }
}
