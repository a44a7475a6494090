//! One scan of a JPEG file: the codes of blocks, read without computing pixels.

use super::bits::{Bits, Codes};
use super::frame::{Component, Frame, Process};

/// The largest length of a number in bits, for values of 8 bits.
const FIRST: u32 = 11;
const OTHERS: u32 = 10;

/// The tables that the file has defined so far.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) first: [Option<Codes>; 4],
    pub(super) others: [Option<Codes>; 4],
    /// Units between two restart markers; 0 without restart markers.
    pub(super) restart: usize,
}

/// The header of a scan.
pub(super) struct Scan {
    /// The index of each component, and its two tables.
    parts: Vec<(usize, usize, usize)>,
    /// The first and the last value of a block.
    band: [usize; 2],
    /// Number of low bits missing before and after this scan.
    before: Option<u8>,
    after: u8,
}

impl Scan {
    /// Reads the segment of a scan, and records its values.
    pub(super) fn read(frame: &mut Frame, segment: &[u8]) -> Result<Self, String> {
        let count = usize::from(*segment.first().ok_or("the header of a scan is empty")?);
        let (parts, rest) = segment[1..]
            .split_at_checked(2 * count)
            .filter(|(_, rest)| (1..=4).contains(&count) && rest.len() == 3)
            .ok_or("the header of a scan has a wrong length")?;
        let parts = parts
            .chunks_exact(2)
            .map(|part| {
                let tables = [usize::from(part[1] >> 4), usize::from(part[1] & 15)];
                if tables.iter().any(|&table| table > 3) {
                    return Err("a scan uses a table of codes beyond the fourth".to_string());
                }
                Ok((frame.component(part[0])?, tables[0], tables[1]))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (band, before, after) = match frame.process {
            // Only these values are possible here, whatever the file says.
            Process::Sequential => ([0, 63], None, 0),
            Process::Progressive => {
                let band = [rest[0], rest[1]].map(usize::from);
                let before = Some(rest[2] >> 4).filter(|&bits| bits > 0);
                (band, before, rest[2] & 15)
            }
        };
        let scan = Self {
            parts,
            band,
            before,
            after,
        };
        scan.check(frame)?;
        for &(place, ..) in &scan.parts {
            frame.components[place].missing[band[0]..=band[1]].fill(Some(after));
        }
        Ok(scan)
    }

    fn check(&self, frame: &Frame) -> Result<(), String> {
        let [first, last] = self.band;
        let alone = self.parts.len() == 1;
        let fits = match frame.process {
            Process::Sequential => true,
            // The first value of each block, or some of the others of one component.
            Process::Progressive if first == 0 => last == 0,
            Process::Progressive => first <= last && last < 64 && alone,
        };
        if !fits {
            return Err(format!(
                "a scan has the values {first} to {last} of a block"
            ));
        }
        if self.before.is_some_and(|before| before != self.after + 1) {
            return Err("a scan adds more than one bit".into());
        }
        let follows = self.parts.iter().all(|&(place, ..)| {
            let missing = &frame.components[place].missing[first..=last];
            missing.iter().all(|&missing| missing == self.before)
        });
        match follows {
            true => Ok(()),
            false => Err("a scan does not continue at the end of the one before it".into()),
        }
    }

    /// Reads the codes of all blocks from `position`; returns the end position.
    pub(super) fn walk(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        bytes: &[u8],
        position: usize,
    ) -> Result<usize, String> {
        let mut bits = Bits::new(bytes, position);
        let mut empty = 0;
        let [across, down] = match self.parts[..] {
            [(only, ..)] => frame.components[only].blocks,
            _ => frame.units,
        };
        for unit in 0..across * down {
            if tables.restart > 0 && unit > 0 && unit % tables.restart == 0 {
                no_blocks_left(empty)?;
                let number = (unit / tables.restart - 1) % 8;
                bits = Bits::new(bytes, restart(bytes, bits.end()?, number as u8)?);
            }
            let place = [unit % across, unit / across];
            self.unit(frame, tables, place, &mut bits, &mut empty)?;
        }
        no_blocks_left(empty)?;
        bits.end()
    }

    fn unit(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        [column, row]: [usize; 2],
        bits: &mut Bits,
        empty: &mut u32,
    ) -> Result<(), String> {
        let alone = self.parts.len() == 1;
        for &(place, first, others) in &self.parts {
            let component = &mut frame.components[place];
            let [across, down] = match alone {
                true => [1, 1],
                false => [component.across, component.down],
            };
            let codes = Block {
                scan: self,
                first: tables.first[first].as_ref(),
                others: tables.others[others].as_ref(),
            };
            for inside in 0..across * down {
                let column = column * across + inside % across;
                let block = (row * down + inside / across) * component.row + column;
                match frame.process {
                    Process::Sequential => codes.sequential(bits)?,
                    Process::Progressive => codes.progressive(bits, component, block, empty)?,
                }
            }
        }
        Ok(())
    }
}

/// The codes for a block of one component.
struct Block<'a> {
    scan: &'a Scan,
    first: Option<&'a Codes>,
    others: Option<&'a Codes>,
}

const NO_TABLE: &str = "a scan uses a missing table of codes (frames of a film may lack \
                        their tables: save it as an ordinary JPEG or a PNG file)";
const BEYOND: &str = "a block has more than 64 values";

impl Block<'_> {
    fn sequential(&self, bits: &mut Bits) -> Result<(), String> {
        let others = self.others.ok_or(NO_TABLE)?;
        self.first_value(bits)?;
        let mut at = 1;
        while at < 64 {
            let symbol = bits.symbol(others)?;
            let (run, length) = (symbol >> 4, symbol & 15);
            at += run as usize;
            match (run, length) {
                (0, 0) => return Ok(()),
                (15, 0) if at < 64 => {}
                (_, 1..=OTHERS) if at < 64 => {
                    bits.number(length)?;
                }
                _ => return Err(BEYOND.into()),
            }
            at += 1;
        }
        Ok(())
    }

