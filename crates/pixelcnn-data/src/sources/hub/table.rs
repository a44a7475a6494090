//! A Parquet file with pictures and labels.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use pixelcnn_system::{guarded, shown};
use serde_json::Value;

use crate::file::open;
use crate::{DataError, HubSpec};

/// A picture as it is stored, and its label; 0 without a column of labels.
pub(super) struct Row {
    pub(super) picture: Vec<u8>,
    pub(super) label: u32,
}

/// A file, and the columns to read.
pub(super) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    image: String,
    label: Option<String>,
}

/// Takes some rows, and the number of the first one.
type Each<'a> = dyn FnMut(usize, &[Row]) -> Result<(), DataError> + 'a;

impl Table {
    pub(super) fn open(path: &Path, spec: &HubSpec) -> Result<Self, DataError> {
        let file = open(path)?;
        let wrong = |reason: String| DataError::Parquet {
            place: shown(path),
            reason,
        };
        let reader = guarded(|| SerializedFileReader::new(file));
        let reader = match reader {
            Ok(Ok(reader)) => reader,
            Ok(Err(error)) => return Err(wrong(format!("not a Parquet file: {error}"))),
            Err(panic) => return Err(wrong(format!("the reader failed: {panic}"))),
        };
        let fields = reader.metadata().file_metadata().schema().get_fields();
        let image = image_column(fields, spec.image.as_deref()).map_err(&wrong)?;
        let label = label_column(fields, spec.label.as_deref()).map_err(&wrong)?;
        let read = [Some(image.as_str()), label.as_deref()];
        check_compression(&reader, &read).map_err(&wrong)?;
        Ok(Self {
            path: path.into(),
            reader,
            image,
            label,
        })
    }

    /// Number of rows that the file says it has.
    pub(super) fn rows(&self) -> usize {
        let rows = self.reader.metadata().file_metadata().num_rows();
        usize::try_from(rows).unwrap_or(0)
    }

    /// The place of a row, for messages.
    pub(super) fn place(&self, row: usize) -> String {
        format!("{}, row {row}", shown(&self.path))
    }

    fn wrong(&self, row: usize, reason: impl Into<String>) -> DataError {
        DataError::Parquet {
            place: self.place(row),
            reason: reason.into(),
        }
    }

    /// The names of the classes, if the file has them: the Python library `datasets` writes
    /// them into the metadata.
    pub(super) fn classes(&self) -> Result<Vec<String>, DataError> {
        let Some(label) = &self.label else {
            return Ok(Vec::new());
        };
        let metadata = self.reader.metadata().file_metadata();
        let values = metadata.key_value_metadata().into_iter().flatten();
        let mut texts = values.filter(|value| value.key == "huggingface");
        let Some(text) = texts.next().and_then(|value| value.value.as_ref()) else {
            return Ok(Vec::new());
        };
        let described: Value = serde_json::from_str(text)
            .map_err(|error| self.wrong(0, format!("broken metadata: {error}")))?;
        let names = &described["info"]["features"][label.as_str()]["names"];
        let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
        let names = names.iter().map(|name| name.as_str().map(String::from));
        let names: Option<Vec<_>> = names.collect();
        names.ok_or_else(|| self.wrong(0, "broken metadata: names of classes expected"))
    }

    /// Calls `each` with the first row, if there is one.
    pub(super) fn first(
        &self,
        each: &mut dyn FnMut(&Row) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.read(1, Some(1), &mut |_, rows| {
            rows.iter().try_for_each(&mut *each)
        })
    }

    /// Calls `each` with the rows, `at_once` at a time, and the number of their first row.
    pub(super) fn each(&self, at_once: usize, each: &mut Each<'_>) -> Result<(), DataError> {
        self.read(at_once, None, each)
    }

    fn read(
        &self,
        at_once: usize,
        most: Option<usize>,
        each: &mut Each<'_>,
    ) -> Result<(), DataError> {
        let (mut done, mut rows) = (0, Vec::new());
        let all = guarded(|| {
            let columns = self.columns().map_err(|error| self.broken(0, &error))?;
            let all = self.reader.get_row_iter(Some(columns));
            let all = all.map_err(|error| self.broken(0, &error))?;
            for row in all.take(most.unwrap_or(usize::MAX)) {
                let index = done + rows.len();
                let row = row.map_err(|error| self.broken(index, &error))?;
                rows.push(self.row(index, row.into_columns())?);
                if rows.len() == at_once {
                    each(done, &rows)?;
                    done += rows.len();
                    rows.clear();
                }
            }
            match rows.is_empty() {
                true => Ok(()),
                false => each(done, &rows),
            }
        });
        all.unwrap_or_else(|panic| Err(self.wrong(done, format!("the reader failed: {panic}"))))
    }

    fn broken(&self, row: usize, error: &parquet::errors::ParquetError) -> DataError {
        self.wrong(row, format!("the file is damaged: {error}"))
    }

