//! Writes a file of records of any size, to test data sets that are larger than the memory.
//! The images are 32x32 noise, with labels 0 to 9 in turn.
//!
//! ```text
//! cargo run --release -p pixelcnn-data --example large_records -- FILE GIGABYTES
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The values of a record.
const VALUES: usize = 3 * 32 * 32;
/// Number of bytes of noise. Records are copied from them, because generating them would be
/// slower than the disk.
const NOISE: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, gigabytes] = &arguments[..] else {
        return Err("FILE GIGABYTES expected".into());
    };
    let bytes = gigabytes.parse::<f64>()? * 1e9;
    let records = (bytes / (VALUES + 1) as f64) as usize;
    let mut noise = vec![0; NOISE + VALUES];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut noise);
    let mut file = BufWriter::with_capacity(1 << 22, File::create(path)?);
    for record in 0..records {
        file.write_all(&[(record % 10) as u8])?;
        let start = record * 7919 % NOISE;
        file.write_all(&noise[start..start + VALUES])?;
    }
    file.flush()?;
    println!("{path}: {records} records");
    Ok(())
}
