//! Scores as CSV.

use std::io::Write;

use anyhow::{Context, Result};

use super::work::Scored;
use crate::output::{Sink, Target};
use pixelcnn_system::counted;

/// A file of rows, fields quoted as in RFC 4180.
pub struct Table {
    sink: Sink,
    target: Target,
    rows: usize,
}

impl Table {
    /// Begins with the names of the columns.
    pub fn create(target: &Target) -> Result<Self> {
        let sink = target.create()?;
        let mut table = Self {
            sink,
            target: target.clone(),
            rows: 0,
        };
        table.line("file,height,width,bits_per_dim,nats")?;
        Ok(table)
    }

    /// The row of an image; numbers with all their digits.
    pub fn row(&mut self, image: &Scored) -> Result<()> {
        let Scored {
            height,
            width,
            bits_per_dim,
            nats,
            ..
        } = image;
        let file = quoted(&image.file);
        self.rows += 1;
        self.line(&format!("{file},{height},{width},{bits_per_dim},{nats}"))?;
        // A reader sees it at once, and that it has gone away is known.
        let flushed = self.sink.flush();
        flushed.with_context(|| format!("cannot write {}", self.target))
    }

    fn line(&mut self, text: &str) -> Result<()> {
        let written = self.sink.write_all(format!("{text}\n").as_bytes());
        written.with_context(|| format!("cannot write {}", self.target))
    }

    /// Puts the file in its place.
    pub fn finish(self) -> Result<()> {
        self.sink.finish()?;
        self.target.wrote(counted(self.rows, "row"));
        Ok(())
    }
}

/// Quoted where the text would not be one field.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_field() {
        assert_eq!(quoted("a b.png"), "a b.png");
        assert_eq!(quoted("a,\"b\".png"), "\"a,\"\"b\"\".png\"");
    }
}
