//! `cargo xtask golden`: short training runs give the same weights as before, to the
//! bit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::experiment::files;
use crate::experiment::program::{self, Program};
use crate::process;

/// Updates of each training.
const STEPS: i64 = 60;

/// The quick configs whose data come with the repository, each with the config of
/// its pretrained encoder.
const CONFIGS: [(&str, Option<&str>); 22] = [
    ("table1/quick/gaussian", None),
    ("table1/quick/pixelcnn", None),
    ("table1/quick/gated-pixelcnn", None),
    ("table2/quick/gated-pixelcnn-32", None),
    ("figure3/quick/classifier", None),
    ("figure3/quick/class-conditional", None),
    ("figure3/quick/unconditional", None),
    ("figure4/quick/embedding", None),
    ("figure4/quick/portraits", Some("figure4/quick/embedding")),
    ("figure4/quick/unconditional", None),
    ("figure6/quick/mse-10", None),
    ("figure6/quick/mse-100", None),
    ("figure6/quick/code-10", Some("figure6/quick/mse-10")),
    ("figure6/quick/code-100", Some("figure6/quick/mse-100")),
    ("figure6/quick/variational-10", Some("figure6/quick/mse-10")),
    ("figure6/quick/unconditional", None),
    ("figure7/quick/small", None),
    ("figure7/quick/large", None),
    ("conditions/quick/captions", None),
    ("conditions/quick/colourisation", None),
    ("conditions/quick/super-resolution", None),
    ("conditions/quick/unconditional", None),
];

/// Which configs to run, and whether to write the results.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the checksums for this kind of processor instead of comparing with them
    #[arg(long)]
    write: bool,
    /// Train only configs whose name contains this
    #[arg(long, value_name = "TEXT", conflicts_with = "write")]
    only: Option<String>,
}

/// Trains each config for 60 updates on one and on two threads, and compares
/// checksums of `model.safetensors` and the validation scores with those in
/// `fixtures/golden/training-LEVEL.tsv`.
///
/// # Errors
/// When the program does not build or run, or a result differs.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let program = Program::build(&mut program::build_command(root, None), "pixelcnn")?;
    let path = root.join(format!(
        "fixtures/golden/training-{}.tsv",
        instruction_set()
    ));
    let scratch = tempfile::tempdir()?;
    let mut found = BTreeMap::new();
    for (name, encoder) in CONFIGS {
        let wanted = arguments.only.as_deref().unwrap_or_default();
        if !(name.contains(wanted) || needed_by(name, wanted)) {
            continue;
        }
        for threads in [1, 2] {
            let one = Training {
                root,
                program: &program,
                folder: scratch.path().join(threads.to_string()),
                threads,
            };
            found.insert((name.to_owned(), threads), one.result(name, encoder)?);
        }
    }
    if arguments.write {
        return files::write(&path, &table(&found)?);
    }
    let expected = std::fs::read(&path).with_context(|| {
        format!(
            "there are no checksums for this kind of processor at {}; --write makes them",
            path.display()
        )
    })?;
    compare(&expected, &found)
}

/// Whether a requested config needs the network of this config as pretrained encoder.
fn needed_by(name: &str, wanted: &str) -> bool {
    let mut begun = CONFIGS.iter().filter(|(_, encoder)| *encoder == Some(name));
    begun.any(|(config, _)| config.contains(wanted))
}

/// The results of a config and a number of threads: checksum and score.
type Results = BTreeMap<(String, usize), (String, String)>;

fn table(results: &Results) -> Result<Vec<u8>> {
    let mut table = csv::WriterBuilder::new()
        .delimiter(b'\t')
        .from_writer(Vec::new());
    table.write_record([
        "config",
        "threads",
        "model.safetensors (XXH3)",
        "validation score",
    ])?;
    for row in results {
        table.serialize(row)?;
    }
    Ok(table.into_inner()?)
}

fn compare(expected: &[u8], found: &Results) -> Result<()> {
    let mut table = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .from_reader(expected);
    let expected: Results = table.deserialize().collect::<Result<_, _>>()?;
    let mut different = 0;
    for (key, result) in found {
        if expected.get(key) != Some(result) {
            println!("differs: {key:?} gives {result:?}");
            different += 1;
        }
    }
    match different {
        0 => {
            println!("{} results, all unchanged", found.len());
            Ok(())
        }
        _ => bail!("{different} of {} results differ", found.len()),
    }
}

/// Trainings with a given number of threads.
struct Training<'a> {
    root: &'a Path,
    program: &'a Program,
    folder: PathBuf,
    threads: usize,
}

