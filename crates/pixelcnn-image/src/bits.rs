//! Fewer bits per value.

use crate::ImageError;

/// A value of `levels` levels with `bits` bits, from 0 to 2^bits - 1. The lower bits are
/// dropped: `floor(value 2^bits / levels)`. Each new level covers the same number of values.
///
/// # Example
///
/// ```
/// use pixelcnn_image::fewer_bits;
///
/// assert_eq!(fewer_bits(255, 256, 5), 31);
/// assert_eq!(fewer_bits(7, 256, 5), 0);
/// assert_eq!(fewer_bits(65_535, 65_536, 8), 255);
/// ```
pub fn fewer_bits(value: u32, levels: usize, bits: u32) -> u32 {
    ((u64::from(value) << bits) / levels.max(1) as u64) as u32
}

/// Refuses a number of bits that images of `levels` levels do not have, or with which the
/// new levels would not cover the same number of values.
///
/// # Errors
///
/// The error has the number and what is expected.
///
/// # Example
///
/// ```
/// use pixelcnn_image::check_bits;
///
/// assert!(check_bits(5, 256).is_ok());
/// assert!(check_bits(9, 256).is_err());
/// assert!(check_bits(5, 200).is_err()); // 200 is no multiple of 32
/// ```
pub fn check_bits(bits: u32, levels: usize) -> Result<(), ImageError> {
    let fewer = 1usize.checked_shl(bits).unwrap_or(0);
    let fits = bits >= 1 && fewer != 0 && fewer <= levels && levels.is_multiple_of(fewer);
    match fits {
        true => Ok(()),
        false => {
            let why = format!(
                "2^bits must divide the {levels} levels of the images, with at least 1 bit; found {bits}"
            );
            Err(ImageError::invalid("bits", why))
        }
    }
}
