//! `cargo xtask bench codec --against-codecs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// The output of `pixelcnn bench codec --json`.
#[derive(Debug, Deserialize)]
struct Measured {
    images: usize,
    values: u64,
    ways: Vec<Way>,
}

#[derive(Debug, Deserialize)]
struct Way {
    name: String,
    bytes: u64,
    encode_seconds: f64,
    decode_seconds: f64,
}

/// A program that compresses a PNG file without loss.
struct Codec {
    name: &'static str,
    /// Compresses the first file into the second.
    encode: &'static [&'static str],
    /// Decompresses the second file; none for PNG itself.
    decode: Option<&'static [&'static str]>,
    ending: &'static str,
}

const IN: &str = "{in}";
const OUT: &str = "{out}";

/// Each in its best mode that is not out of proportion.
const CODECS: [Codec; 3] = [
    Codec {
        name: "PNG (oxipng -o 4)",
        encode: &[
            "oxipng", "-q", "-o", "4", "--strip", "all", "--out", OUT, IN,
        ],
        decode: None,
        ending: "png",
    },
    Codec {
        name: "WebP (cwebp -z 9)",
        encode: &["cwebp", "-quiet", "-z", "9", IN, "-o", OUT],
        decode: Some(&["dwebp", "-quiet", IN, "-o", OUT]),
        ending: "webp",
    },
    Codec {
        name: "JPEG XL (cjxl -d 0 -e 9)",
        encode: &["cjxl", "--quiet", "-d", "0", "-e", "9", IN, OUT],
        decode: Some(&["djxl", "--quiet", IN, OUT]),
        ending: "jxl",
    },
];

/// Measures the program, then the others on the same images: as single files, and side by side
/// as one picture, where headers do not count. Prints a table.
///
/// # Errors
/// When the program or one of the others fails.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("pixelcnn-codec-{}", std::process::id()));
    let measured = measure(command, &folder);
    // A folder that cannot be removed does no harm.
    let _ = fs::remove_dir_all(&folder);
    measured
}

fn measure(command: &mut Command, folder: &Path) -> Result<()> {
    let pictures = folder.join("pictures");
    fs::create_dir_all(folder)?;
    command.arg("--pictures").arg(&pictures).arg("--json");
    let ours: Measured = process::last_line_json(command)?;
    let mut files = fs::read_dir(&pictures)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    let sheet = pictures.join("sheet.png");
    files.retain(|file| *file != sheet);
    let mut lines = ours.ways;
    let mut missing = Vec::new();
    for codec in &CODECS {
        let program = codec.encode[0];
        if !is_installed(program) {
            missing.push(program);
            continue;
        }
        for (what, files) in [
            ("single files", &files[..]),
            ("sheet", std::slice::from_ref(&sheet)),
        ] {
            let way = codec.measure(files, folder)?;
            let name = format!("{}, {what}", codec.name);
            lines.push(Way { name, ..way });
        }
    }
    println!("{} images, {} values\n", ours.images, ours.values);
    print!("{}", table(&lines, ours.values));
    if !missing.is_empty() {
        println!("\nnot installed: {}", missing.join(", "));
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}

impl Codec {
    fn measure(&self, files: &[PathBuf], folder: &Path) -> Result<Way> {
        let mut way = Way {
            name: String::new(),
            bytes: 0,
            encode_seconds: 0.0,
            decode_seconds: 0.0,
        };
        let out = folder.join(format!("out.{}", self.ending));
        let back = folder.join("back.png");
        for file in files {
            way.encode_seconds += seconds(self.encode, file, &out)?;
            way.bytes += fs::metadata(&out)?.len();
            way.decode_seconds += match self.decode {
                None => 0.0,
                Some(decode) => seconds(decode, &out, &back)?,
            };
        }
        Ok(way)
    }
}

/// The time of a program on one file, with its start.
fn seconds(words: &[&str], input: &Path, output: &Path) -> Result<f64> {
    let mut command = Command::new(words[0]);
    for word in &words[1..] {
        match *word {
            IN => command.arg(input),
            OUT => command.arg(output),
            word => command.arg(word),
        };
    }
    let line = process::shell_line(&command);
    let start = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`{line}` failed: {why}");
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A Markdown table of all ways.
fn table(ways: &[Way], values: u64) -> String {
    let mut text = String::from(
        "| | bytes | bits/dim | compress, MB/s | decompress, MB/s |\n|---|---:|---:|---:|---:|\n",
    );
    let speed = |seconds: f64| match seconds > 0.0 {
        true => format!("{:.3}", values as f64 / 1e6 / seconds),
        false => "".to_string(),
    };
    for way in ways {
        let bits_per_dim = 8.0 * way.bytes as f64 / values as f64;
        text.push_str(&format!(
            "| {} | {} | {bits_per_dim:.3} | {} | {} |\n",
            way.name,
            way.bytes,
            speed(way.encode_seconds),
            speed(way.decode_seconds)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_bits_and_speeds() {
        let way = Way {
            name: "sheet".into(),
            bytes: 500,
            encode_seconds: 0.5,
            decode_seconds: 0.0,
        };
        let text = table(&[way], 1_000_000);
        let last = text.lines().last().unwrap();
        assert_eq!(last, "| sheet | 500 | 0.004 | 2.000 |  |");
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_installed() {
        assert!(!is_installed("no-such-program-of-pixelcnn"));
    }

    #[cfg(unix)]
    #[test]
    fn files_take_the_place_of_their_words() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in.png"), folder.path().join("out"));
        fs::write(&input, [7; 12]).unwrap();
        assert!(seconds(&["cp", IN, OUT], &input, &output).unwrap() > 0.0);
        assert_eq!(fs::read(&output).unwrap().len(), 12);
        let error = seconds(&["cp", OUT, IN, "nowhere/at/all"], &input, &output).unwrap_err();
        assert!(error.to_string().contains("failed"), "{error}");
    }
}
