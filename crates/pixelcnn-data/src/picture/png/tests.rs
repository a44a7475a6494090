use image::{DynamicImage, GrayAlphaImage, GrayImage};
use png::{Encoder, chunk};

use super::*;

fn pixels(bytes: &[u8]) -> Result<DynamicImage, String> {
    match pixelcnn_system::guarded(|| decode(bytes, Depth::Eight)) {
        Ok(Ok(decoded)) => Ok(decoded.picture),
        Ok(Err(Need::Reason(reason))) => Err(reason),
        Ok(Err(Need::Memory(error))) => Err(error.to_string()),
        Err(panic) => Err(panic),
    }
}

/// A file of 6x5 pixels with increasing bytes.
fn file(colour: ColorType, depth: BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 6, 5);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let bits = 6 * colour.samples() * depth as usize;
    if colour == ColorType::Indexed {
        let colours = 1 << (depth as usize).min(8);
        encoder.set_palette(
            (0..3 * colours)
                .map(|value| value as u8)
                .collect::<Vec<_>>(),
        );
        encoder.set_trns(vec![0, 128]);
    }
    let values: Vec<u8> = (0..5 * bits.div_ceil(8))
        .map(|value| (value * 37) as u8)
        .collect();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&values).unwrap();
    writer.finish().unwrap();
    bytes
}

const COLOURS: [ColorType; 4] = [
    ColorType::Grayscale,
    ColorType::GrayscaleAlpha,
    ColorType::Rgb,
    ColorType::Rgba,
];

#[test]
fn every_kind_of_8_bits_or_less_is_read() {
    use BitDepth::{Eight, Four, One, Two};
    let mut kinds: Vec<_> = COLOURS.map(|colour| (colour, Eight)).to_vec();
    for depth in [One, Two, Four] {
        kinds.push((ColorType::Grayscale, depth));
        kinds.push((ColorType::Indexed, depth));
    }
    kinds.push((ColorType::Indexed, Eight));
    for (colour, depth) in kinds {
        let bytes = file(colour, depth);
        let expected = image::load_from_memory(&bytes).unwrap();
        assert!(pixels(&bytes).unwrap() == expected, "{colour:?} {depth:?}");
        let longer = [&bytes[..], b"tail"].concat();
        assert!(pixels(&longer).unwrap() == expected, "{colour:?} {depth:?}");
    }
}

/// Grey of 4 bits becomes 16 values from 0 to 255.
#[test]
fn few_bits_lose_nothing() {
    let DynamicImage::ImageLuma8(picture) =
        pixels(&file(ColorType::Grayscale, BitDepth::Four)).unwrap()
    else {
        panic!("grey expected");
    };
    let bytes: Vec<u8> = (0..15).map(|value| (value * 37) as u8).collect();
    let expected = bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15].map(|value| value * 17));
    assert!(picture.into_raw().into_iter().eq(expected));
}

#[test]
fn sixteen_bits_are_refused_with_the_way_out() {
    for colour in COLOURS {
        let error = pixels(&file(colour, BitDepth::Sixteen)).unwrap_err();
        assert!(
            error.contains("16 bits per channel") && error.contains("convert"),
            "{error}"
        );
    }
}

#[test]
fn a_file_is_whole_or_refused() {
    for (colour, depth) in [
        (ColorType::Rgb, BitDepth::Eight),
        (ColorType::Indexed, BitDepth::Two),
    ] {
        let good = file(colour, depth);
        let expected = pixels(&good).unwrap();
        for byte in 0..good.len() {
            let error = pixels(&good[..byte]).unwrap_err();
            assert!(!error.contains(['{', '.']), "{error}");
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[byte] ^= 1 << bit;
                match pixels(&bytes) {
                    Ok(found) => assert!(found == expected, "bit {bit} of {byte}"),
                    // The message must not be that of the decoder.
                    Err(error) => assert!(!error.contains(['{', '.']), "{error}"),
                }
            }
        }
    }
}

/// A palette whose length is not a multiple of 3 makes the decoder panic.
#[test]
fn a_panic_of_the_decoder_is_an_error() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 2, 2);
    encoder.set_color(ColorType::Indexed);
    encoder.set_palette(vec![0, 0, 0, 1]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0, 1, 1, 0]).unwrap();
    writer.finish().unwrap();
    assert!(pixels(&bytes).is_err());
}

#[test]
fn sizes_that_a_file_cannot_contain_are_refused() {
    for sides in [(1 << 31, 1), (60_000, 60_000), (1, 1 << 31)] {
        let mut bytes = Vec::new();
        let encoder = Encoder::new(&mut bytes, sides.0, sides.1);
        let mut writer = encoder.write_header().unwrap();
        writer
            .write_chunk(chunk::IDAT, &[0x78, 0x9c, 3, 0, 0, 0, 0, 1])
            .unwrap();
        drop(writer);
        let error = pixels(&bytes).unwrap_err();
        assert!(error.contains("more than a file of"), "{error}");
    }
    let (grey, alpha) = (GrayImage::new(3, 2), GrayAlphaImage::new(3, 2));
    for picture in [DynamicImage::from(grey), DynamicImage::from(alpha)] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        assert!(pixels(bytes.get_ref()).unwrap() == picture);
    }
}

#[test]
fn a_colour_beyond_the_palette_is_refused() {
    for (bits, last) in [(1, 0b0100_0000), (2, 0b0100_0000), (4, 0b0101_0000), (8, 5)] {
        let depth = BitDepth::from_u8(bits).unwrap();
        let indexed = |colours: usize| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 3, 2);
            encoder.set_color(ColorType::Indexed);
            encoder.set_depth(depth);
            encoder.set_palette(vec![9; 3 * colours]);
            let row = (3 * usize::from(bits)).div_ceil(8);
            let mut values = vec![0; 2 * row];
            values[row] = last; // of the second row
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(&values).unwrap();
            writer.finish().unwrap();
            bytes
        };
        let (index, enough) = match bits {
            1 | 2 => (1, 2),
            _ => (5, 6),
        };
        assert!(pixels(&indexed(enough)).is_ok(), "{bits} bits");
        let error = pixels(&indexed(enough - 1)).unwrap_err();
        let part = format!("has colour {index} of a palette of {index} colours");
        assert!(
            error.starts_with("row 1, ") && error.contains(&part),
            "{bits} bits: {error}"
        );
    }
}
