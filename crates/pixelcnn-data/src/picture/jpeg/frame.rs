//! The frame of a JPEG file: its size and its components.

/// The values of a block of 8x8.
const BLOCK: usize = 64;

/// How the values of a block are stored.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Process {
    /// All at once.
    Sequential,
    /// In several scans, each more exact.
    Progressive,
}

/// One of the stored components.
pub(super) struct Component {
    id: u8,
    /// Blocks per unit in scans with several components.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Number of blocks of the picture.
    pub(super) blocks: [usize; 2],
    /// Blocks per row, including those that fill the last unit.
    pub(super) row: usize,
    /// For each block of a progressive picture, the values that are not 0 so far.
    pub(super) nonzero: Vec<u64>,
    /// For each value, the number of low bits still missing; `None` if no scan
    /// had this value yet.
    pub(super) missing: [Option<u8>; BLOCK],
}

/// The size of a picture and its components.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) process: Process,
    /// Units across and down.
    pub(super) units: [usize; 2],
    pub(super) components: Vec<Component>,
}

impl Frame {
    /// Reads the segment of a frame in a file of `length` bytes.
    pub(super) fn read(process: Process, segment: &[u8], length: usize) -> Result<Self, String> {
        let [precision, h1, h0, w1, w0, count, rest @ ..] = segment else {
            return Err("the frame's header is too short".into());
        };
        let height = usize::from(u16::from_be_bytes([*h1, *h0]));
        let width = usize::from(u16::from_be_bytes([*w1, *w0]));
        if *precision != 8 {
            return Err(format!(
                "it has {precision} bits per value, 8 expected: convert it to 8 bits, \
                 and choose how to scale its values"
            ));
        }
        if width == 0 || height == 0 {
            return Err(format!("it is {width}x{height} (width, height)"));
        }
        if ![1, 3, 4].contains(count) || rest.len() != 3 * usize::from(*count) {
            return Err(format!("it has {count} components; 1, 3 or 4 expected"));
        }
        let mut frame = Self {
            width,
            height,
            process,
            units: [0; 2],
            components: Vec::new(),
        };
        frame.add_components(rest)?;
        frame.check_length(length)?;
        if process == Process::Progressive {
            for component in &mut frame.components {
                let blocks = component.row * component.down * frame.units[1];
                component.nonzero = vec![0; blocks];
            }
        }
        Ok(frame)
    }

    fn add_components(&mut self, rest: &[u8]) -> Result<(), String> {
        let factors = |byte: u8| [usize::from(byte >> 4), usize::from(byte & 15)];
        let most = rest
            .chunks_exact(3)
            .map(|entry| factors(entry[1]))
            .fold([0; 2], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
        let sides = [self.width, self.height];
        self.units = [0, 1].map(|axis| sides[axis].div_ceil(8 * most[axis].max(1)));
        for entry in rest.chunks_exact(3) {
            let [across, down] = factors(entry[1]);
            // The decoder does not scale by 3.
            if ![1, 2, 4].contains(&across) || !(1..=4).contains(&down) {
                return Err(format!(
                    "a component is sampled {across}x{down} times, which is not supported: save it as \
                     an ordinary JPEG or a PNG file"
                ));
            }
            if self.components.iter().any(|other| other.id == entry[0]) {
                return Err(format!("two components have the number {}", entry[0]));
            }
            let own = [across, down];
            let values = |axis: usize| (sides[axis] * own[axis]).div_ceil(most[axis]);
            self.components.push(Component {
                id: entry[0],
                across,
                down,
                blocks: [0, 1].map(|axis| values(axis).div_ceil(8)),
                row: across * self.units[0],
                nonzero: Vec::new(),
                missing: [None; BLOCK],
            });
        }
        Ok(())
    }

    /// Checks, before memory is allocated, that a file of this length can contain the
    /// picture: each block takes at least one bit.
    fn check_length(&self, length: usize) -> Result<(), String> {
        let blocks = self.components.iter().map(|c| c.blocks[0] * c.blocks[1]);
        match blocks.sum::<usize>() <= length.saturating_mul(8) {
            true => Ok(()),
            false => Err(format!(
                "it claims {}x{} pixels (width, height), more than a file of {length} bytes \
                 can contain",
                self.width, self.height
            )),
        }
    }

    /// The index of the component with this number.
    pub(super) fn component(&self, id: u8) -> Result<usize, String> {
        let place = self.components.iter().position(|other| other.id == id);
        place.ok_or_else(|| format!("a scan has component {id}, which does not exist"))
    }

    /// Checks that every bit of every value was read.
    pub(super) fn check_complete(&self) -> Result<(), String> {
        let whole = |component: &Component| component.missing == [Some(0); BLOCK];
        match self.components.iter().all(whole) {
            true => Ok(()),
            false => Err("it ends before all of its scans".into()),
        }
    }
}
