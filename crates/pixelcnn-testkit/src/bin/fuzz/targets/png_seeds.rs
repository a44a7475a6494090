//! Small PNG files of every kind, and their chunks.

use anyhow::Result;
use png::{BitDepth, ColorType, Encoder};

use super::expected::noise;

const SIDE: u32 = 8;

/// A file of each colour type and depth, with and without transparency, and an
/// interlaced one.
///
/// # Errors
/// When one cannot be written.
pub(super) fn files() -> Result<Vec<Vec<u8>>> {
    use BitDepth::{Eight, Four, One, Sixteen, Two};
    let mut files = vec![include_bytes!("../../../../seeds/interlaced.png").to_vec()];
    for (colour, depths) in [
        (ColorType::Grayscale, &[One, Two, Four, Eight, Sixteen][..]),
        (ColorType::GrayscaleAlpha, &[Eight]),
        (ColorType::Rgb, &[Eight, Sixteen]),
        (ColorType::Rgba, &[Eight]),
        (ColorType::Indexed, &[One, Two, Four, Eight]),
    ] {
        for &depth in depths {
            files.push(file(colour, depth, &[])?);
            if !matches!(colour, ColorType::GrayscaleAlpha | ColorType::Rgba) {
                files.push(file(colour, depth, transparent(colour))?);
            }
        }
    }
    Ok(files)
}

/// The content of `tRNS`: makes a colour, or the first entries of a palette, transparent.
fn transparent(colour: ColorType) -> &'static [u8] {
    match colour {
        ColorType::Indexed => &[0, 128],
        ColorType::Rgb => &[0, 10, 0, 20, 0, 30],
        _ => &[0, 1],
    }
}

fn file(colour: ColorType, depth: BitDepth, transparent: &'static [u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == ColorType::Indexed {
        encoder.set_palette(noise(3 << (depth as u8), 5));
    }
    if !transparent.is_empty() {
        encoder.set_trns(transparent);
    }
    encoder.add_text_chunk("Comment".into(), "a seed".into())?;
    let row = (SIDE as usize * colour.samples() * depth as usize).div_ceil(8);
    let mut values = noise(row * SIDE as usize, 6);
    if transparent.len() > 2 && depth == BitDepth::Eight {
        values[..3].copy_from_slice(&[10, 20, 30]);
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&values)?;
    writer.finish()?;
    Ok(bytes)
}

/// A chunk without its length and checksum.
#[derive(Clone)]
pub(super) struct Chunk {
    pub kind: [u8; 4],
    pub data: Vec<u8>,
}

/// The signature before the chunks.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The chunks of a valid file.
pub(super) fn chunks(file: &[u8]) -> Vec<Chunk> {
    let mut rest = file.strip_prefix(SIGNATURE).unwrap_or_default();
    let mut chunks = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((data, after)) = after.split_at_checked(length) else {
            break;
        };
        chunks.push(Chunk {
            kind,
            data: data.to_vec(),
        });
        rest = after.get(4..).unwrap_or_default();
    }
    chunks
}

/// A file of these chunks, with correct checksums.
pub(super) fn join(chunks: &[Chunk]) -> Vec<u8> {
    let mut file = SIGNATURE.to_vec();
    for Chunk { kind, data } in chunks {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(data);
        file.extend(crc.sum().to_be_bytes());
    }
    file
}
