//! `metrics.jsonl`: the numbers of a run, one JSON object per line.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use pixelcnn_system::{read_file, write_file};
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

/// Limit on the bytes of a metrics file; a line has about 200.
const LONGEST: u64 = 1 << 32;

/// The numbers of a run at one step; `null` in the file if not measured.
///
/// ```
/// use pixelcnn_train::metrics::Record;
///
/// let record = Record { step: 10, train_score: Some(4.5), ..Record::default() };
/// let line = serde_json::to_string(&record).unwrap();
/// assert!(line.starts_with(r#"{"step":10,"images":0,"train_score":4.5,"#));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Training steps so far.
    pub step: usize,
    /// Training images seen so far, including repetitions.
    pub images: usize,
    /// Mean loss of the batches since the last record, in bits/dim for a
    /// likelihood.
    pub train_score: Option<f64>,
    /// Score on the validation images, in the unit of the run's summary.
    pub valid_score: Option<f64>,
    /// The learning rate.
    #[serde(alias = "rate")]
    pub learning_rate: f64,
    /// The global norm of the gradients before clipping.
    pub gradient_norm: Option<f64>,
    /// Seconds of training so far.
    pub seconds: f64,
}

impl Record {
    /// JSON has no infinities: a number that is not finite would become `null`.
    fn check_finite(&self) -> Result<()> {
        let fields = [
            ("train_score", self.train_score),
            ("valid_score", self.valid_score),
            ("learning_rate", Some(self.learning_rate)),
            ("gradient_norm", self.gradient_norm),
            ("seconds", Some(self.seconds)),
        ];
        let finite = |value: Option<f64>| value.is_none_or(f64::is_finite);
        match fields.into_iter().find(|(_, value)| !finite(*value)) {
            Some((what, _)) => Err(TrainError::NonFinite {
                step: self.step,
                what: what.into(),
            }),
            None => Ok(()),
        }
    }
}

/// A metrics file that records are appended to.
///
/// ```
/// use pixelcnn_train::metrics::{MetricsLog, Record, read};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("metrics.jsonl");
/// let record = |step| Record { step, ..Record::default() };
///
/// let mut log = MetricsLog::open(&path, 0)?;
/// log.append(&record(10))?;
/// log.append(&record(20))?; // Killed here; the last checkpoint was that of step 10.
///
/// let mut log = MetricsLog::open(&path, 10)?;
/// log.append(&record(15))?;
/// assert_eq!(read(&path)?, [record(10), record(15)]);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the metrics of a run that continues after step `resume_step`, or creates them.
    ///
    /// Records of later steps are removed, because the run will write them again, and so is an
    /// incomplete last line. The other lines keep their bytes.
    ///
    /// # Errors
    ///
    /// [`TrainError::Metrics`] names a complete line that is not a record; the file is then
    /// unchanged. [`TrainError::Read`] or [`TrainError::Write`] if the file cannot be read or
    /// written.
    pub fn open(path: &Path, resume_step: usize) -> Result<Self> {
        Self::open_with(path, |record| record.step <= resume_step)
    }

    /// The same with the records that `keep` accepts.
    pub(crate) fn open_with(path: &Path, keep: impl Fn(&Record) -> bool) -> Result<Self> {
        let content = match read_file(path, LONGEST) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            other => other.map_err(TrainError::read(path))?,
        };
        let mut kept = Vec::new();
        for (line, record) in parse(&content, path)? {
            if keep(&record) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        if kept != content || !path.exists() {
            write_file(path, &kept).map_err(TrainError::write(path))?;
        }
        let file = File::options().append(true).open(path);
        Ok(Self {
            path: path.to_path_buf(),
            file: file.map_err(TrainError::write(path))?,
        })
    }

    /// Appends a record and passes it to the operating system, so that it survives the program.
    ///
    /// # Errors
    ///
    /// [`TrainError::NonFinite`] if a number is infinite or NaN; then nothing is written.
    /// [`TrainError::Write`] if the file cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        record.check_finite()?;
        let io = |error| TrainError::write(&self.path)(error);
        let mut line = serde_json::to_vec(record).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        // One write for the whole line, so that a kill leaves a whole line or its beginning.
        self.file.write_all(&line).map_err(io)
    }
}

/// Reads the records of a metrics file, also of a running run: an incomplete last line
/// is left out.
///
/// # Errors
///
/// [`TrainError::Metrics`] names a complete line that is not a record, [`TrainError::Read`] a file
/// that cannot be read.
///
/// ```
/// use pixelcnn_train::metrics::{MetricsLog, Record, read};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("metrics.jsonl");
/// MetricsLog::open(&path, 0)?.append(&Record::default())?;
/// assert_eq!(read(&path)?, [Record::default()]);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let content = read_file(path, LONGEST).map_err(TrainError::read(path))?;
    let lines = parse(&content, path)?;
    Ok(lines.into_iter().map(|(_, record)| record).collect())
}

