//! IDX, the format of MNIST: a magic number, the sizes, the values.

use std::path::Path;

use crate::bytes::Bytes;
use crate::file::{self, Content};
use crate::{DataError, memory};

/// The code of unsigned bytes, the only supported type.
const UNSIGNED_BYTE: u8 = 8;

/// The images of a file, whose sizes are their number, height and width. Values that
/// are not gzipped stay in the file.
pub(crate) fn open_images(path: &Path) -> Result<([usize; 3], Bytes), DataError> {
    let (sizes, count) = read_sizes(path, &mut Content::open(path)?)?;
    if file::is_gzipped(path) {
        let (sizes, values) = read(path, Content::open(path)?)?;
        return Ok((sizes, Bytes::in_memory(path, values)));
    }
    let bytes = Bytes::open(path)?;
    let first = header_bytes(3) as u64;
    let values = bytes.part(first, u64::MAX);
    check_length(path, &sizes, values.length().min(count as u64) as usize)?;
    match values.length() == count as u64 {
        true => Ok((sizes, values)),
        false => Err(too_long(path, &sizes, count)),
    }
}

/// The sizes of the images of a file. Reads only the header.
pub(crate) fn image_sizes(path: &Path) -> Result<[usize; 3], DataError> {
    read_sizes(path, &mut Content::open(path)?).map(|(sizes, _)| sizes)
}

/// The labels of a file.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    read::<1>(path, Content::open(path)?).map(|(_, labels)| labels)
}

/// The sizes along `D` axes, none of them 0, and the values. The sizes are
/// compared with the length of the file before memory is allocated.
fn read<const D: usize>(
    path: &Path,
    mut content: Content,
) -> Result<([usize; D], Vec<u8>), DataError> {
    let (sizes, count) = read_sizes(path, &mut content)?;
    memory::check_for(path, "its content", count as u64)?;
    let values = content.take(count)?;
    check_length(path, &sizes, values.len())?;
    match content.end()? {
        0 => Ok((sizes, values)),
        _ => Err(too_long(path, &sizes, count)),
    }
}

/// The sizes and the number of values, which is at most what the file can contain.
fn read_sizes<const D: usize>(
    path: &Path,
    content: &mut Content,
) -> Result<([usize; D], usize), DataError> {
    let header = content.take(header_bytes(D))?;
    let sizes = sizes(&header).map_err(|(offset, reason)| wrong(path, offset, reason))?;
    let count = product(&sizes).filter(|&values| values as u64 <= content.most);
    let Some(count) = count else {
        let announced = announced(&sizes);
        let reason = format!("the header says {announced} values, more than the file can contain");
        return Err(wrong(path, 4, reason));
    };
    Ok((sizes, count))
}

/// Checks that the file has as many values as its header announces.
fn check_length<const D: usize>(
    path: &Path,
    sizes: &[usize; D],
    found: usize,
) -> Result<(), DataError> {
    if product(sizes).is_some_and(|count| found >= count) {
        return Ok(());
    }
    let reason = format!("the file ends after {found} of {} values", announced(sizes));
    Err(wrong(path, header_bytes(D) + found, reason))
}

fn too_long<const D: usize>(path: &Path, sizes: &[usize; D], count: usize) -> DataError {
    let reason = format!("more follows the {} values", announced(sizes));
    wrong(path, header_bytes(D) + count, reason)
}

fn announced(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("x")
}

fn wrong(path: &Path, offset: usize, reason: String) -> DataError {
    DataError::Content {
        path: path.into(),
        offset,
        reason,
    }
}

/// The magic number and a size for each axis.
pub(crate) const fn header_bytes(axes: usize) -> usize {
    4 + 4 * axes
}

fn product(sizes: &[usize]) -> Option<usize> {
    let mut sizes = sizes.iter();
    sizes.try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// The sizes in a header. The error is the position of the wrong byte and the reason.
fn sizes<const D: usize>(header: &[u8]) -> Result<[usize; D], (usize, String)> {
    check_magic(header, D)?;
    if header.len() < header_bytes(D) {
        let reason = format!(
            "the file ends within its header of {} bytes",
            header_bytes(D)
        );
        return Err((header.len(), reason));
    }
    let mut sizes = [0; D];
    for (axis, size) in sizes.iter_mut().enumerate() {
        let start = header_bytes(axis);
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| header[start + byte]);
        *size = u32::from_be_bytes([a, b, c, d]) as usize;
        if *size == 0 {
            return Err((start, format!("the size along axis {axis} (from 0) is 0")));
        }
    }
    Ok(sizes)
}