    /// The columns to read, as a schema.
    fn columns(&self) -> parquet::errors::Result<Type> {
        let schema = self.reader.metadata().file_metadata().schema();
        let wanted = |field: &&Arc<Type>| {
            field.name() == self.image || Some(field.name()) == self.label.as_deref()
        };
        let fields = schema.get_fields().iter().filter(wanted).cloned().collect();
        Type::group_type_builder(schema.name())
            .with_fields(fields)
            .build()
    }

    fn row(&self, index: usize, columns: Vec<(String, Field)>) -> Result<Row, DataError> {
        let (mut picture, mut label) = (None, None);
        for (name, field) in columns {
            match name == self.image {
                true => picture = bytes_of(field),
                false => label = Some(self.label_of(index, &name, &field)?),
            }
        }
        let missing = || self.wrong(index, format!("no picture in the column {}", self.image));
        Ok(Row {
            picture: picture.ok_or_else(missing)?,
            label: label.unwrap_or(0),
        })
    }

    fn label_of(&self, row: usize, column: &str, field: &Field) -> Result<u32, DataError> {
        let number = match field {
            Field::Long(number) => Some(*number),
            Field::Int(number) => Some(i64::from(*number)),
            Field::Short(number) => Some(i64::from(*number)),
            Field::Byte(number) => Some(i64::from(*number)),
            Field::UInt(number) => Some(i64::from(*number)),
            Field::UShort(number) => Some(i64::from(*number)),
            Field::UByte(number) => Some(i64::from(*number)),
            _ => None,
        };
        let label = number.and_then(|number| u32::try_from(number).ok());
        label.ok_or_else(|| {
            let reason = format!("{column}: a class from 0 expected, found {field}; if the split has no labels, choose another with split=NAME");
            self.wrong(row, reason)
        })
    }
}

/// Refuses a compression of the columns to read that cannot be undone.
fn check_compression(
    reader: &SerializedFileReader<File>,
    read: &[Option<&str>],
) -> Result<(), String> {
    let groups = reader.metadata().row_groups().iter();
    let columns = groups.flat_map(|group| group.columns());
    let mut columns = columns.filter(|column| {
        let first = column.column_path().parts().first();
        read.contains(&first.map(String::as_str))
    });
    let unknown = columns.find(|column| !can_be_read(column.compression()));
    unknown.map_or(Ok(()), |column| {
        // Without its level, which a file does not have.
        let found = column.compression().to_string();
        let found = found.split('(').next().unwrap_or_default();
        Err(format!(
            "the column {} is compressed with {found}; Snappy, Zstandard or none expected: write the \
             file again with one of them",
            column.column_path().string(),
        ))
    })
}

fn can_be_read(compression: Compression) -> bool {
    matches!(
        compression,
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
    )
}

/// The bytes of a picture: those of the field, or its member `bytes`.
fn bytes_of(field: Field) -> Option<Vec<u8>> {
    match field {
        Field::Bytes(bytes) => Some(bytes.data().to_vec()),
        Field::Group(row) => {
            let mut members = row.into_columns().into_iter();
            let (_, bytes) = members.find(|(name, _)| name == "bytes")?;
            bytes_of(bytes)
        }
        _ => None,
    }
}

fn is_binary(field: &Type) -> bool {
    field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY
}

/// Whether a column has pictures as the Python library `datasets` writes them.
fn is_image(field: &Type) -> bool {
    let member = |member: &Arc<Type>| member.name() == "bytes" && is_binary(member);
    field.is_group() && field.get_fields().iter().any(member)
}

fn is_integer(field: &Type) -> bool {
    field.is_primitive() && matches!(field.get_physical_type(), Physical::INT32 | Physical::INT64)
}

fn image_column(fields: &[Arc<Type>], asked: Option<&str>) -> Result<String, String> {
    let usable = |field: &&Arc<Type>| is_image(field) || (asked.is_some() && is_binary(field));
    let found: Vec<_> = fields
        .iter()
        .filter(usable)
        .map(|field| field.name())
        .collect();
    match (asked, found.as_slice()) {
        (Some(asked), found) if found.contains(&asked) => Ok(asked.into()),
        (None, [only]) => Ok((*only).into()),
        (None, [_, _, ..]) => Err(format!(
            "several columns have pictures: choose one with image=COLUMN: {}",
            found.join(", ")
        )),
        (asked, _) => {
            let asked = asked.map_or("no column with pictures".into(), |asked| {
                format!("no column {asked} with pictures")
            });
            Err(format!("{asked}: the columns are {}", names(fields)))
        }
    }
}

fn label_column(fields: &[Arc<Type>], asked: Option<&str>) -> Result<Option<String>, String> {
    let is_there = |name: &str| {
        let named = |field: &&Arc<Type>| field.name() == name;
        fields
            .iter()
            .find(named)
            .is_some_and(|field| is_integer(field))
    };
    match asked {
        Some(asked) if is_there(asked) => Ok(Some(asked.into())),
        Some(asked) => Err(format!(
            "no column {asked} of whole numbers: the columns are {}",
            names(fields)
        )),
        None => Ok(is_there("label").then(|| "label".into())),
    }
}

fn names(fields: &[Arc<Type>]) -> String {
    let names: Vec<_> = fields.iter().map(|field| field.name()).collect();
    names.join(", ")
}
