use super::*;

const SAMPLES: [(&str, &[u8]); 7] = [
    ("sequential", include_bytes!("samples/sequential.jpg")),
    ("progressive", include_bytes!("samples/progressive.jpg")),
    ("restarts", include_bytes!("samples/restarts.jpg")),
    ("grey", include_bytes!("samples/grey.jpg")),
    ("cmyk", include_bytes!("samples/cmyk.jpg")),
    ("rgb", include_bytes!("samples/rgb.jpg")),
    ("thumbnail", include_bytes!("samples/thumbnail.jpg")),
];
const END: [u8; 2] = [0xff, 0xd9];

fn pixels(bytes: &[u8]) -> Result<DynamicImage, String> {
    match decode(bytes) {
        Ok(decoded) => Ok(decoded.picture),
        Err(Need::Reason(reason)) => Err(reason),
        Err(Need::Memory(error)) => Err(error.to_string()),
    }
}

/// Where the data of the first scan begin.
fn scan(bytes: &[u8]) -> usize {
    let mut at = 2;
    while bytes[at + 1] != 0xda {
        at += 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
    }
    at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))
}

#[test]
fn good_files_have_the_pixels_of_the_lenient_decoder() {
    for (name, bytes) in SAMPLES {
        let expected = image::load_from_memory(bytes).unwrap();
        assert_eq!((expected.width(), expected.height()), (19, 13));
        assert!(pixels(bytes).unwrap() == expected, "{name}");
        // Some cameras append a second picture or other data.
        for tail in [&b"tail"[..], &[0; 300], bytes, &END] {
            let longer = [bytes, tail].concat();
            assert!(pixels(&longer).unwrap() == expected, "{name}");
        }
    }
}

/// The lenient decoder accepts nearly all cut files and fills the missing part with grey.
#[test]
fn a_cut_anywhere_is_refused() {
    for (name, bytes) in SAMPLES {
        let expected = pixels(bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(pixels(&bytes[..length]).is_err(), "{name} cut at {length}");
            // With an end marker after the cut, as some programs write it.
            let ended = [&bytes[..length], &END].concat();
            if let Ok(found) = pixels(&ended) {
                assert!(found == expected, "{name} ended at {length}");
            }
        }
    }
    let (_, bytes) = SAMPLES[0];
    let cuts = (scan(bytes) + 1..bytes.len()).map(|length| &bytes[..length]);
    assert!(
        cuts.filter(|cut| image::load_from_memory(cut).is_ok())
            .count()
            > 100
    );
}

/// If so many bytes are missing or added, the number of blocks is hardly ever right.
#[test]
fn bytes_that_are_missing_or_too_many_are_refused() {
    for (name, bytes) in SAMPLES {
        let (mut taken, mut tried) = (0, 0);
        for place in scan(bytes)..bytes.len().saturating_sub(62) {
            let mut fewer = bytes.to_vec();
            let gone: Vec<u8> = fewer.drain(place..place + 60).collect();
            let mut more = bytes.to_vec();
            more.splice(place..place, gone);
            tried += 2;
            taken += [fewer, more]
                .iter()
                .filter(|bytes| pixels(bytes).is_ok())
                .count();
        }
        assert!(taken * 10 <= tried, "{name}: {taken} of {tried}");
    }
}

/// No change may cause a panic or an unnecessary allocation.
#[test]
fn any_change_is_read_or_refused() {
    for (_, bytes) in SAMPLES {
        for place in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff, bytes[place] ^ 0x10] {
                let mut changed = bytes.to_vec();
                changed[place] = value;
                let read = pixelcnn_system::guarded(|| whole::check(&changed).is_ok());
                assert!(read.is_ok(), "{value} at {place}: {read:?}");
            }
        }
    }
}

#[test]
fn errors_in_jpeg_files_are_described() {
    let (_, good) = SAMPLES[0];
    let frame = good
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    let change = |place: usize, bytes: &[u8]| {
        let mut changed = good.to_vec();
        changed.splice(place..place + bytes.len(), bytes.iter().copied());
        changed
    };
    let scan = scan(good);
    // The decoder takes the tables of codes for comments.
    let mut without_codes = good.to_vec();
    for place in 0..scan {
        if without_codes[place..].starts_with(&[0xff, 0xc4]) {
            without_codes[place + 1] = 0xfe;
        }
    }
    for (bytes, part) in [
        (good[..good.len() - 2].to_vec(), "the file ends after"),
        (good[..scan + 9].to_vec(), "end too early, at byte"),
        (change(frame + 4, &[12]), "12 bits per value"),
        (
            change(frame + 5, &[255, 255, 255, 255]),
            "65535x65535 pixels",
        ),
        (change(frame + 5, &[0, 0]), "19x0"),
        (change(frame + 1, &[0xc9]), "arithmetic codes"),
        (
            change(frame + 11, &[0x31]),
            "3x1 times, which is not supported",
        ),
        (without_codes, "frames of a film may lack their tables"),
        (change(scan, &[0xff, 0xd9]), "end too early, at byte"),
        (change(20, &[0]), "a marker is missing"),
        (
            [&good[..good.len() - 2], &[1, 2, 3], &END].concat(),
            "continue after their end",
        ),
    ] {
        let error = pixels(&bytes).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
}
