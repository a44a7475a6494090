//! Launches of kernels on the CPU.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use candle_core::{Device, Tensor};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pixelcnn-cuda/kernels");

/// Compiles C++ that includes the headers of the kernels; `None` without a compiler.
pub(crate) fn compile(name: &str, sources: &[PathBuf]) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new("c++");
    // Kernels read several numbers as one of another type.
    command.args([
        "-std=c++17",
        "-O1",
        "-ffp-contract=off",
        "-fno-strict-aliasing",
        // A device refuses a wide access to an address that is not a multiple of its width.
        "-fsanitize=alignment",
        "-fsanitize-undefined-trap-on-error",
    ]);
    command.args(["-I", KERNELS]).args(sources).arg("-o");
    match command.arg(&place).output() {
        Err(error) => {
            println!("skipped: there is no C++ compiler ({error})");
            None
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            Some(place)
        }
    }
}

/// A source of the crate of the kernels.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(KERNELS).join(name)
}

/// The program that runs kernels, or `None` without a C++ compiler.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let sources = || ["host.cpp", "fibres.cpp", "launch.cpp"].map(source);
    let program = PROGRAM.get_or_init(|| compile("cuda-kernels-on-the-host", &sources()));
    program.as_deref()
}

/// Whether kernels can run here.
pub(crate) fn can_run() -> bool {
    program().is_some()
}

/// One launch: its name, its grid, and its arguments in their order.
pub(crate) struct Launch {
    name: String,
    blocks: usize,
    threads: usize,
    arguments: Vec<u8>,
    buffers: Vec<usize>,
}

impl Launch {
    pub(crate) fn new(name: &str, blocks: usize, threads: usize) -> Self {
        Self {
            name: name.to_owned(),
            blocks,
            threads,
            arguments: Vec::new(),
            buffers: Vec::new(),
        }
    }

    pub(crate) fn number(mut self, number: f64) -> Self {
        self.arguments.extend(format!("number {number}\n").bytes());
        self
    }

    /// A struct that is passed by value.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.arguments
            .extend(format!("bytes {}\n", bytes.len()).bytes());
        self.arguments.extend(bytes);
        self
    }

    /// Memory of the device; `run` returns what the kernel leaves in it.
    pub(crate) fn buffer(mut self, bytes: &[u8]) -> Self {
        self.arguments
            .extend(format!("buffer {}\n", bytes.len()).bytes());
        self.arguments.extend(bytes);
        self.buffers.push(bytes.len());
        self
    }

    /// A pointer to the memory of an earlier buffer, by its number.
    pub(crate) fn again(mut self, buffer: usize) -> Self {
        self.arguments.extend(format!("again {buffer}\n").bytes());
        self
    }

    /// A null pointer.
    pub(crate) fn null(self) -> Self {
        self.bytes(&[0; 8])
    }

    pub(crate) fn floats(self, values: &[f32]) -> Self {
        self.buffer(&to_bytes(values))
    }

    pub(crate) fn tensor(self, tensor: &Tensor) -> Self {
        self.floats(&floats(tensor))
    }

    /// Memory that only addresses in another buffer name.
    pub(crate) fn memory(mut self, bytes: &[u8]) -> Self {
        self.arguments
            .extend(format!("memory {}\n", bytes.len()).bytes());
        self.arguments.extend(bytes);
        self.buffers.push(bytes.len());
        self
    }

    /// Puts addresses of earlier buffers into the last one: pairs of an offset and a buffer.
    pub(crate) fn addresses(mut self, addresses: &[(usize, usize)]) -> Self {
        self.arguments
            .extend(format!("addresses {}\n", addresses.len()).bytes());
        for (offset, buffer) in addresses {
            self.arguments
                .extend(format!("{offset} {buffer}\n").bytes());
        }
        self
    }

    /// Runs the kernel twice, with the threads of a block in both orders, and returns the
    /// buffers. A missing barrier makes the two differ.
    pub(crate) fn run(&self) -> Vec<Vec<u8>> {
        let first = self.run_in_order(0);
        assert_eq!(
            first,
            self.run_in_order(1),
            "{}: the order matters",
            self.name
        );
        let mut rest = first.as_slice();
        let mut take = |count: &usize| {
            let (buffer, others) = rest.split_at(*count);
            rest = others;
            buffer.to_vec()
        };
        self.buffers.iter().map(&mut take).collect()
    }

    fn run_in_order(&self, order: usize) -> Vec<u8> {
        let mut child = Command::new(program().expect("a C++ compiler"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = format!("{}\n{} {} {order}\n", self.name, self.blocks, self.threads);
        let mut to = child.stdin.take().unwrap();
        to.write_all(input.as_bytes()).unwrap();
        to.write_all(&self.arguments).unwrap();
        input = "end\n".to_owned();
        to.write_all(input.as_bytes()).unwrap();
        drop(to);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}: {}", self.name, output.status);
        output.stdout
    }
}

/// The numbers of a tensor in f32.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(candle_core::DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Numbers as the bytes of a buffer, and back.
pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    bytes.collect()
}

pub(crate) fn as_floats(bytes: &[u8]) -> Vec<f32> {
    let numbers = bytes.as_chunks::<4>().0.iter();
    numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A buffer of bf16, and the bf16 nearest to numbers.
pub(crate) fn from_bf16(bytes: &[u8]) -> Vec<f32> {
    let numbers = bytes.as_chunks::<2>().0.iter();
    let widened = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    numbers.map(widened).collect()
}

pub(crate) fn to_bf16(values: &[f32]) -> Vec<u8> {
    let tensor = Tensor::new(values, &Device::Cpu).unwrap();
    let tensor = tensor.to_dtype(candle_core::DType::BF16).unwrap();
    let rounded = floats(&tensor);
    let upper = |value: &f32| ((value.to_bits() >> 16) as u16).to_le_bytes();
    rounded.iter().flat_map(upper).collect()
}

/// Fails unless the numbers agree to `allowed` of the largest.
pub(crate) fn close(what: &str, found: &[f32], expected: &[f32], allowed: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(1e-30f32, |most, value| most.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= allowed * largest,
            "{what}: at {index} {expected} expected, found {found}"
        );
    }
}
