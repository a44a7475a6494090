//! Tables as CSV.

use anyhow::{Context, Result};
use pixelcnn_system::counted;

use super::{Sink, Target};

/// A file of rows of `N` fields.
pub(crate) struct CsvWriter<const N: usize> {
    writer: csv::Writer<Sink>,
    target: Target,
    rows: usize,
}

impl<const N: usize> CsvWriter<N> {
    /// Writes the names of the columns.
    pub(crate) fn create(target: &Target, columns: [&str; N]) -> Result<Self> {
        let mut table = Self {
            writer: csv::Writer::from_writer(target.create()?),
            target: target.clone(),
            rows: 0,
        };
        table.line(columns)?;
        Ok(table)
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, values: [&str; N]) -> Result<()> {
        self.rows += 1;
        self.line(values)
    }

    /// A reader sees the row at once, and a missing reader is detected.
    fn line(&mut self, values: [&str; N]) -> Result<()> {
        let written = self.writer.write_record(values);
        let written = written.and_then(|()| Ok(self.writer.flush()?));
        written.with_context(|| format!("cannot write {}", self.target))
    }

    /// Moves the finished file to its final name.
    pub(crate) fn finish(self) -> Result<()> {
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
        let target = Target::File(path.clone());
        let mut table = CsvWriter::create(&target, ["file", "nats"]).unwrap();
        table.row(["a,\"b\".png", "1e-7"]).unwrap();
        table.finish().unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "file,nats\n\"a,\"\"b\"\".png\",1e-7\n"
        );
    }
}