    fn first_value(&self, bits: &mut Bits) -> Result<(), String> {
        let length = bits.symbol(self.first.ok_or(NO_TABLE)?)?;
        match length <= FIRST {
            true => bits.number(length).map(drop),
            false => Err(format!(
                "a value has {length} bits; at most {FIRST} expected"
            )),
        }
    }

    fn progressive(
        &self,
        bits: &mut Bits,
        component: &mut Component,
        block: usize,
        empty: &mut u32,
    ) -> Result<(), String> {
        let nonzero = &mut component.nonzero[block];
        match (self.scan.band[0], self.scan.before) {
            (0, None) => self.first_value(bits),
            (0, Some(_)) => bits.number(1).map(drop),
            (_, None) if *empty > 0 => {
                *empty -= 1;
                Ok(())
            }
            (_, None) => self.begin_values(bits, nonzero, empty),
            (_, Some(_)) => self.refine_values(bits, nonzero, empty),
        }
    }

    /// The high bits of the values of a band.
    fn begin_values(
        &self,
        bits: &mut Bits,
        nonzero: &mut u64,
        empty: &mut u32,
    ) -> Result<(), String> {
        let others = self.others.ok_or(NO_TABLE)?;
        let [mut at, last] = self.scan.band;
        while at <= last {
            let symbol = bits.symbol(others)?;
            let (run, length) = (symbol >> 4, symbol & 15);
            if length == 0 && run < 15 {
                *empty = (1 << run) - 1 + bits.number(run)?;
                return Ok(());
            }
            at += run as usize;
            if at > last || length > OTHERS {
                return Err(BEYOND.into());
            }
            if length > 0 {
                bits.number(length)?;
                *nonzero |= 1 << at;
            }
            at += 1;
        }
        Ok(())
    }

    /// One more bit of the values of a band: for values that are not 0 so far,
    /// and for values that become non-zero.
    fn refine_values(
        &self,
        bits: &mut Bits,
        nonzero: &mut u64,
        empty: &mut u32,
    ) -> Result<(), String> {
        let others = self.others.ok_or(NO_TABLE)?;
        let [mut at, last] = self.scan.band;
        while *empty == 0 && at <= last {
            let symbol = bits.symbol(others)?;
            let (run, length) = (symbol >> 4, symbol & 15);
            match length {
                0 if run < 15 => {
                    *empty = (1 << run) + bits.number(run)?;
                    break;
                }
                0 => {}
                1 => drop(bits.number(1)?),
                _ => return Err("a value that starts in a later scan has more than one bit".into()),
            }
            at = skip_zeros(bits, *nonzero, [at, last], run)?;
            if length == 1 {
                if at > last {
                    return Err(BEYOND.into());
                }
                *nonzero |= 1 << at;
            }
            at += 1;
        }
        if *empty > 0 {
            *empty -= 1;
            skip_zeros(bits, *nonzero, [at, last], u32::MAX)?;
        }
        Ok(())
    }
}

/// Skips `run` zero values to the next zero value, and reads one bit for each
/// non-zero value on the way.
fn skip_zeros(
    bits: &mut Bits,
    nonzero: u64,
    [from, last]: [usize; 2],
    mut run: u32,
) -> Result<usize, String> {
    for at in from..=last {
        if nonzero >> at & 1 == 1 {
            bits.number(1)?;
        } else if run == 0 {
            return Ok(at);
        } else {
            run -= 1;
        }
    }
    Ok(last + 1)
}

fn no_blocks_left(empty: u32) -> Result<(), String> {
    match empty {
        0 => Ok(()),
        _ => Err("a run of empty blocks is longer than the remaining blocks".into()),
    }
}

/// The position after the restart marker at `position`.
fn restart(bytes: &[u8], position: usize, number: u8) -> Result<usize, String> {
    let fill = bytes[position..].iter().take_while(|&&byte| byte == 255);
    let at = position + fill.count();
    match bytes.get(at) {
        Some(&found) if at > position && found == 0xd0 + number => Ok(at + 1),
        _ => Err(format!(
            "at byte {position}: the restart marker {number} is missing"
        )),
    }
}
