//! The chunks of a PNG file that are kept beside its pixels.

use pixelcnn_codec::Metadata;

/// Colour space, gamma, and Exif.
const KEPT: [&[u8; 4]; 6] = [b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"eXIf"];

/// The kept chunks of a file that a decoder has read without error.
pub(super) fn kept(file: &[u8]) -> Vec<Metadata> {
    let mut rest = file.get(8..).unwrap_or_default();
    let mut chunks = Vec::new();
    while let Some((start, after)) = rest.split_at_checked(8) {
        let (length, tag) = start.split_at(4);
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let Some((bytes, after)) = after.split_at_checked(length) else {
            break;
        };
        if let Some(tag) = KEPT.into_iter().find(|kept| kept.as_slice() == tag) {
            let bytes = bytes.to_vec();
            chunks.push(Metadata { tag: *tag, bytes });
        }
        // The checksum of the chunk.
        rest = after.get(4..).unwrap_or_default();
    }
    chunks
}

/// Whether the pixels of a file are grey.
pub(super) fn is_grey(file: &[u8]) -> bool {
    // The type of colours in the first chunk.
    matches!(file.get(25), Some(0 | 4))
}
