//! How a picture is cut into tiles.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::CodecError;

/// A rectangle of pixels.
///
/// # Example
///
/// ```
/// use pixelcnn_codec::Area;
///
/// let area: Area = "8,0,16,32".parse()?; // x, y, width, height
/// assert_eq!((area.column, area.height), (8, 32));
/// assert!("8,0,16".parse::<Area>().is_err());
/// # Ok::<(), pixelcnn_codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The first row, from the top.
    pub row: usize,
    /// The first column, from the left.
    pub column: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Area {
    /// A whole picture.
    pub fn whole(height: usize, width: usize) -> Self {
        Self {
            row: 0,
            column: 0,
            height,
            width,
        }
    }

    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Whether all pixels are in a picture of this size, and there is at least one.
    pub fn is_within(&self, height: usize, width: usize) -> bool {
        let ends = |first: usize, length: usize, all: usize| {
            length > 0 && first.checked_add(length).is_some_and(|end| end <= all)
        };
        ends(self.row, self.height, height) && ends(self.column, self.width, width)
    }

    /// The common pixels of two areas.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let overlap = |one: (usize, usize), two: (usize, usize)| {
            let first = one.0.max(two.0);
            let end = one.0.saturating_add(one.1).min(two.0.saturating_add(two.1));
            (first < end).then(|| (first, end - first))
        };
        let (row, height) = overlap((self.row, self.height), (other.row, other.height))?;
        let (column, width) = overlap((self.column, self.width), (other.column, other.width))?;
        Some(Self {
            row,
            column,
            height,
            width,
        })
    }
}

impl FromStr for Area {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        let numbers: Vec<Option<usize>> = text.split(',').map(|part| part.parse().ok()).collect();
        match numbers[..] {
            [Some(column), Some(row), Some(width), Some(height)] if width > 0 && height > 0 => {
                Ok(Self {
                    row,
                    column,
                    height,
                    width,
                })
            }
            _ => {
                let why = format!("x,y,width,height in pixels expected, found {text}");
                Err(CodecError::invalid("area", why))
            }
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            row,
            column,
            height,
            width,
        } = self;
        write!(formatter, "{column},{row},{width},{height}")
    }
}

/// The side of the tiles of a picture.
///
/// Small tiles are independent, so many processors work on a picture, a part of it can be
/// decoded alone, and damage is limited to a tile. But the model sees nothing beyond a tile.
///
/// # Example
///
/// ```
/// use pixelcnn_codec::TileSide;
///
/// assert_eq!("whole".parse::<TileSide>()?, TileSide::Whole);
/// assert_eq!("32".parse::<TileSide>()?.to_string(), "32");
/// assert_eq!(TileSide::default(), TileSide::Pixels(64));
/// # Ok::<(), pixelcnn_codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileSide {
    /// Squares of this side; the last ones of a row or column are smaller.
    Pixels(usize),
    /// One tile for the whole picture.
    Whole,
}

/// The largest side of a tile that is a number, and the largest side of a picture.
pub(crate) const MOST_SIDE: usize = 1 << 24;

impl Default for TileSide {
    fn default() -> Self {
        Self::Pixels(64)
    }
}

impl FromStr for TileSide {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        match (text, text.parse()) {
            ("whole", _) => Ok(Self::Whole),
            (_, Ok(side)) if (1..=MOST_SIDE).contains(&side) => Ok(Self::Pixels(side)),
            _ => {
                let why = format!("1 to {MOST_SIDE}, or `whole` expected, found {text}");
                Err(CodecError::invalid("tile", why))
            }
        }
    }
}

impl fmt::Display for TileSide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels(side) => write!(formatter, "{side}"),
            Self::Whole => formatter.write_str("whole"),
        }
    }
}

impl TileSide {
    /// Refuses a side that no archive can have.
    pub(crate) fn check(self) -> Result<(), CodecError> {
        match self {
            Self::Pixels(side) if !(1..=MOST_SIDE).contains(&side) => {
                let why = format!("1 to {MOST_SIDE}, or `whole` expected, found {side}");
                Err(CodecError::invalid("tile", why))
            }
            _ => Ok(()),
        }
    }
}

/// The tiles of a picture, by rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    pub height: usize,
    pub width: usize,
    pub side: TileSide,
}

