//! The chunks of a PNG file that are kept beside its pixels.

use pixelcnn_codec::Metadata;

/// Colour space, gamma, and Exif.
const KEPT: [&[u8; 4]; 6] = [b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"eXIf"];

/// The kept chunks of a file that a decoder has read without error.
pub(super) fn kept(file: &[u8]) -> Vec<Metadata> {
    let kept = chunks(file).filter_map(|(tag, bytes)| {
        let tag = KEPT.into_iter().find(|kept| kept.as_slice() == tag)?;
        let bytes = bytes.to_vec();
        Some(Metadata { tag: *tag, bytes })
    });
    kept.collect()
}

/// Whether a file has more pictures than its first one, as an animation has.
pub(super) fn has_more_pictures(file: &[u8]) -> bool {
    chunks(file).any(|(tag, _)| tag == b"fdAT")
}

/// The tag and the data of each chunk, as far as they are whole.
fn chunks(file: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = file.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (start, after) = rest.split_at_checked(8)?;
        let (length, tag) = start.split_at(4);
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (bytes, after) = after.split_at_checked(length)?;
        // The checksum of the chunk.
        rest = after.get(4..).unwrap_or_default();
        Some((tag, bytes))
    })
}

/// Whether the pixels of a file are grey.
pub(super) fn is_grey(file: &[u8]) -> bool {
    // The type of colours in the first chunk.
    matches!(file.get(25), Some(0 | 4))
}
