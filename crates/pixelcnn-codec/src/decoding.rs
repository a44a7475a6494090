//! Decodes pictures of an archive, or parts of them.

use pixelcnn_system::check_memory;

use crate::codec::CodedTile;
use crate::{Archive, Area, Codec, CodecError};

/// A part of a picture that should be decoded.
///
/// # Example
///
/// See [`ArchiveWriter`](crate::ArchiveWriter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its place in [`Archive::pictures`].
    pub picture: usize,
    /// The area of the picture.
    pub area: Area,
}

/// A decoded part of a picture.
///
/// # Example
///
/// See [`ArchiveWriter`](crate::ArchiveWriter).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What was wanted.
    pub wanted: Wanted,
    /// `[row, column, channel]` of the area; 0 where tiles are missing.
    pub values: Vec<u16>,
    /// Parts that could not be decoded.
    pub missing: Vec<Missing>,
}

/// A tile that could not be decoded.
///
/// # Example
///
/// ```
/// use pixelcnn_codec::{Area, Missing};
///
/// let missing = Missing { area: Area::whole(64, 64), why: "its bytes are damaged".into() };
/// assert_eq!(missing.to_string(), "tile 0,0,64,64: its bytes are damaged");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its pixels in the picture.
    pub area: Area,
    /// The reason.
    pub why: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "tile {}: {}", self.area, self.why)
    }
}

/// At most this many tiles and pixels are decoded together, or one picture if it has more.
const TILES_TOGETHER: usize = 256;
const PIXELS_TOGETHER: usize = 1 << 22;

/// Bytes of what is noted of a tile.
const NOTES: u64 = 128;
/// More of a tile that is decoded, beside its values and frequencies.
const DECODED_NOTES: u64 = 512;

