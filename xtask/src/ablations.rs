//! `cargo xtask ablations`: which settings lower bits/dim in the same time of training.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::{Table as Toml, Value};

use crate::experiment::format::{plus_minus, with_commas};
use crate::experiment::program::{self, Program};
use crate::experiment::{Page, Table, Training, files, terminal_page, write};
use crate::process;

/// Steps that are timed, after as many that are not.
const TIMED: u64 = 40;

/// Data, time and seeds.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Train on this data set instead of photos32
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// Seconds of training for each run, without validation
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
    /// Number of seeds of each variant
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Number of runs at a time, each with one thread
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Only these variants, and the base
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// The folder of the runs and the page
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A line of variants.toml.
#[derive(Debug, Clone, Deserialize)]
struct Variant {
    name: String,
    #[serde(flatten)]
    changes: Toml,
}

#[derive(Deserialize)]
struct Variants {
    variant: Vec<Variant>,
}

/// The results of a variant.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    changes: Toml,
    milliseconds_per_step: f64,
    steps: u64,
    parameters: u64,
    /// Of each seed.
    bits_per_dim: Vec<f64>,
}

struct Ablations<'a> {
    program: &'a Program,
    arguments: &'a Arguments,
    base: Toml,
    out: PathBuf,
}

/// Times each variant, trains it for so many steps as fit into the time, with each seed, and
/// writes `OUT/ablations.md`, `.html` and `.json`. What is there is not done again.
///
/// # Errors
/// When the program does not build or run, or a config is wrong.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    if !(arguments.seconds > 0.0 && arguments.seconds.is_finite()) {
        bail!(
            "--seconds: a positive number expected, found {}",
            arguments.seconds
        );
    }
    let folder = root.join("xtask/experiments/ablations");
    let read = |name: &str| -> Result<Toml> {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        text.parse().with_context(|| path.display().to_string())
    };
    let variants: Variants = read("variants.toml")?.try_into()?;
    process::let_children_finish_on_interrupt()?;
    let program = Program::build(&mut program::build_command(root, None), "pixelcnn")?;
    let out = arguments.out.clone();
    let ablations = Ablations {
        program: &program,
        arguments,
        base: read("base.toml")?,
        out: std::path::absolute(out.unwrap_or_else(|| root.join("runs/ablations")))?,
    };
    let mut variants = variants.variant;
    for name in &arguments.only {
        if !variants.iter().any(|it| it.name == *name) {
            let names: Vec<_> = variants.iter().map(|it| it.name.as_str()).collect();
            bail!("--only {name}: one of {} expected", names.join(", "));
        }
    }
    let is_wanted = |name: &String| {
        arguments.only.is_empty() || name == "base" || arguments.only.contains(name)
    };
    variants.retain(|it| is_wanted(&it.name));
    let rows = ablations.all(&variants)?;
    let page = page(&rows, arguments);
    write(&page, &ablations.out, "ablations")?;
    println!("\n{}", terminal_page(&page));
    Ok(())
}

impl Ablations<'_> {
    /// The results of all variants.
    fn all(&self, variants: &[Variant]) -> Result<Vec<Row>> {
        let times = self.at_once(variants, |variant| self.seconds_per_step(variant))?;
        let timed = variants.iter().zip(&times);
        let steps = timed.map(|(variant, time)| {
            let steps = (self.arguments.seconds / time) as u64;
            (variant, steps.max(TIMED))
        });
        // All variants with the first seed, then with the next one.
        let seeds = 1..=self.arguments.seeds;
        let runs: Vec<_> = seeds
            .flat_map(|seed| {
                steps
                    .clone()
                    .map(move |(variant, steps)| (variant, steps, seed))
            })
            .collect();
        let done = self.at_once(&runs, |(variant, steps, seed)| {
            self.train(variant, &format!("seed-{seed}"), *steps, *seed)
        })?;
        let rows = variants
            .iter()
            .zip(times)
            .enumerate()
            .map(|(index, (variant, time))| {
                let own = done.iter().skip(index).step_by(variants.len());
                let first = own.clone().next().cloned().unwrap_or_default();
                Row {
                    name: variant.name.clone(),
                    changes: variant.changes.clone(),
                    milliseconds_per_step: 1000.0 * time,
                    steps: first.steps,
                    parameters: first.parameters,
                    bits_per_dim: own.filter_map(|it| it.valid_score).collect(),
                }
            });
        Ok(rows.collect())
    }

    /// Results of `work` on each task, some tasks at a time, in the order of the tasks.
    fn at_once<T: Sync, R: Send>(
        &self,
        tasks: &[T],
        work: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let waiting = Mutex::new(tasks.iter().enumerate().collect::<VecDeque<_>>());
        let next = || {
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        let worker = || {
            let mut done = Vec::new();
            while let Some((index, task)) = next() {
                done.push((index, work(task)));
                if process::interrupted() {
                    break;
                }
            }
            done
        };
        let mut done = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.arguments.jobs)
                .map(|_| scope.spawn(worker))
                .collect();
            let done = workers.into_iter().map(|it| it.join().unwrap_or_default());
            done.flatten().collect::<Vec<_>>()
        });
        if done.len() < tasks.len() && !process::interrupted() {
            bail!("a worker stopped");
        }
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// The time of a step, from a short run that is kept.
    fn seconds_per_step(&self, variant: &Variant) -> Result<f64> {
        let steps = 2 * TIMED;
        self.train(variant, "timing", steps, 1)?;
        let path = self.out.join(&variant.name).join("timing/metrics.jsonl");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let seconds_at = |step: u64| {
            let records = text.lines().map(serde_json::from_str::<serde_json::Value>);
            let mut records = records.filter_map(Result::ok);
            let record = records.find(|it| it["step"] == step && !it["train_score"].is_null());
            record.and_then(|it| it["seconds"].as_f64())
        };
        let (start, end) = (seconds_at(TIMED), seconds_at(steps));
        let time = start
            .zip(end)
            .map(|(start, end)| (end - start) / TIMED as f64);
        time.with_context(|| format!("{}: no line for steps {TIMED} and {steps}", path.display()))
    }

    /// Trains a variant, or takes the result of a finished run.
    fn train(&self, variant: &Variant, run: &str, steps: u64, seed: u64) -> Result<Training> {
        let folder = self.out.join(&variant.name);
        let config = folder.join(format!("{run}.toml"));
        let steps = i64::try_from(steps)?;
        let mut settings = merged(self.base.clone(), &variant.changes);
        settings.insert("seed".to_owned(), i64::try_from(seed)?.into());
        if let Some(data) = &self.arguments.data {
            settings.insert("data".to_owned(), data.as_str().into());
        }
        let training = settings.get_mut("training").and_then(Value::as_table_mut);
        let training = training.context("base.toml has no table `training`")?;
        training.insert("steps".to_owned(), steps.into());
        training.insert("validate_every".to_owned(), steps.into());
        files::write(&config, toml::to_string(&settings)?.as_bytes())?;
        let mut command = self.program.command();
        command
            .args(["train", "--json", "--quiet", "--config"])
            .arg(&config);
        command.arg("--out").arg(folder.join(run));
        command.env("RAYON_NUM_THREADS", "1");
        process::last_line_json(&mut command)
    }
}