fn check_magic(bytes: &[u8], axes: usize) -> Result<(), (usize, String)> {
    let Some(&[first, second, kind, found]) = bytes.first_chunk() else {
        return Err((bytes.len(), "the file ends within its magic number".into()));
    };
    if (first, second) != (0, 0) {
        let reason = format!(
            "not an IDX file: it would begin with two bytes of 0, not {first} and {second}"
        );
        return Err((0, reason));
    }
    if kind != UNSIGNED_BYTE {
        let reason = format!("the values are of type {kind}, not {UNSIGNED_BYTE}, unsigned bytes");
        return Err((2, reason));
    }
    if usize::from(found) != axes {
        let reason = format!(
            "the values have {found} axes, not {axes}: images have 3, labels 1 \
             (are the two files swapped?)"
        );
        return Err((3, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{gzip, idx_bytes};

    /// The sizes and the values. The error is the position of the wrong byte and the
    /// reason.
    fn parse<const D: usize>(bytes: &[u8]) -> Result<([usize; D], Vec<u8>), (usize, String)> {
        match read("some.idx".as_ref(), Content::of_bytes("some.idx", bytes)) {
            Err(DataError::Content { offset, reason, .. }) => Err((offset, reason)),
            other => Ok(other.unwrap()),
        }
    }

    /// A short file, gzipped or not, can announce or even contain any number of values. The
    /// program reads no more than the header announces.
    #[test]
    fn announced_sizes_are_checked() {
        let huge = idx_bytes(&[0x7fff_ffff, 1000, 1000], &[0; 99]);
        assert!(
            parse::<3>(&huge)
                .unwrap_err()
                .1
                .contains("more than the file can contain")
        );
        let packed = Content::of_bytes("some.idx.gz", &gzip(&huge));
        assert!(read::<3>("some.idx.gz".as_ref(), packed).is_err());
        let much = gzip(&idx_bytes(&[2, 1, 1], &vec![0; 1 << 26]));
        let error = read::<3>(
            "some.idx.gz".as_ref(),
            Content::of_bytes("some.idx.gz", &much),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("more follows the 2x1x1 values"), "{error}");
    }

    /// If a byte of a gzipped file changes, its checksums detect it, or the content is the
    /// same.
    #[test]
    fn a_gzipped_file_is_whole_or_refused() {
        let values: Vec<u8> = (0..120).map(|index| (index * 7 % 31) as u8).collect();
        let good = gzip(&idx_bytes(&[10, 3, 4], &values));
        let open = |bytes: &[u8]| read("a.gz".as_ref(), Content::of_bytes("a.gz", bytes));
        assert_eq!(open(&good).unwrap(), ([10, 3, 4], values.clone()));
        for byte in 0..good.len() {
            assert!(open(&good[..byte]).is_err(), "cut at {byte}");
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[byte] ^= 1 << bit;
                if let Ok(read) = open(&bytes) {
                    assert_eq!(read, ([10, 3, 4], values.clone()), "bit {bit} of {byte}");
                }
            }
        }
    }

    #[test]
    fn the_sizes_are_big_endian_and_the_values_follow() {
        let bytes = idx_bytes(&[2, 3, 1], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(bytes[..8], [0, 0, 8, 3, 0, 0, 0, 2]);
        let (sizes, values) = parse::<3>(&bytes).unwrap();
        assert_eq!((sizes, values), ([2, 3, 1], vec![1, 2, 3, 4, 5, 6]));
        let long = idx_bytes(&[300], &[0; 300]);
        assert_eq!(parse::<1>(&long).unwrap().0, [300]);
    }

    #[test]
    fn each_mistake_is_placed() {
        let good = idx_bytes(&[2, 1, 2], &[1, 2, 3, 4]);
        let change = |byte: usize, value| {
            let mut bytes = good.clone();
            bytes[byte] = value;
            bytes
        };
        for (bytes, offset, part) in [
            (change(0, 0x1f), 0, "not an IDX file"),
            (change(1, 1), 0, "not an IDX file"),
            (change(2, 13), 2, "type 13"),
            (change(3, 1), 3, "1 axes, not 3"),
            (change(7, 0), 4, "axis 0 (from 0) is 0"),
            (change(11, 0), 8, "axis 1 (from 0) is 0"),
            (change(15, 0), 12, "axis 2 (from 0) is 0"),
            (change(7, 3), 20, "after 4 of 3x1x2 values"),
            (change(4, 255), 4, "more than the file can contain"),
            (change(7, 1), 18, "more follows the 1x1x2 values"),
            (good[..19].to_vec(), 19, "after 3 of 2x1x2 values"),
            (good[..15].to_vec(), 15, "header of 16 bytes"),
            (good[..2].to_vec(), 2, "magic number"),
            (Vec::new(), 0, "magic number"),
        ] {
            let (found, reason) = parse::<3>(&bytes).unwrap_err();
            assert_eq!(found, offset, "{reason}");
            assert!(reason.contains(part), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_placed(
            sizes_given in prop::array::uniform3(prop_oneof![0_u8..4, any::<u8>()]),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let sizes_given = sizes_given.map(usize::from);
            let bytes = idx_bytes(&sizes_given, &rest);
            match parse::<3>(&bytes) {
                Ok((sizes, values)) => {
                    prop_assert_eq!(&values, &rest);
                    prop_assert_eq!(sizes, sizes_given);
                    prop_assert_eq!(sizes.iter().product::<usize>(), rest.len());
                }
                Err((offset, _)) => prop_assert!(offset <= bytes.len()),
            }
        }
    }
}
