//! `cargo xtask reproduce-table1`: the models of table 1, trained and evaluated
//! by the program `pixelcnn`.

mod device;
mod layout;
mod paper;
mod plan;
pub mod program;
mod record;
mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process;
use device::Device;
use plan::{Plan, Preset, Run};
use program::{Program, Split};
use record::{Inputs, Record, Results};
use table::Table;

/// Train and evaluate the models of table 1 and print the table
///
/// Builds the program `pixelcnn`, then for each of uniform, gaussian, pixelcnn
/// and gated-pixelcnn runs `pixelcnn train` with the config
/// xtask/experiments/table1/PRESET/NAME.toml and `pixelcnn eval` on the test
/// split and on 512 training images. Writes OUT/NAME/result.json after each
/// model, and OUT/table1.md and OUT/table1.json at the end. Models whose
/// result.json has the same inputs are not run again, those with others are set
/// aside first, as OUT/NAME.1; a training that was interrupted goes on where it
/// stopped.
// This is also the text of `--help`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which set of configs to run
    #[arg(long, value_enum, default_value_t = Preset::Quick)]
    preset: Preset,
    /// Data to train and evaluate on, for example cifar10:DIR, instead of what the configs name
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// Where to run: cpu, cuda:N or metal; the program is built with that back end [default: cpu]
    #[arg(long)]
    device: Option<Device>,
    /// Print the command lines that would run, and run none
    #[arg(long)]
    dry_run: bool,
    /// Folder of the results [default: runs/table1-PRESET in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Carries the task out.
///
/// # Errors
/// When a config or result cannot be read or written, or a command fails.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let plan = Plan::new(root, arguments)?;
    let mut build = program::build(root, plan.device);
    if arguments.dry_run {
        println!("{}", process::shell_line(&build));
        return dry_run(&plan, &Program::unbuilt(root));
    }
    process::let_children_finish_on_interrupt()?;
    let program = Program::built(&mut build)?;
    let start = Instant::now();
    println!("{}", reproduce(&plan, &program)?);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "Total running time without compilation: {}",
        layout::duration(seconds)
    );
    Ok(())
}

/// Prints what [`reproduce`] would run.
fn dry_run(plan: &Plan, program: &Program) -> Result<()> {
    for run in &plan.runs {
        let kept = Record::read(&plan.result_path(run))?;
        if kept.is_some_and(|kept| kept.inputs == plan.inputs(run)) {
            println!("# {}: {}", run.name, kept_message(plan, run));
            continue;
        }
        println!("{}", process::shell_line(&program.train(plan, run)));
        println!("# MODEL: \"model\" in the last line that train prints");
        for split in [Split::Test, Split::Train] {
            let command = program.evaluate(plan, "MODEL", split);
            println!("{}", process::shell_line(&command));
        }
    }
    Ok(())
}

/// Runs what is not done yet, writes the table to the plan's folder and gives
/// it as Markdown.
fn reproduce(plan: &Plan, program: &Program) -> Result<String> {
    let mut measured = Vec::new();
    for run in &plan.runs {
        measured.push((run.name, result_of(plan, program, run)?));
    }
    let table = Table::new(plan, &measured);
    record::write_json(&plan.out.join("table1.json"), &table)?;
    let markdown = layout::markdown(&table, &measured);
    record::write(&plan.out.join("table1.md"), markdown.as_bytes())?;
    Ok(markdown)
}

fn result_of(plan: &Plan, program: &Program, run: &Run) -> Result<Results> {
    let path = plan.result_path(run);
    let inputs = plan.inputs(run);
    match Record::read(&path)? {
        Some(kept) if kept.inputs == inputs => {
            println!("{}: {}", run.name, kept_message(plan, run));
            return Ok(kept.results);
        }
        Some(_) => set_aside(&plan.run_folder(run))?,
        None => {}
    }
    let results = train_and_evaluate(plan, program, run)
        .with_context(|| format!("{} of preset {}", run.name, plan.preset))?;
    println!(
        "{}: {:.3} bits/dim on test, {:.3} on train",
        run.name, results.test.bits_per_dim, results.train.bits_per_dim
    );
    let record = Record { inputs, results };
    record::write_json(&path, &record)?;
    Ok(record.results)
}

/// Renames the folder of a run that had other inputs: `NAME.1`, `NAME.2`, ...
fn set_aside(folder: &Path) -> Result<()> {
    let mut numbered = (1..).map(|number| folder.with_extension(number.to_string()));
    if let Some(other) = numbered.find(|other| !other.exists()) {
        println!(
            "{} had other inputs: now {}",
            folder.display(),
            other.display()
        );
        std::fs::rename(folder, &other)
            .with_context(|| format!("cannot rename {}", folder.display()))?;
    }
    Ok(())
}

fn train_and_evaluate(plan: &Plan, program: &Program, run: &Run) -> Result<Results> {
    let training: record::Training = process::last_line_json(&mut program.train(plan, run))?;
    let evaluate =
        |split| process::last_line_json(&mut program.evaluate(plan, &training.model, split));
    let test = evaluate(Split::Test)?;
    let train = evaluate(Split::Train)?;
    Ok(Results {
        training,
        test,
        train,
    })
}

fn kept_message(plan: &Plan, run: &Run) -> String {
    format!("done before, see {}", plan.result_path(run).display())
}

#[cfg(test)]
mod tests;
