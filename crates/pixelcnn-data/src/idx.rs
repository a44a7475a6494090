//! IDX, the format of MNIST: a magic number, the sizes, the values.

use std::path::Path;

use crate::{DataError, file};

/// The code of unsigned bytes, the only type of value that is read.
const UNSIGNED_BYTE: u8 = 8;

/// The images of a file, whose sizes are their number, height and width.
pub(crate) fn read_images(path: &Path) -> Result<([usize; 3], Vec<u8>), DataError> {
    read(path)
}

/// The labels of a file.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    read::<1>(path).map(|(_, labels)| labels)
}

/// The sizes along `D` axes, none of them 0, and the values.
fn read<const D: usize>(path: &Path) -> Result<([usize; D], Vec<u8>), DataError> {
    let mut bytes = file::read(path)?;
    let sizes = sizes(&bytes).map_err(|(offset, reason)| DataError::Content {
        path: path.into(),
        offset,
        reason,
    })?;
    Ok((sizes, bytes.split_off(header_bytes(D))))
}

/// The magic number and a size for each axis.
const fn header_bytes(axes: usize) -> usize {
    4 + 4 * axes
}

/// The sizes that a file announces, where it holds just as many values; else
/// the byte that is wrong, and why.
fn sizes<const D: usize>(bytes: &[u8]) -> Result<[usize; D], (usize, String)> {
    check_magic(bytes, D)?;
    let Some((header, values)) = bytes.split_at_checked(header_bytes(D)) else {
        let header = header_bytes(D);
        return Err((
            bytes.len(),
            format!("the file ends within its header of {header} bytes"),
        ));
    };
    let mut sizes = [0; D];
    for (axis, size) in sizes.iter_mut().enumerate() {
        let start = header_bytes(axis);
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| header[start + byte]);
        *size = u32::from_be_bytes([a, b, c, d]) as usize;
        if *size == 0 {
            return Err((start, format!("the size along axis {axis} (from 0) is 0")));
        }
    }
    check_length(&sizes, values.len())?;
    Ok(sizes)
}

fn check_magic(bytes: &[u8], axes: usize) -> Result<(), (usize, String)> {
    let Some(&[first, second, kind, found]) = bytes.first_chunk() else {
        return Err((bytes.len(), "the file ends within its magic number".into()));
    };
    if (first, second) != (0, 0) {
        let reason = format!(
            "this is no IDX file, which would begin with two bytes of 0, not {first} and {second}"
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

fn check_length(sizes: &[usize], found: usize) -> Result<(), (usize, String)> {
    let header = header_bytes(sizes.len());
    let expected = sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    let announced = sizes
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x");
    match expected {
        Some(expected) if expected == found => Ok(()),
        Some(expected) if expected < found => Err((
            header + expected,
            format!("{} bytes follow the {announced} values", found - expected),
        )),
        _ => Err((
            header + found,
            format!("the file ends after {found} of {announced} values"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::idx_bytes;

    #[test]
    fn the_sizes_are_big_endian_and_the_values_follow() {
        let bytes = idx_bytes(&[2, 3, 1], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(bytes[..8], [0, 0, 8, 3, 0, 0, 0, 2]);
        assert_eq!(sizes::<3>(&bytes).unwrap(), [2, 3, 1]);
        let long = idx_bytes(&[300], &[0; 300]);
        assert_eq!(sizes::<1>(&long).unwrap(), [300]);
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
            (change(0, 0x1f), 0, "no IDX file"),
            (change(1, 1), 0, "no IDX file"),
            (change(2, 13), 2, "type 13"),
            (change(3, 1), 3, "1 axes, not 3"),
            (change(7, 0), 4, "axis 0 (from 0) is 0"),
            (change(11, 0), 8, "axis 1 (from 0) is 0"),
            (change(15, 0), 12, "axis 2 (from 0) is 0"),
            (change(7, 3), 20, "after 4 of 3x1x2 values"),
            (change(4, 255), 20, "after 4 of"),
            (change(7, 1), 18, "2 bytes follow the 1x1x2 values"),
            (good[..19].to_vec(), 19, "after 3 of 2x1x2 values"),
            (good[..15].to_vec(), 15, "header of 16 bytes"),
            (good[..2].to_vec(), 2, "magic number"),
            (Vec::new(), 0, "magic number"),
        ] {
            let (found, reason) = sizes::<3>(&bytes).unwrap_err();
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
            match sizes::<3>(&bytes) {
                Ok(sizes) => {
                    prop_assert_eq!(sizes, sizes_given);
                    prop_assert_eq!(sizes.iter().product::<usize>(), rest.len());
                }
                Err((offset, _)) => prop_assert!(offset <= bytes.len()),
            }
        }
    }
}
