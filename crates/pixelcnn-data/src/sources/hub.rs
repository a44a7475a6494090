//! Data sets of the Hugging Face hub, in Parquet files.

mod files;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pixelcnn_hub::{Hub, Repository, Snapshot, Transfer};
use rayon::prelude::*;

use crate::cache::{self, Kept, Key, Sink};
use crate::decoding::{Shape, images_of, mark};
use crate::lazy::Lazy;
use crate::picture::embedded;
use crate::{Colours, DataError, Dataset, Depth, HubSpec, Loading, Progress, Split, Values};
use files::Chosen;
use table::{Row, Table};

/// The revision of the Parquet files that the hub makes of other files.
const CONVERTED: &str = "refs/convert/parquet";
/// Rows that are decoded together.
const AT_ONCE: usize = 1 << 10;

/// Fetches the files immediately. The first use of any split decodes the pictures of all
/// splits.
pub(super) fn load(name: String, spec: &HubSpec, loading: &Loading) -> Result<Dataset, DataError> {
    let progress = Arc::clone(&loading.progress);
    let report = move |now: Transfer<'_>| {
        let kilobytes = |bytes: u64| (bytes / 1000) as usize;
        progress(Progress {
            what: "downloading",
            unit: "kB",
            done: kilobytes(now.done),
            of: kilobytes(now.size),
        });
    };
    let hub = Hub {
        progress: Arc::new(report),
        ..Hub::from_environment()?
    };
    load_from(&hub, name, spec, loading)
}

fn load_from(
    hub: &Hub,
    name: String,
    spec: &HubSpec,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    let repository = Repository::dataset(&spec.repository)?;
    let (snapshot, chosen) = find(hub, &repository, spec)?;
    let mut files = Vec::new();
    for Chosen { path, split } in chosen {
        files.push((snapshot.fetch(&path)?, split));
    }
    let folder = snapshot.finish()?;
    let first = Table::open(&files[0].0, spec)?;
    let classes = first.classes()?;
    let source = Source {
        // The same for all commits, which so have one cache file.
        place: folder.parent().map_or(folder.clone(), PathBuf::from),
        shape: first.shape()?,
        spec: spec.clone(),
        classes: classes.len(),
        files,
    };
    let (shape, loading) = (source.shape, loading.clone());
    let decoded = Lazy::new(move || source.decoded(&loading));
    let open = move |split| images_of(split, &shape, decoded.get()?);
    Ok(Dataset::lazy(name, classes, open))
}

/// The Parquet files of the repository itself, or those that the hub has made of its files.
fn find(
    hub: &Hub,
    repository: &Repository,
    spec: &HubSpec,
) -> Result<(Snapshot, Vec<Chosen>), DataError> {
    let snapshot = hub.open(repository)?;
    let place = repository.to_string();
    if files::has_any(snapshot.files()) || repository.revision() == CONVERTED {
        let chosen = files::choose(&place, snapshot.files(), spec)?;
        return Ok((snapshot, chosen));
    }
    let converted = repository.at(CONVERTED)?;
    tracing::debug!("{place} has no Parquet files: using {converted}");
    let snapshot = hub.open(&converted)?;
    let chosen = files::choose(&converted.to_string(), snapshot.files(), spec)?;
    Ok((snapshot, chosen))
}

/// Fetched files, and what their pictures are.
struct Source {
    place: PathBuf,
    files: Vec<(PathBuf, Split)>,
    spec: HubSpec,
    shape: Shape,
    /// Number of classes; 0 if their names are unknown.
    classes: usize,
}

impl Source {
    /// All decoded pictures, from the cache if possible.
    fn decoded(&self, loading: &Loading) -> Result<Kept, DataError> {
        let key = || {
            let files = self.files.iter().map(|(path, _)| path.as_path());
            Key::new("hub", &self.place, &self.spec.to_string(), files)
        };
        cache::kept(loading, key, |sink| self.decode(sink, loading))
    }

    fn decode(&self, sink: &mut Sink, loading: &Loading) -> Result<(), DataError> {
        let mut tables = Vec::new();
        for (path, split) in &self.files {
            tables.push((Table::open(path, &self.spec)?, *split));
        }
        let of: usize = tables.iter().map(|(table, _)| table.rows()).sum();
        let bytes = (of as u64).saturating_mul(self.shape.image_bytes() as u64 + 4);
        sink.reserve(&self.place, "the decoded pictures", bytes)?;
        let has_valid = self.files.iter().any(|(_, split)| *split == Split::Valid);
        let (mut done, mut training) = (0, 0);
        for (table, split) in &tables {
            table.each(AT_ONCE, &mut |first, rows| {
                let decode = |(index, row): (usize, &Row)| self.picture(table, first + index, row);
                let decoded: Vec<_> = rows.par_iter().enumerate().map(decode).collect();
                for (row, values) in rows.iter().zip(decoded) {
                    let mut own = *split;
                    if own == Split::Train {
                        // Without validation images, every tenth training image is one.
                        if !has_valid && training % 10 == 9 {
                            own = Split::Valid;
                        }
                        training += 1;
                    }
                    sink.push(&values?, row.label, mark(own))?;
                }
                done += rows.len();
                (loading.progress)(Progress {
                    what: "decoding",
                    unit: "pictures",
                    done,
                    of,
                });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The values of a picture, which must be like the first one.
    fn picture(&self, table: &Table, index: usize, row: &Row) -> Result<Values, DataError> {
        let place = table.place(index);
        if self.classes > 0 && row.label as usize >= self.classes {
            return Err(DataError::Parquet {
                place,
                reason: format!(
                    "label {}, but there are {} classes",
                    row.label, self.classes
                ),
            });
        }
        let (values, colours, sides) = embedded(Path::new(&place), &row.picture)?;
        let (channels, height, width) = self.shape.image;
        let wrong = |reason: String| DataError::Parquet {
            place: place.clone(),
            reason,
        };
        if sides != [height, width] {
            let [h, w] = sides;
            return Err(wrong(format!(
                "a picture of {h} x {w}, but the first one is {height} x {width}: pictures of \
                 one size expected; save them as files and use folder:DIR,side=N"
            )));
        }
        match (channels, colours) {
            (1, Colours::Grey) | (3, Colours::Rgb) => Ok(values),
            (1, Colours::Rgb) => Err(wrong(
                "a picture in colour, but the first one is grey".into(),
            )),
            // Grey pictures among coloured ones.
            _ => {
                let Values::U8(grey) = values else {
                    return Err(wrong("a picture with 16 bits per channel".into()));
                };
                Ok(grey.repeat(3).into())
            }
        }
    }
}

impl Table {
    /// The shape of the first picture.
    fn shape(&self) -> Result<Shape, DataError> {
        let mut found = None;
        self.first(&mut |row| {
            let place = self.place(0);
            let (_, colours, [height, width]) = embedded(Path::new(&place), &row.picture)?;
            found = Some((colours.channels(), height, width));
            Ok(())
        })?;
        let image = found.ok_or_else(|| DataError::Parquet {
            place: self.place(0),
            reason: "the file has no rows".into(),
        })?;
        Ok(Shape {
            image,
            depth: Depth::Eight,
        })
    }
}

#[cfg(test)]
mod tests;
