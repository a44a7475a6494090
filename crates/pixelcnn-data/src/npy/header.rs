//! The header of a NumPy array: its type, its order, its shape.

use std::io::{self, Read};

use crate::file::damage;

/// Limit on the length of a header; those of NumPy have about a hundred bytes.
const LONGEST: usize = 1 << 16;

/// The header of an array.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The type of a value in NumPy's notation, such as `<f4`.
    pub(crate) kind: String,
    /// Bytes per value.
    pub(crate) size: usize,
    pub(crate) shape: Vec<usize>,
    /// Bytes before the first value.
    pub(crate) length: usize,
}

impl Header {
    /// Reads an array up to its values. The error is only the
    /// reason.
    pub(crate) fn read(reader: &mut dyn Read) -> Result<Self, String> {
        let magic: [u8; 8] = take(reader)?;
        let (before, length) = match magic {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => {
                (10, usize::from(u16::from_le_bytes(take(reader)?)))
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => {
                (12, u32::from_le_bytes(take(reader)?) as usize)
            }
            _ => return Err("it is not a NumPy file of version 1 to 3".into()),
        };
        if length > LONGEST {
            return Err(format!(
                "its header has {length} bytes, at most {LONGEST} expected"
            ));
        }
        let mut text = Vec::new();
        let read = reader.take(length as u64).read_to_end(&mut text);
        if read.map_err(|error| damage(&error))? < length {
            return Err("it ends within its header".into());
        }
        let text = String::from_utf8(text).map_err(|_| "its header is not text".to_string())?;
        let text = text.trim();
        let mut header =
            parse(text).ok_or_else(|| format!("its header cannot be parsed: {text}"))??;
        header.length = before + length;
        Ok(header)
    }

    /// The type without the byte order, such as `f4`.
    pub(crate) fn number(&self) -> &str {
        self.kind.trim_start_matches(['<', '|', '=', '>'])
    }

    /// Number of values; `None` if it overflows.
    pub(crate) fn values(&self) -> Option<usize> {
        let count = self
            .shape
            .iter()
            .try_fold(1_usize, |count, &side| count.checked_mul(side));
        count.filter(|count| {
            count
                .checked_mul(self.size)
                .is_some_and(|bytes| bytes < isize::MAX as usize)
        })
    }

    /// The shape in Python's notation.
    pub(crate) fn shape_text(&self) -> String {
        match &self.shape[..] {
            [only] => format!("({only},)"),
            sides => {
                let sides: Vec<String> = sides.iter().map(usize::to_string).collect();
                format!("({})", sides.join(", "))
            }
        }
    }
}

/// The next bytes.
fn take<const N: usize>(reader: &mut dyn Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("it ends within its header".into())
        }
        Err(error) => Err(damage(&error)),
    }
}

/// Parses the dictionary of a header; `None` if it is not such a dictionary, an
/// error if the array is not supported.
fn parse(text: &str) -> Option<Result<Header, String>> {
    let text = text.strip_prefix('{')?.strip_suffix('}')?;
    // Types of several fields are written as lists of them.
    if text.contains('[') {
        let reason = "its values have several fields: save one of them, for example arr['name']";
        return Some(Err(reason.into()));
    }
    let (mut kind, mut fortran, mut shape) = (None, None, None);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once(':')?;
        let value = value.trim_start();
        let place = match key.trim().trim_matches(['\'', '"']) {
            "descr" => &mut kind,
            "fortran_order" => &mut fortran,
            "shape" => &mut shape,
            _ => return None,
        };
        let end = match value.strip_prefix('(') {
            Some(inside) => inside.find(')')? + 2,
            None => value.find(',').unwrap_or(value.len()),
        };
        let (value, after) = value.split_at(end);
        // With two, it would be unknown which one is meant.
        if place.replace(value.trim()).is_some() {
            return None;
        }
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    let shape = sides(shape?)?;
    let kind = kind?.strip_prefix(['\'', '"'])?.strip_suffix(['\'', '"'])?;
    let order = match fortran? {
        "False" => Order::Rows,
        "True" => Order::Columns,
        _ => return None,
    };
    Some(check(kind, order, shape))
}

/// The order of the values of an array.
#[derive(PartialEq)]
enum Order {
    /// The last axis is contiguous, as in C.
    Rows,
    /// The first axis is contiguous, as in Fortran.
    Columns,
}