impl Archive {
    /// Decodes parts of pictures, and passes each to `each`, in the order of `wanted`. Only
    /// the tiles that a part touches are decoded. Every value that is not missing has been
    /// checked by the checksum of its tile.
    ///
    /// # Errors
    ///
    /// If the codec has another model, an area is not within its picture, a picture does not
    /// fit into memory, or `each` fails. Damaged tiles are no error: see [`Decoded::missing`].
    ///
    /// # Example
    ///
    /// See [`ArchiveWriter`](crate::ArchiveWriter).
    pub fn decode<E: From<CodecError>>(
        &self,
        codec: &Codec,
        wanted: &[Wanted],
        each: &mut dyn FnMut(&Self, Decoded) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check_model(codec)?;
        for part in wanted {
            self.check(part)?;
        }
        let touched = wanted.iter().map(|part| self.touched_count(part));
        let tiles = touched.fold(0, usize::saturating_add);
        for part in wanted {
            self.check_memory(codec, part, tiles.min(TILES_TOGETHER))?;
        }
        let mut rest = wanted;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.together(rest));
            for decoded in self.decode_together(codec, now)? {
                each(self, decoded)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Refuses a codec with another model than that of the archive.
    ///
    /// # Errors
    ///
    /// The error has both models.
    pub fn check_model(&self, codec: &Codec) -> Result<(), CodecError> {
        let needed = &self.header().model;
        match codec.identity().is_same_model(needed) {
            true => Ok(()),
            false => Err(CodecError::OtherModel {
                needed: Box::new(needed.clone()),
                found: Box::new(codec.identity().clone()),
            }),
        }
    }

    fn check(&self, wanted: &Wanted) -> Result<(), CodecError> {
        let Some(picture) = self.pictures().get(wanted.picture) else {
            let why = format!("there is no picture {}", wanted.picture);
            return Err(CodecError::invalid("picture", why));
        };
        let (height, width) = picture.size();
        if !wanted.area.is_within(height, width) {
            let name = pixelcnn_system::escaped(picture.name());
            let why = format!(
                "the area {} is not within its {width} x {height} pixels (width x height)",
                wanted.area
            );
            return Err(CodecError::invalid(name, why));
        }
        Ok(())
    }

    /// The number of tiles of a part.
    fn touched_count(&self, wanted: &Wanted) -> usize {
        let picture = &self.pictures()[wanted.picture];
        picture.head.tiling.touched_count(&wanted.area)
    }

    /// Refuses a part that does not fit into memory: the values of the area, those of its tiles
    /// while they are decoded, what is noted of each tile, and the frequencies of the tiles that
    /// are computed at a time. With tiles of other parts, these are at least `together`.
    fn check_memory(
        &self,
        codec: &Codec,
        wanted: &Wanted,
        together: usize,
    ) -> Result<(), CodecError> {
        let picture = &self.pictures()[wanted.picture];
        let tiling = picture.head.tiling;
        let tiles = picture.tiles.keys().map(|tile| tiling.area(*tile));
        let found: Vec<_> = tiles
            .filter(|tile| tile.intersection(&wanted.area).is_some())
            .collect();
        let pixels = found.iter().map(|tile| tile.pixels() as u64);
        let pixels = pixels.fold(wanted.area.pixels() as u64, u64::saturating_add);
        let values = pixels.saturating_mul(4 * self.header().model.channels as u64);
        let notes = (tiling.touched_count(&wanted.area) as u64).saturating_mul(NOTES);
        let bytes = values
            .saturating_add(notes)
            .saturating_add(found.len() as u64 * DECODED_NOTES)
            .saturating_add(codec.frequency_bytes(found.len().max(together)));
        let (height, width) = picture.size();
        let what = format!("a picture of {width} x {height} pixels (width x height)");
        Ok(check_memory(what, bytes)?)
    }

    /// Number of first parts that are decoded together.
    fn together(&self, wanted: &[Wanted]) -> usize {
        let (mut tiles, mut pixels) = (0, 0);
        let fits = |part: &&Wanted| {
            tiles += self.touched_count(part);
            pixels += part.area.pixels();
            tiles <= TILES_TOGETHER && pixels <= PIXELS_TOGETHER
        };
        wanted.iter().take_while(fits).count().max(1)
    }

    fn decode_together(
        &self,
        codec: &Codec,
        wanted: &[Wanted],
    ) -> Result<Vec<Decoded>, CodecError> {
        let channels = self.header().model.channels;
        let (mut all, mut tiles, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        for (owner, part) in wanted.iter().enumerate() {
            let picture = &self.pictures()[part.picture];
            let mut missing = Vec::new();
            for tile in picture.head.tiling.touched(&part.area) {
                let area = picture.head.tiling.area(tile);
                match picture.tiles.get(&tile) {
                    None => missing.push(Missing {
                        area,
                        why: "it is not in the archive".into(),
                    }),
                    Some((head, range)) => {
                        owners.push(owner);
                        tiles.push(CodedTile {
                            area,
                            method: head.method,
                            bytes: self.part(range),
                            checksum: head.checksum,
                        });
                    }
                }
            }
            all.push(Decoded {
                wanted: *part,
                values: vec![0; part.area.pixels() * channels],
                missing,
            });
        }
        let decoded = codec.decode(&tiles)?;
        for ((owner, tile), values) in owners.into_iter().zip(&tiles).zip(decoded) {
            match values {
                Ok(values) => all[owner].place(&tile.area, &values, channels),
                Err(why) => all[owner].missing.push(Missing {
                    area: tile.area,
                    why,
                }),
            }
        }
        Ok(all)
    }
}

impl Decoded {
    /// Copies the common pixels of a tile and the wanted area.
    fn place(&mut self, tile: &Area, values: &[u16], channels: usize) {
        let area = self.wanted.area;
        let Some(common) = area.intersection(tile) else {
            return;
        };
        let length = common.width * channels;
        for row in common.row..common.row + common.height {
            let at = |of: &Area| ((row - of.row) * of.width + common.column - of.column) * channels;
            let from = &values[at(tile)..][..length];
            self.values[at(&area)..][..length].copy_from_slice(from);
        }
    }
}
