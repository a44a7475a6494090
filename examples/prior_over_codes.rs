//! A prior over codes:
//! `cargo run --release --example prior_over_codes -- GRIDS.npy LEVELS OUT`
//!
//! `GRIDS.npy` contains codes, for example of a VQ-VAE: integers `[n, h, w]` below
//! `LEVELS`. A tenth of the grids is used for validation. `photo_codes` makes such a file.
//! The network is tiny: a few seconds on two cores.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use pixelcnn_data::read_npy;
use pixelcnn_models::{Condition, Model};
use pixelcnn_sample::{Engine, SampleConfig, sample};
use pixelcnn_train::{Outcome, RunConfig, train};

const CONFIG: &str = r#"
seed = 1
data = "tokens:GRIDS,levels=LEVELS"

[model]
kind = "gated-pixelcnn"
image = { channels = 1, height = HEIGHT, width = WIDTH, levels = LEVELS }
first_kernel = 3
kernel = 3
blocks = 2
maps = 16
head = 32

[training]
steps = 200
batch = 16
learning_rate = 5e-3
flips = "none"
optimiser = { kind = "adam" }
schedule = { warmup = 10, decay = { kind = "cosine" } }
max_grad_norm = 1.0
ema_decay = 0.9
validate_every = 100
log_every = 50
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [grids, levels, out] = &arguments[..] else {
        return Err("GRIDS.npy LEVELS OUT expected".into());
    };
    let &[_, height, width] = read_npy(grids.as_ref())?.dims() else {
        return Err("grids [n, h, w] expected".into());
    };
    let config = CONFIG
        .replace("GRIDS", grids)
        .replace("LEVELS", levels)
        .replace("HEIGHT", &height.to_string())
        .replace("WIDTH", &width.to_string());
    let config = RunConfig::parse(&config)?;
    let (out, stop) = (Path::new(out), AtomicBool::new(false));
    let dataset = config.dataset()?;
    let outcome = train(&config, &dataset, out, &Device::Cpu, &stop, &mut |_| ())?;
    let (Outcome::Finished(summary) | Outcome::FinishedBefore(summary)) = outcome else {
        return Err("nobody stopped it".into());
    };
    let most = levels.parse::<f64>()?.log2();
    let bits = summary.valid_score;
    println!("{bits:.3} bits for each code; {most:.3} where nothing is known");

    let model = Model::load(&summary.model, &Device::Cpu)?;
    let engine = Engine::new(model.density()?)?;
    let drawing = SampleConfig::new(engine.image());
    let grid = sample(&engine, &drawing, &Condition::None, &|_, _, _| ())?;
    println!("a grid of the prior:");
    for row in grid.reshape((height, width))?.to_vec2::<u32>()? {
        println!("{row:?}");
    }
    Ok(())
}
