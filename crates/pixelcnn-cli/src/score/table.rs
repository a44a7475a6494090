//! Scores as CSV.

use anyhow::{Context, Result};

use super::work::Scored;
use crate::output::{Sink, Target};
use pixelcnn_system::counted;

/// A file of rows.
pub(super) struct Table {
    writer: csv::Writer<Sink>,
    target: Target,
    rows: usize,
}

impl Table {
    /// Writes the names of the columns.
    pub(super) fn create(target: &Target) -> Result<Self> {
        let mut table = Self {
            writer: csv::Writer::from_writer(target.create()?),
            target: target.clone(),
            rows: 0,
        };
        table.line(["file", "height", "width", "bits_per_dim", "nats"])?;
        Ok(table)
    }

    /// Writes the row of an image; numbers have all their digits.
    pub(super) fn row(&mut self, image: &Scored) -> Result<()> {
        self.rows += 1;
        self.line([
            &image.file,
            &image.height.to_string(),
            &image.width.to_string(),
            &image.bits_per_dim.to_string(),
            &image.nats.to_string(),
        ])
    }

    /// A reader sees the row at once, and a missing reader is detected.
    fn line<const COLUMNS: usize>(&mut self, values: [&str; COLUMNS]) -> Result<()> {
        let written = self.writer.write_record(values);
        let written = written.and_then(|()| Ok(self.writer.flush()?));
        written.with_context(|| format!("cannot write {}", self.target))
    }

    /// Moves the finished file to its final name.
    pub(super) fn finish(self) -> Result<()> {
        let sink = self.writer.into_inner();
        let sink = sink.map_err(csv::IntoInnerError::into_error);
        sink.with_context(|| format!("cannot write {}", self.target))?
            .finish()?;
        self.target.wrote(counted(self.rows, "row"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        let mut table = Table::create(&Target::File(path.clone())).unwrap();
        let image = Scored {
            file: "a,\"b\".png".to_owned(),
            height: 2,
            width: 3,
            bits_per_dim: 1.0 / 3.0,
            nats: 1e-7,
        };
        table.row(&image).unwrap();
        table.finish().unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "file,height,width,bits_per_dim,nats\n\
             \"a,\"\"b\"\".png\",2,3,0.3333333333333333,0.0000001\n"
        );
    }
}