/// The lines of the file, without their ends, and the records in them.
fn parse<'a>(content: &'a [u8], path: &Path) -> Result<Vec<(&'a [u8], Record)>> {
    let mut records = Vec::new();
    for (index, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let (text, complete) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        match serde_json::from_slice(text) {
            // A record without its line end is still complete, because the beginning of an
            // object is never an object.
            Ok(record) => records.push((text, record)),
            Err(_) if !complete => {
                tracing::debug!(path = %path.display(), line = index + 1, "the last line is incomplete");
            }
            Err(error) => {
                return Err(TrainError::Metrics {
                    path: path.to_path_buf(),
                    line: index + 1,
                    why: error.to_string(),
                });
            }
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: usize) -> Record {
        Record {
            step,
            images: 16 * step,
            train_score: Some(4.0 + 1.0 / (step + 3) as f64),
            valid_score: step.is_multiple_of(2).then_some(4.25),
            learning_rate: 1e-3,
            gradient_norm: None,
            seconds: 0.5 * step as f64,
        }
    }

    fn log(path: &Path, steps: impl IntoIterator<Item = usize>) {
        let mut log = MetricsLog::open(path, usize::MAX).unwrap();
        for step in steps {
            log.append(&record(step)).unwrap();
        }
    }

    fn steps(path: &Path) -> Vec<usize> {
        read(path)
            .unwrap()
            .iter()
            .map(|record| record.step)
            .collect()
    }

    #[test]
    fn a_resumed_run_has_the_bytes_of_one_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let straight = folder.path().join("straight.jsonl");
        log(&straight, 1..=9);
        let expected = std::fs::read(&straight).unwrap();
        // Killed at any byte of the record of step 5.
        let bytes = |lines| -> usize {
            let all = expected.split_inclusive(|&byte| byte == b'\n');
            all.take(lines).map(<[u8]>::len).sum()
        };
        let resumed = folder.path().join("resumed.jsonl");
        for length in bytes(4)..=bytes(5) {
            std::fs::write(&resumed, &expected[..length]).unwrap();
            let mut log = MetricsLog::open(&resumed, 4).unwrap();
            for step in 5..=9 {
                log.append(&record(step)).unwrap();
            }
            assert_eq!(
                std::fs::read(&resumed).unwrap(),
                expected,
                "killed at byte {length}"
            );
        }
    }

    #[test]
    fn records_come_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        log(&path, [1, 2]);
        assert_eq!(read(&path).unwrap(), [record(1), record(2)]);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = r#"{"step":1,"images":16,"train_score":4.25,"valid_score":null,"learning_rate":0.001,"gradient_norm":null,"seconds":0.5}"#;
        assert_eq!(text.lines().next(), Some(expected));
    }

    #[test]
    fn a_line_cut_short_is_left_out_and_a_whole_one_without_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        log(&path, [1, 2]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(steps(&path), [1, 2]);
        std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        assert_eq!(steps(&path), [1]);
        log(&path, [3]);
        assert_eq!(steps(&path), [1, 3]);
    }

    #[test]
    fn a_corrupt_line_is_named_and_the_file_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        log(&path, [1]);
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in ["{\"step\":2", "", "{\"step\":2}", "\u{0}\u{0}", "null"] {
            let content = format!("{good}{bad}\n{good}");
            std::fs::write(&path, &content).unwrap();
            let expected = format!("{}, line 2: not a record of metrics: ", path.display());
            let error = read(&path).unwrap_err().to_string();
            assert!(error.starts_with(&expected), "{error}");
            let error = MetricsLog::open(&path, 1).unwrap_err().to_string();
            assert!(error.starts_with(&expected), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        let bad = Record {
            gradient_norm: Some(f64::INFINITY),
            ..record(7)
        };
        let error = log.append(&bad).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("step 7: gradient_norm is not finite"),
            "{error}"
        );
        let bad = Record {
            learning_rate: f64::NAN,
            ..record(7)
        };
        assert!(log.append(&bad).is_err());
        assert!(steps(&path).is_empty());
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("metrics.jsonl");
        for error in [
            read(&path).unwrap_err(),
            MetricsLog::open(&path, 0).unwrap_err(),
        ] {
            let message = error.to_string();
            let folder = path.parent().unwrap().display();
            assert_eq!(message, format!("{folder}: there is no such folder"));
        }
    }
}
