//! A Gated PixelCNN of a folder of pictures:
//! `cargo run --release --example train_on_folder -- FOLDER OUT`
//!
//! The network is tiny, for pictures of 16x16: ten seconds on two cores. The same command
//! continues a run that was stopped; `OUT/best` is the model.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use pixelcnn_train::{Outcome, Progress, RunConfig, train};

const CONFIG: &str = r#"
seed = 1
data = "FOLDER"

[model]
kind = "gated-pixelcnn"
image = { channels = 3, height = 16, width = 16, levels = 256 }
first_kernel = 5
kernel = 3
blocks = 2
maps = 12
head = 24

[training]
steps = 300
batch = 8
learning_rate = 5e-3
flips = "horizontal"
optimiser = { kind = "adam" }
schedule = { warmup = 10, decay = { kind = "cosine" } }
max_grad_norm = 1.0
ema_decay = 0.95
validate_every = 100
log_every = 50
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = &arguments[..] else {
        return Err("FOLDER OUT expected".into());
    };
    let mut config = RunConfig::parse(CONFIG)?;
    config.data = format!("folder:{folder},side=16");
    let dataset = config.dataset()?;
    // A signal handler could set this flag; then the run saves its state and returns.
    let stop = AtomicBool::new(false);
    let mut report = |progress| {
        if let Progress::Validated { step, score } = progress {
            println!("step {step}: {score:.3} bits/dim");
        }
    };
    let out = Path::new(out);
    match train(&config, &dataset, out, &Device::Cpu, &stop, &mut report)? {
        Outcome::Stopped { step } => println!("stopped at step {step}"),
        Outcome::Finished(summary) | Outcome::FinishedBefore(summary) => println!(
            "{}: {:.3} {}, {} weights",
            summary.model.display(),
            summary.valid_score,
            summary.unit,
            summary.parameters
        ),
    }
    Ok(())
}