fn sides(text: &str) -> Option<Vec<usize>> {
    let inside = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    if inside.is_empty() {
        return Some(Vec::new());
    }
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    let sides = inside.split(',').map(|side| {
        let side = side.trim();
        // A sign would be read too.
        side.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| side.parse().ok())?
    });
    sides.collect()
}

fn check(kind: &str, order: Order, shape: Vec<usize>) -> Result<Header, String> {
    let sides = |shape: &[usize]| shape.iter().filter(|&&side| side > 1).count();
    if order == Order::Columns && sides(&shape) > 1 {
        return Err("its values are in Fortran order: save numpy.ascontiguousarray(arr)".into());
    }
    let mut letters = kind.chars();
    let (Some(end), Some(family)) = (letters.next(), letters.next()) else {
        return Err(format!("its values have the unknown type {kind}"));
    };
    let size: Option<usize> = letters.as_str().parse().ok();
    match (end, family, size) {
        (_, 'O', _) => Err("its values are Python objects: save an array of numbers, \
                            for example arr.astype('<f4')"
            .into()),
        (_, 'U' | 'S' | 'a', _) => Err("its values are text: save an array of numbers".into()),
        (_, 'V', _) => {
            Err("its values have several fields: save one of them, for example arr['name']".into())
        }
        ('>', 'f' | 'i' | 'u' | 'c', Some(2..)) => Err(format!(
            "its values are big-endian (type {kind}): save arr.astype('<{family}{}')",
            letters.as_str()
        )),
        ('<' | '|' | '=' | '>', 'b' | 'i' | 'u' | 'f' | 'c', Some(size @ (1 | 2 | 4 | 8 | 16))) => {
            Ok(Header {
                kind: kind.into(),
                size,
                shape,
                length: 0,
            })
        }
        _ => Err(format!("its values have the unknown type {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Header, String> {
        let length = (text.len() as u16).to_le_bytes();
        let bytes = [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes()].concat();
        Header::read(&mut bytes.as_slice())
    }

    #[test]
    fn headers_of_numpy_are_read() {
        for (text, kind, size, shape) in [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3), }  \n",
                "<f4",
                4,
                vec![5, 3],
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (), }",
                "|u1",
                1,
                vec![],
            ),
            (
                "{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }",
                "<i8",
                8,
                vec![7],
            ),
            (
                "{'shape': (7,), 'fortran_order': True, 'descr': '|b1'}",
                "|b1",
                1,
                vec![7],
            ),
        ] {
            let header = read(text).unwrap();
            assert_eq!((header.kind.as_str(), header.size), (kind, size));
            assert_eq!((header.shape, header.length), (shape, 10 + text.len()));
        }
    }

    #[test]
    fn unsupported_headers_say_how_to_save_them() {
        let with = |kind: &str| {
            read(&format!(
                "{{'descr': {kind}, 'fortran_order': False, 'shape': (1,), }}"
            ))
            .unwrap_err()
        };
        for (kind, part) in [
            ("'>f4'", "big-endian (type >f4): save arr.astype('<f4')"),
            ("'>i8'", "astype('<i8')"),
            ("'|O'", "Python objects"),
            ("'<U5'", "text"),
            ("'|V8'", "several fields"),
            ("[('a', '<f4'), ('b', '<i4')]", "several fields"),
            ("'<f3'", "type <f3"),
            ("'é'", "type é"),
            ("''", "type "),
        ] {
            let error = with(kind);
            assert!(error.contains(part), "{kind}: {error}");
        }
        let fortran = read("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }");
        assert!(
            fortran
                .unwrap_err()
                .contains("numpy.ascontiguousarray(arr)")
        );
    }

    #[test]
    fn half_a_header_is_refused() {
        for text in [
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (2,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (+1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,2)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
        ] {
            assert!(
                read(text).unwrap_err().contains("cannot be parsed"),
                "{text}"
            );
        }
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}";
        assert!(read(text).is_err());
        let many = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}";
        assert_eq!(read(many).unwrap().values(), None);
        let mut cut: &[u8] = b"\x93NUMPY\x01\x00\x76\x00{'descr'";
        assert!(Header::read(&mut cut).unwrap_err().contains("ends within"));
        let mut long: &[u8] = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'";
        assert!(
            Header::read(&mut long)
                .unwrap_err()
                .contains("4294967295 bytes")
        );
    }
}
