//! Checks that a JPEG file is complete.
//!
//! Decoders show as much as possible of a damaged file: if its data end early or
//! are not valid codes, they continue with grey. This module reads all codes of a file
//! without computing pixels, as [ITU-T T.81](https://www.w3.org/Graphics/JPEG/itu-t81.pdf)
//! defines them. A file is refused if anything is missing, left
//! over, or not a code. The picture's size is also checked before memory is allocated.

use super::bits::Codes;
use super::frame::{Frame, Process};
use super::scan::{Scan, Tables};

/// The supported markers, by the second of their two bytes.
mod marker {
    pub(super) const FRAME: u8 = 0xc0;
    pub(super) const PROGRESSIVE: u8 = 0xc2;
    pub(super) const CODES: u8 = 0xc4;
    pub(super) const START: u8 = 0xd8;
    pub(super) const END: u8 = 0xd9;
    pub(super) const SCAN: u8 = 0xda;
    pub(super) const RESTART: u8 = 0xdd;
}

/// The frame of the picture, if the picture is complete. The error is only the
/// reason. Data after the end of the picture are ignored.
pub(super) fn check(bytes: &[u8]) -> Result<Frame, String> {
    let mut reader = Reader {
        bytes,
        position: 2,
        frame: None,
        tables: Tables::default(),
    };
    if !bytes.starts_with(&[255, marker::START]) {
        return Err("it does not begin like a JPEG file".into());
    }
    while reader.segment()? {}
    let frame = reader.frame.ok_or("there is no picture in it")?;
    frame.check_complete()?;
    Ok(frame)
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    frame: Option<Frame>,
    tables: Tables,
}

impl<'a> Reader<'a> {
    /// Reads the next segment and the scan after it; false at the end.
    fn segment(&mut self) -> Result<bool, String> {
        let marker = self.marker()?;
        match marker {
            marker::END => return Ok(false),
            // Sequential with Huffman codes, 8 bits a value or more.
            marker::FRAME..=marker::PROGRESSIVE => {
                let process = match marker {
                    marker::PROGRESSIVE => Process::Progressive,
                    _ => Process::Sequential,
                };
                let frame = Frame::read(process, self.content()?, self.bytes.len())?;
                if self.frame.replace(frame).is_some() {
                    return Err(self.place("a second picture within the first"));
                }
            }
            marker::CODES => {
                let content = self.content()?;
                self.codes(content)?;
            }
            marker::RESTART => match *self.content()? {
                [high, low] => self.tables.restart = u16::from_be_bytes([high, low]).into(),
                _ => return Err(self.place("a restart interval of a wrong length")),
            },
            marker::SCAN => {
                let content = self.content()?;
                let frame = self.frame.as_mut();
                let frame = frame.ok_or("a scan comes before the size of the picture")?;
                let scan = Scan::read(frame, content)?;
                self.position = scan.walk(frame, &self.tables, self.bytes, self.position)?;
            }
            0xc3..=0xcf if marker != 0xc8 => {
                return Err("it is lossless, hierarchical or has arithmetic codes, \
                            which is not supported: save it as an ordinary JPEG or a PNG file"
                    .into());
            }
            // Comments, camera data, quantisation tables.
            0xdb..=0xfe => drop(self.content()?),
            _ => return Err(self.place("a marker that is not allowed here")),
        }
        Ok(true)
    }

    /// The marker at the current position.
    fn marker(&mut self) -> Result<u8, String> {
        let rest = &self.bytes[self.position.min(self.bytes.len())..];
        let fill = rest.iter().take_while(|&&byte| byte == 255).count();
        let marker = rest.get(fill).copied();
        self.position += fill + 1;
        match marker {
            Some(marker) if fill > 0 && marker > 0 => Ok(marker),
            None => Err(self.too_short()),
            _ => Err(self.place("a marker is missing")),
        }
    }

    /// The content of the segment at the current position.
    fn content(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.position.min(self.bytes.len())..];
        let &[high, low, ..] = rest else {
            return Err(self.too_short());
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        self.position += length;
        match rest.get(2..length) {
            Some(content) => Ok(content),
            None if length < 2 => Err(self.place("a segment shorter than its length")),
            None => Err(self.too_short()),
        }
    }

    fn codes(&mut self, mut content: &[u8]) -> Result<(), String> {
        while let [place, rest @ ..] = content {
            let wrong = || self.place("a table of codes of a wrong length");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(wrong)?;
            let tables = match place >> 4 {
                0 => &mut self.tables.first,
                1 => &mut self.tables.others,
                _ => return Err(wrong()),
            };
            let table = tables.get_mut(usize::from(place & 15));
            let table = table.ok_or("there is a table of codes beyond the fourth")?;
            *table = Some(Codes::new(counts, symbols)?);
            content = rest;
        }
        Ok(())
    }

    fn place(&self, what: &str) -> String {
        format!("before byte {}: {what}", self.position)
    }

    fn too_short(&self) -> String {
        format!(
            "the file ends after {} bytes, before the picture does",
            self.bytes.len()
        )
    }
}