impl Training<'_> {
    fn result(&self, name: &str, encoder: Option<&str>) -> Result<(String, String)> {
        let config = self.folder.join(name).with_extension("toml");
        let text = std::fs::read_to_string(self.config(name))?;
        files::write(&config, shortened(&text)?.as_bytes())?;
        let mut command = self.program.command();
        command.args(["train", "--json", "--config"]).arg(&config);
        command.arg("--out").arg(self.folder.join(name));
        if let Some(encoder) = encoder {
            command
                .arg("--pretrained-encoder")
                .arg(self.folder.join(encoder));
        }
        command.env("RAYON_NUM_THREADS", self.threads.to_string());
        command.current_dir(self.root);
        let summary: Value = process::last_line_json(&mut command)?;
        let weights = self.folder.join(name).join("best/model.safetensors");
        let bytes = std::fs::read(&weights).with_context(|| weights.display().to_string())?;
        let bytes = without_note(&bytes).with_context(|| weights.display().to_string())?;
        let score = summary["valid_score"].as_f64().context("no valid_score")?;
        Ok((format!("{:032x}", xxh3_128(&bytes)), format!("{score:.10}")))
    }

    fn config(&self, name: &str) -> PathBuf {
        let experiments = self.root.join("xtask/experiments");
        experiments.join(name).with_extension("toml")
    }
}

/// A safetensors file with an empty note. The note of a run's model describes its
/// settings, and its wording may change.
fn without_note(bytes: &[u8]) -> Result<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk().context("too short")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, tensors) = rest.split_at_checked(length).context("too short")?;
    let header = std::str::from_utf8(header)?.trim_end();
    let parts = header.split_once(r#""pixelcnn":""#);
    let (before, (_, after)) = parts
        .and_then(|(before, rest)| Some((before, rest.split_once('"')?)))
        .context("no note")?;
    let mut header = format!(r#"{before}"pixelcnn":""{after}"#);
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let length = (header.len() as u64).to_le_bytes();
    Ok([&length, header.as_bytes(), tensors].concat())
}

/// The config with [`STEPS`] updates, a third of them warm-up, and a validation at
/// the end.
fn shortened(text: &str) -> Result<String> {
    let mut config: toml::Table = text.parse()?;
    if let Some(training) = config.get_mut("training").and_then(|it| it.as_table_mut()) {
        training.insert("steps".to_owned(), STEPS.into());
        training.insert("validate_every".to_owned(), STEPS.into());
        if let Some(schedule) = training
            .get_mut("schedule")
            .and_then(|it| it.as_table_mut())
        {
            schedule.insert("warmup".to_owned(), (STEPS / 3).into());
        }
    }
    Ok(config.to_string())
}

/// The instruction set, which decides the order of sums.
fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "avx2";
        }
    }
    "portable"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_config_is_there_and_shortened() {
        let root = crate::workspace::root().unwrap();
        for (name, encoder) in CONFIGS {
            let path = root.join("xtask/experiments").join(name);
            let text = std::fs::read_to_string(path.with_extension("toml")).unwrap();
            let config: toml::Table = shortened(&text).unwrap().parse().unwrap();
            if let Some(training) = config.get("training") {
                assert_eq!(training["steps"].as_integer(), Some(STEPS), "{name}");
            }
            let position = |name| CONFIGS.iter().position(|(other, _)| *other == name);
            assert!(encoder.is_none_or(|encoder| position(encoder) < position(name)));
        }
    }

    #[test]
    fn a_note_makes_no_difference() {
        let file = |note: &str, spaces: usize| {
            let spaces = " ".repeat(spaces);
            let header = format!(r#"{{"__metadata__":{{"pixelcnn":"{note}"}},"a":[]}}{spaces}"#);
            let length = (header.len() as u64).to_le_bytes();
            [&length, header.as_bytes(), &[1, 2, 3]].concat()
        };
        let empty = file("", 1);
        assert_eq!(empty.len() % 8, 3);
        assert_eq!(without_note(&empty).unwrap(), empty);
        assert_eq!(without_note(&file("abc", 6)).unwrap(), empty);
        assert!(without_note(&empty[..20]).is_err());
    }

    #[test]
    fn differences_are_errors() {
        let result = |sum: &str| (sum.to_owned(), "3.5".to_owned());
        let results = Results::from([(("a".to_owned(), 1), result("00"))]);
        let expected = table(&results).unwrap();
        let text = std::str::from_utf8(&expected).unwrap();
        assert!(text.ends_with("\na\t1\t00\t3.5\n"), "{text}");
        assert!(compare(&expected, &results).is_ok());
        let other = Results::from([(("a".to_owned(), 1), result("01"))]);
        assert!(compare(&expected, &other).is_err());
    }
}
