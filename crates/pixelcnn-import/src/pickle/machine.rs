//! The machine of a pickle, without calls.

use std::collections::BTreeMap;

use super::tensor;
use super::value::{Global, Id, Pickle, UNKNOWN, Value, get, get_mut, push, text};

/// Limit on the number of instructions, because a value in memory is longer than the
/// instruction that makes it. A tensor takes about forty.
const MOST_INSTRUCTIONS: usize = 1 << 19;

/// Reads a pickle.
///
/// # Errors
///
/// The error has the position in the pickle.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: vec![Value::Unknown],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    for _ in 0..MOST_INSTRUCTIONS {
        let start = machine.at;
        let done = machine.step();
        match done {
            Ok(None) => {}
            Ok(Some(root)) => {
                let values = machine.values;
                return Ok(Pickle { values, root });
            }
            Err(why) => return Err(format!("byte {start} of its pickle: {why}")),
        }
    }
    Err(format!(
        "its pickle has more than {MOST_INSTRUCTIONS} instructions"
    ))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// The heights of the stack at marks.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

const ENDS: &str = "it is truncated or damaged";

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    /// Does one instruction; at the end, returns the value.
    fn step(&mut self) -> Step<Option<Id>> {
        let code = self.byte()?;
        match code {
            b'.' => return self.pop().map(Some),
            0x80 => self.take(1).map(|_| ())?,
            0x95 => self.take(8).map(|_| ())?,
            b'(' => self.marks.push(self.stack.len()),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Box::default())),
            b']' | 0x8f | b'N' | 0x88 | 0x89 => self.stack.push(UNKNOWN),
            b'h' | b'j' | b'q' | b'r' | 0x94 => self.memory(code)?,
            b'X' | 0x8c | 0x8d | b'C' | b'B' | 0x8e => self.bytes_or_text(code)?,
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(code)?,
            b't' | 0x85 | 0x86 | 0x87 => {
                let parts = self.parts(code)?;
                self.push(Value::Tuple(parts.into()));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let parts = self.since_mark()?;
                self.insert(&parts)?;
            }
            b'a' => self.pop().map(|_| ())?,
            b'e' | 0x90 => self.since_mark().map(|_| ())?,
            b'c' | 0x93 => self.global(code)?,
            b'R' => self.call()?,
            0x81 => {
                let _ = (self.pop()?, self.pop()?);
                self.stack.push(UNKNOWN);
            }
            // The state of an object, such as the `_metadata` of a state dict.
            b'b' => self.pop().map(|_| ())?,
            b'Q' => {
                let id = self.pop()?;
                let storage = match get(&self.values, id) {
                    Value::Tuple(parts) => tensor::storage(&self.values, parts),
                    _ => None,
                };
                let storage = storage.map_or(Value::Unknown, |it| Value::Storage(Box::new(it)));
                self.push(storage);
            }
            _ => {
                return Err(format!(
                    "an instruction ({code:#04x}) that a state dict does not need: pickles with \
                     other instructions are not read; save the state dict alone with torch.save, \
                     or with safetensors"
                ));
            }
        }
        Ok(None)
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let bytes = self.bytes.get(self.at..).unwrap_or_default();
        let taken = bytes.get(..count).ok_or(ENDS)?;
        self.at += count;
        Ok(taken)
    }

    /// A little-endian number of at most 8 bytes, without sign.
    fn whole(&mut self, bytes: usize) -> Step<u64> {
        let taken = self.take(bytes)?;
        Ok(taken
            .iter()
            .rev()
            .fold(0, |all, byte| (all << 8) | u64::from(*byte)))
    }

    fn push(&mut self, value: Value<'a>) {
        let id = match value {
            Value::Unknown => UNKNOWN,
            value => push(&mut self.values, value),
        };
        self.stack.push(id);
    }

    fn pop(&mut self) -> Step<Id> {
        if self.marks.last().copied().unwrap_or(0) >= self.stack.len() {
            return Err(ENDS.to_string());
        }
        self.stack.pop().ok_or_else(|| ENDS.to_string())
    }

    fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or(ENDS)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn parts(&mut self, code: u8) -> Step<Vec<Id>> {
        if code == b't' {
            return self.since_mark();
        }
        let count = usize::from(code - 0x84);
        let mut parts = (0..count).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        parts.reverse();
        Ok(parts)
    }

    /// Writes the last value into the memory, or pushes one of the memory.
    fn memory(&mut self, code: u8) -> Step<()> {
        let place = match code {
            b'h' | b'q' => self.whole(1)?,
            b'j' | b'r' => self.whole(4)?,
            _ => self.memo.len() as u64,
        };
        let place = u32::try_from(place).map_err(|_| ENDS)?;
        match code {
            b'h' | b'j' => {
                let id = *self.memo.get(&place).ok_or(ENDS)?;
                self.stack.push(id);
            }
            _ => {
                let id = self.pop()?;
                self.stack.push(id);
                self.memo.insert(place, id);
            }
        }
        Ok(())
    }

    fn bytes_or_text(&mut self, code: u8) -> Step<()> {
        let length = match code {
            0x8c | b'C' => self.whole(1)?,
            b'X' | b'B' => self.whole(4)?,
            _ => self.whole(8)?,
        };
        let bytes = self.take(usize::try_from(length).map_err(|_| ENDS)?)?;
        match code {
            b'X' | 0x8c | 0x8d => {
                let text = std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
                self.push(Value::Text(text));
            }
            _ => self.stack.push(UNKNOWN),
        }
        Ok(())
    }

    fn number(&mut self, code: u8) -> Step<()> {
        let value = match code {
            b'K' => Value::Number(self.whole(1)? as i64),
            b'M' => Value::Number(self.whole(2)? as i64),
            b'J' => Value::Number(i64::from(self.whole(4)? as u32 as i32)),
            // A float: nothing of a state dict is one.
            b'G' => {
                self.take(8)?;
                Value::Unknown
            }
            _ => match usize::from(self.byte()?) {
                0 => Value::Number(0),
                count @ 1..=8 => {
                    let unused = 64 - 8 * count as u32;
                    Value::Number(((self.whole(count)? << unused) as i64) >> unused)
                }
                count => {
                    self.take(count)?;
                    Value::Unknown
                }
            },
        };
        self.push(value);
        Ok(())
    }

    /// Adds keys and values to the dictionary before them.
    fn insert(&mut self, parts: &[Id]) -> Step<()> {
        let target = self.pop()?;
        self.stack.push(target);
        let pairs = parts.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("a key without a value".to_string());
        }
        match get_mut(&mut self.values, target) {
            Some(Value::Dict(entries)) => entries.extend(pairs.map(|pair| (pair[0], pair[1]))),
            Some(Value::Unknown) => {}
            _ => return Err("a key and a value for something that has none".to_string()),
        }
        Ok(())
    }

    /// The name of a class or function. It is compared with those that are known, and never
    /// looked up.
    fn global(&mut self, code: u8) -> Step<()> {
        let known = match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Global::known(module, name)
            }
            _ => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id| text(&self.values, id);
                text(module)
                    .zip(text(name))
                    .and_then(|(module, name)| Global::known(module, name))
            }
        };
        self.push(known.map_or(Value::Unknown, Value::Global));
        Ok(())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(ENDS)?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| "a name that is not UTF-8".to_string())
    }

    /// What a call of a known function would give, without a call.
    fn call(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Tuple(parts) = get(&self.values, arguments) else {
            return Err("a call without arguments".to_string());
        };
        let made = match get(&self.values, function) {
            Value::Global(Global::OrderedDict) if parts.is_empty() => Value::Dict(Vec::new()),
            Value::Global(Global::RebuildTensor) => Value::Tensor(arguments),
            Value::Global(Global::RebuildParameter) => {
                self.stack.push(parts.first().copied().unwrap_or(UNKNOWN));
                return Ok(());
            }
            _ => Value::Unknown,
        };
        self.push(made);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": (3, -2), "b": tensor}` in the words of protocol 2.
    fn small() -> Vec<u8> {
        let text = |text: &str| {
            let length = (text.len() as u32).to_le_bytes();
            [&b"X"[..], &length, text.as_bytes()].concat()
        };
        let storage = [
            &b"("[..],
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text("7"),
            &text("cpu"),
            b"K\x06tQ",
        ];
        [
            &b"\x80\x02}q\x00("[..],
            &text("a"),
            b"K\x03J\xfe\xff\xff\xff\x86",
            &text("b"),
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            &storage.concat(),
            b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR",
            b"u.",
        ]
        .concat()
    }

    #[test]
    fn a_dictionary_with_a_tensor_is_read() {
        let bytes = small();
        let pickle = read(&bytes).unwrap();
        let Value::Dict(entries) = pickle.root() else {
            panic!("a dictionary expected: {:?}", pickle.root());
        };
        assert_eq!(pickle.text(entries[0].0), Some("a"));
        let tensor = pickle.tensor(entries[1].1).unwrap();
        assert_eq!((tensor.key.as_str(), tensor.length), ("7", 6));
        assert_eq!((&tensor.shape, &tensor.strides), (&vec![2, 3], &vec![3, 1]));
        assert!(tensor.is_contiguous());
        assert_eq!((tensor.count(), tensor.end()), (Some(6), Some(6)));
    }

    #[test]
    fn whole_numbers_have_their_sign() {
        for (bytes, expected) in [
            (&b"K\xfe."[..], 254),
            (b"M\xfe\xff.", 65_534),
            (b"J\xfe\xff\xff\xff.", -2),
            (b"\x8a\0.", 0),
            (b"\x8a\x01\xfe.", -2),
            (b"\x8a\x02\xfe\0.", 254),
            (b"\x8a\x08\xfe\xff\xff\xff\xff\xff\xff\xff.", -2),
        ] {
            let pickle = read(bytes).unwrap();
            let found = pickle.root();
            assert!(
                matches!(found, Value::Number(number) if *number == expected),
                "{bytes:?}: {found:?}"
            );
        }
    }

    #[test]
    fn calls_of_other_functions_are_not_made() {
        let bytes = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.";
        assert!(matches!(read(bytes).unwrap().root(), Value::Unknown));
        // A dictionary that is not made empty has entries that are not read.
        let bytes = b"\x80\x02ccollections\nOrderedDict\n]\x85R.";
        assert!(matches!(read(bytes).unwrap().root(), Value::Unknown));
    }

    #[test]
    fn what_is_not_known_or_not_whole_is_refused_with_its_place() {
        let whole = small();
        for length in 0..whole.len() {
            let error = read(&whole[..length]).unwrap_err();
            assert!(error.starts_with("byte "), "{error}");
        }
        let error = read(b"\x80\x02(i__main__\nThing\n.").unwrap_err();
        assert!(
            error.contains("byte 3") && error.contains("0x69"),
            "{error}"
        );
        for bytes in [
            &b"."[..],
            b"a.",
            b"(.",
            // Nothing below a mark is taken.
            b"N(.",
            b"K\x01K\x02s.",
            b"}(K\x01u.",
            b"X\x01\0\0\0\xff.",
            b"t.",
            b"h\x05.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        let endless = vec![b'N'; MOST_INSTRUCTIONS + 1];
        assert!(read(&endless).unwrap_err().contains("instructions"));
    }
}
