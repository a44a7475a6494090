//! The bits of a scan, and the codes in them.

/// Number of bits looked up at once; longer codes are rare.
const LOOKUP: u32 = 9;
/// The longest code.
const LONGEST: u32 = 16;

/// A table of Huffman codes of the file.
pub(super) struct Codes {
    /// For each prefix of [`LOOKUP`] bits, the length and the symbol of the code; length 0
    /// if the code is longer.
    lookup: Vec<(u8, u8)>,
    /// For each length, the first code, the number of codes, and the index of their first
    /// symbol in `symbols`.
    lengths: [(u32, u32, usize); LONGEST as usize + 1],
    symbols: Vec<u8>,
}

impl Codes {
    /// A table from the number of codes of each length from 1 to 16, and the symbols.
    pub(super) fn new(counts: &[u8; LONGEST as usize], symbols: &[u8]) -> Result<Self, String> {
        let mut lengths = [(0, 0, 0); LONGEST as usize + 1];
        let mut lookup = vec![(0, 0); 1 << LOOKUP];
        let (mut code, mut start) = (0_u32, 0);
        for (length, &count) in (1..).zip(counts) {
            let count = u32::from(count);
            if code + count > 1 << length {
                return Err("a table of codes has more codes than possible".into());
            }
            lengths[length as usize] = (code, count, start);
            if length <= LOOKUP {
                let free = LOOKUP - length;
                for (code, &symbol) in (code..code + count).zip(&symbols[start..]) {
                    let entries = (code << free) as usize..((code + 1) << free) as usize;
                    lookup[entries].fill((length as u8, symbol));
                }
            }
            start += count as usize;
            code = (code + count) << 1;
        }
        Ok(Self {
            lookup,
            lengths,
            symbols: symbols.to_vec(),
        })
    }

    /// The length and the symbol of the code at the start of 16 bits.
    fn find(&self, bits: u32) -> Option<(u32, u8)> {
        let (length, symbol) = self.lookup[(bits >> (LONGEST - LOOKUP)) as usize];
        if length > 0 {
            return Some((length.into(), symbol));
        }
        (LOOKUP + 1..=LONGEST).find_map(|length| {
            let (first, count, start) = self.lengths[length as usize];
            let place = (bits >> (LONGEST - length)).checked_sub(first)?;
            let symbol = self.symbols.get(start + place as usize)?;
            (place < count).then_some((length, *symbol))
        })
    }
}

/// The bits between two markers. No bits are invented after the last one.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte.
    position: usize,
    /// The buffered bits, highest first.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self {
            bytes,
            position,
            buffer: 0,
            count: 0,
        }
    }

    /// Buffers bytes up to the next marker while there is space.
    fn fill(&mut self) {
        while self.count <= 56 {
            let width = match self.bytes[self.position.min(self.bytes.len())..] {
                // A byte 255 that is not a marker is followed by a 0.
                [255, 0, ..] => 2,
                [255, ..] | [] => return,
                _ => 1,
            };
            let byte = u64::from(self.bytes[self.position]);
            self.buffer |= byte << (56 - self.count);
            self.count += 8;
            self.position += width;
        }
    }

    /// The symbol of the next code.
    pub(super) fn symbol(&mut self, codes: &Codes) -> Result<u32, String> {
        if self.count < LONGEST {
            self.fill();
        }
        let found = codes.find((self.buffer >> (64 - LONGEST)) as u32);
        match found {
            Some((length, symbol)) if length <= self.count => {
                self.drop(length);
                Ok(symbol.into())
            }
            _ if self.count < LONGEST => Err(self.end_of_data()),
            _ => Err(format!(
                "at byte {}: the bits are not a code of the table",
                self.position
            )),
        }
    }

    /// The next bits as a number, at most 16.
    pub(super) fn number(&mut self, count: u32) -> Result<u32, String> {
        if self.count < count {
            self.fill();
        }
        if self.count < count {
            return Err(self.end_of_data());
        }
        let number = (self.buffer >> 32 >> (32 - count)) as u32;
        self.drop(count);
        Ok(number)
    }

    fn drop(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    fn end_of_data(&self) -> String {
        format!(
            "the data of the picture end too early, at byte {}",
            self.position
        )
    }

    /// The position of the marker that must follow, if no whole byte is left.
    pub(super) fn end(mut self) -> Result<usize, String> {
        self.fill();
        match self.count < 8 {
            true => Ok(self.position),
            false => Err(format!(
                "before byte {}: the data of the picture continue after their end",
                self.position
            )),
        }
    }
}