impl Tiling {
    fn sides(&self) -> (usize, usize) {
        match self.side {
            TileSide::Pixels(side) => (side, side),
            TileSide::Whole => (self.height, self.width),
        }
    }

    fn columns(&self) -> usize {
        self.width.div_ceil(self.sides().1)
    }

    pub(crate) fn count(&self) -> usize {
        self.height
            .div_ceil(self.sides().0)
            .saturating_mul(self.columns())
    }

    pub(crate) fn area(&self, tile: usize) -> Area {
        let (height, width) = self.sides();
        let row = tile / self.columns() * height;
        let column = tile % self.columns() * width;
        Area {
            row,
            column,
            height: height.min(self.height.saturating_sub(row)),
            width: width.min(self.width.saturating_sub(column)),
        }
    }

    /// Rows and columns of the tiles with a pixel in an area of the picture.
    fn touched_sides(&self, area: &Area) -> (Range<usize>, Range<usize>) {
        let (height, width) = self.sides();
        let rows = area.row / height..(area.row + area.height).div_ceil(height);
        let columns = area.column / width..(area.column + area.width).div_ceil(width);
        (rows, columns)
    }

    /// The number of tiles with a pixel in an area of the picture.
    pub(crate) fn touched_count(&self, area: &Area) -> usize {
        let (rows, columns) = self.touched_sides(area);
        rows.len().saturating_mul(columns.len())
    }

    /// The tiles with a pixel in an area of the picture.
    pub(crate) fn touched(&self, area: &Area) -> Vec<usize> {
        let (rows, columns) = self.touched_sides(area);
        let all = self.columns();
        rows.flat_map(|row| columns.clone().map(move |column| row * all + column))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_once() {
        for (height, width) in [(1, 1), (1, 130), (67, 5), (64, 128), (65, 129)] {
            for side in [TileSide::Pixels(1), TileSide::Pixels(64), TileSide::Whole] {
                let tiling = Tiling {
                    height,
                    width,
                    side,
                };
                let mut covered = vec![0; height * width];
                for tile in 0..tiling.count() {
                    let area = tiling.area(tile);
                    assert!(area.is_within(height, width));
                    for row in area.row..area.row + area.height {
                        for column in area.column..area.column + area.width {
                            covered[row * width + column] += 1;
                        }
                    }
                }
                assert!(covered.iter().all(|times| *times == 1));
            }
        }
    }

    #[test]
    fn areas_and_sides_are_read_and_impossible_ones_refused() {
        let area: Area = "1,2,3,4".parse().unwrap();
        assert_eq!((area.column, area.row), (1, 2));
        assert_eq!((area.width, area.height), (3, 4));
        assert_eq!(area.to_string(), "1,2,3,4");
        for text in ["", "1,2,3", "1,2,3,4,5", "0,0,0,1", "0,0,1,0", "-1,0,1,1"] {
            assert!(text.parse::<Area>().is_err(), "{text}");
        }
        for (text, side) in [
            ("1", TileSide::Pixels(1)),
            ("16777216", TileSide::Pixels(MOST_SIDE)),
            ("whole", TileSide::Whole),
        ] {
            assert_eq!(text.parse::<TileSide>().unwrap(), side);
            assert_eq!(side.to_string(), text);
        }
        for text in ["", "0", "16777217", "-1", "Whole"] {
            assert!(text.parse::<TileSide>().is_err(), "{text}");
        }
    }

    #[test]
    fn areas_side_by_side_share_nothing() {
        let area = |text: &str| text.parse::<Area>().unwrap();
        let (left, right) = (area("0,0,4,4"), area("4,0,4,4"));
        assert_eq!(left.intersection(&right), None);
        assert_eq!(left.intersection(&area("3,1,9,1")), Some(area("3,1,1,1")));
    }

    #[test]
    fn touched_tiles_are_those_that_share_a_pixel() {
        let tiling = Tiling {
            height: 21,
            width: 34,
            side: TileSide::Pixels(8),
        };
        for area in ["0,0,34,21", "7,7,2,2", "8,8,8,8", "33,20,1,1", "0,15,9,2"] {
            let area: Area = area.parse().unwrap();
            let shares = |tile: &usize| tiling.area(*tile).intersection(&area).is_some();
            let expected: Vec<_> = (0..tiling.count()).filter(shares).collect();
            assert_eq!(tiling.touched(&area), expected, "{area}");
            assert_eq!(tiling.touched_count(&area), expected.len());
        }
    }
}
