//! The program `pixelcnn`: trains, evaluates, audits and samples models, and uses
//! them to score, classify, complete, reconstruct, interpolate and compress images.

mod animation;
mod archive;
mod arguments;
mod audit;
mod bench;
mod classify;
mod complete;
mod compress;
mod condition;
mod data;
mod decompress;
mod describe;
mod device;
mod embed;
mod eval;
mod export;
mod import;
mod info;
mod interpolate;
mod list;
mod loading;
mod logging;
mod manual;
mod measures;
mod model;
mod models;
mod nll_map;
mod numbers;
mod output;
mod pace;
mod picture;
mod preview;
mod progress;
mod reconstruct;
mod sample;
mod score;
mod stop;
mod train;
mod values;
mod verify;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use pixelcnn_kernels::RegionAllocator;
use tracing_subscriber::filter::LevelFilter;

/// A training step allocates and frees hundreds of megabytes. The system's
/// allocator would return them to the kernel and fault them in again.
#[global_allocator]
static ALLOCATOR: RegionAllocator<MiMalloc> = RegionAllocator::new(MiMalloc);

/// Image models with exact likelihoods: train, evaluate, audit, inspect, sample.
#[derive(Parser)]
#[command(name = "pixelcnn", version = manual::version(), max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print only warnings and errors besides the result
    #[arg(
        long,
        short,
        global = true,
        display_order = 900,
        conflicts_with = "verbose"
    )]
    quiet: bool,
    /// Print more, to help find a problem
    #[arg(long, short, global = true, display_order = 901)]
    verbose: bool,
}

impl Arguments {
    /// The log level, if a flag sets it.
    fn level(&self) -> Option<LevelFilter> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(LevelFilter::WARN),
            (_, true) => Some(LevelFilter::DEBUG),
            _ => None,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    Train(train::Arguments),
    Data(describe::Arguments),
    Eval(eval::Arguments),
    Score(score::Arguments),
    Audit(audit::Arguments),
    Models(models::Arguments),
    Info(info::Arguments),
    Import(import::Arguments),
    Sample(sample::Arguments),
    Complete(complete::Arguments),
    Reconstruct(reconstruct::Arguments),
    Interpolate(interpolate::Arguments),
    Classify(classify::Arguments),
    Embed(embed::Arguments),
    Export(export::Arguments),
    Compress(compress::Arguments),
    Decompress(decompress::Arguments),
    List(list::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Bytes that every command needs besides its images and models, threads included.
const LEAST_MEMORY: u64 = 160 << 20;

fn main() -> std::process::ExitCode {
    // If an allocation failed later, the program would end in the middle of its work.
    if let Err(error) = pixelcnn_system::check_memory("the program", LEAST_MEMORY) {
        logging::say(format_args!("error: {error} (`ulimit -v` sets a limit)"));
        return std::process::ExitCode::FAILURE;
    }
    pixelcnn_kernels::start_threads();
    let arguments = Arguments::parse();
    logging::start(arguments.level());
    stop::outlive_large_files();
    if !matches!(arguments.command, Command::Train(_) | Command::Score(_)) {
        // These commands save their work at a stop. The others have nothing to save, and
        // leave no half-written file.
        match stop::Stop::new() {
            Ok(stop) => stop.end_cleanly(),
            Err(error) => tracing::debug!("{error:#}"),
        }
    }
    let result = match arguments.command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Data(arguments) => describe::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Models(arguments) => models::run(&arguments),
        Command::Info(arguments) => info::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Complete(arguments) => complete::run(&arguments),
        Command::Reconstruct(arguments) => reconstruct::run(&arguments),
        Command::Interpolate(arguments) => interpolate::run(&arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Compress(arguments) => compress::run(&arguments),
        Command::Decompress(arguments) => decompress::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    };
    result.unwrap_or_else(|error| {
        if error.is::<output::Unread>() {
            return std::process::ExitCode::SUCCESS;
        }
        logging::say(format_args!("error: {}", chain(&error)));
        std::process::ExitCode::FAILURE
    })
}

/// The error and its causes in one line. A cause that is already part of the
/// message is not repeated.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| message(&cause.to_string())) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The text of an error without the backtrace that candle appends if
/// RUST_BACKTRACE is set: a user's mistake is not a bug in the code.
fn message(text: &str) -> String {
    let end = text.find("\n   0: ").unwrap_or(text.len());
    text[..end].to_string()
}