/// A table with the entries of another one. A table inside replaces the old one if it has a
/// `kind`, and is merged otherwise.
fn merged(mut base: Toml, changes: &Toml) -> Toml {
    for (name, change) in changes {
        let new = match (base.remove(name), change) {
            (Some(Value::Table(old)), Value::Table(change)) if !change.contains_key("kind") => {
                Value::Table(merged(old, change))
            }
            (_, change) => change.clone(),
        };
        base.insert(name.clone(), new);
    }
    base
}

fn page(rows: &[Row], arguments: &Arguments) -> Page {
    let mut table = Table::new(
        "Validation bits/dim in the same time",
        [
            "Variant",
            "Bits/dim",
            "Minus base, same seeds",
            "ms a step",
            "Updates",
            "Parameters",
        ],
    );
    let base = rows.iter().find(|row| row.name == "base");
    for row in rows {
        let difference = base.map(|base| {
            let pairs = row.bits_per_dim.iter().zip(&base.bits_per_dim);
            mean_and_error(&pairs.map(|(own, base)| own - base).collect::<Vec<_>>())
        });
        let text = |(mean, error)| plus_minus(mean, error);
        table.rows.push(vec![
            row.name.clone(),
            text(mean_and_error(&row.bits_per_dim)),
            difference.map_or_else(String::new, text),
            format!("{:.0}", row.milliseconds_per_step),
            with_commas(row.steps),
            with_commas(row.parameters),
        ]);
    }
    let data = arguments.data.as_deref().unwrap_or("photos32");
    let seeds = arguments.seeds;
    let mut page = Page {
        title: "Ablations".to_owned(),
        tables: vec![table],
        ..Page::default()
    };
    page.notes.push(format!(
        "Data `{data}`; each run has {} s of training on one thread, {} at a time; {seeds} seeds; \
         ± is one standard error over seeds.",
        arguments.seconds, arguments.jobs
    ));
    page.numbers.insert("rows".to_owned(), json!(rows));
    page
}

/// The mean of numbers, and its standard error if there are two or more.
fn mean_and_error(numbers: &[f64]) -> (f64, Option<f64>) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|it| (it - mean).powi(2)).sum();
    let error = (numbers.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
    (mean, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_the_other_settings_unless_the_kind_changes() {
        let base: Toml = "a = 1\n[model]\nblocks = 6\nmaps = 48\n\
                          optimiser = { kind = \"muon\", momentum = 0.9 }"
            .parse()
            .unwrap();
        let change = |text: &str| merged(base.clone(), &text.parse().unwrap());
        let found = change("model.blocks = 3");
        assert_eq!(found["model"]["blocks"].as_integer(), Some(3));
        assert_eq!(found["model"]["maps"].as_integer(), Some(48));
        assert_eq!(found["a"].as_integer(), Some(1));
        let found = change("model.optimiser = { kind = \"adam\" }");
        assert_eq!(found["model"]["optimiser"].as_table().unwrap().len(), 1);
    }

    #[test]
    fn errors_are_those_of_the_mean() {
        assert_eq!(mean_and_error(&[2.0]), (2.0, None));
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0]);
        assert_eq!(mean, 2.0);
        assert!((error.unwrap() - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn every_variant_has_its_own_name_and_the_base_is_the_first() {
        let folder = crate::workspace::root()
            .unwrap()
            .join("xtask/experiments/ablations");
        let text = std::fs::read_to_string(folder.join("variants.toml")).unwrap();
        let variants: Variants = toml::from_str(&text).unwrap();
        assert_eq!(variants.variant[0].name, "base");
        let names: std::collections::BTreeSet<_> =
            variants.variant.iter().map(|it| &it.name).collect();
        assert_eq!(names.len(), variants.variant.len());
    }
}
