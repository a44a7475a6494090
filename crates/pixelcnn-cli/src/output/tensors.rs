//! Safetensors files, written piece by piece.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{Sink, Target};

/// Writes tensors of known shapes, byte by byte in order.
pub(crate) struct TensorsWriter {
    sink: Sink,
    name: String,
}

impl TensorsWriter {
    /// Writes the header: the name, type (`F32` or `U8`), shape and bytes per number of
    /// each tensor. Types with more bytes come first, as the format requires.
    pub(crate) fn create(
        target: &Target,
        tensors: &[(&str, &str, Vec<usize>, usize)],
    ) -> Result<Self> {
        let mut header = Map::new();
        let mut end = 0;
        for (name, kind, shape, bytes) in tensors {
            let start = end;
            end += shape.iter().product::<usize>() * bytes;
            let entry = json!({"dtype": kind, "shape": shape, "data_offsets": [start, end]});
            header.insert((*name).to_string(), entry);
        }
        let mut header = Value::Object(header).to_string();
        // The numbers start at a multiple of eight bytes.
        let padding = header.len().next_multiple_of(8) - header.len();
        header.push_str(&" ".repeat(padding));
        let mut start = (header.len() as u64).to_le_bytes().to_vec();
        start.extend_from_slice(header.as_bytes());
        let sink = target.create()?;
        let name = target.to_string();
        let mut writer = Self { sink, name };
        writer.bytes(&start)?;
        Ok(writer)
    }

    /// The next numbers.
    pub(crate) fn floats(&mut self, numbers: &[f32]) -> Result<()> {
        self.bytes(&super::little_endian(numbers))
    }

    /// The next bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.name))
    }

    /// Moves the finished file to its final name.
    pub(crate) fn finish(self) -> Result<()> {
        self.sink.finish()
    }
}
