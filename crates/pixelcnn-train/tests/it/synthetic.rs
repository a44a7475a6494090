//! Images with a known distribution, and a small model of every kind that can learn it.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use pixelcnn_data::{Dataset, Images};
use pixelcnn_models::normal;
use pixelcnn_train::{Outcome, Progress, RunConfig, Summary, train};
use tempfile::TempDir;

/// Channels, height and width.
pub(crate) const SHAPE: (usize, usize, usize) = (3, 4, 4);
/// The two possible values.
const VALUES: [u8; 2] = [60, 190];
/// The share of values that differ from the bit of their square.
pub(crate) const NOISE: f64 = 0.1;

/// The bits that decide the values of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Squares {
    /// One bit for the whole image.
    Alike,
    /// A bit for each of the four squares of 2x2 pixels.
    Apart,
}

/// A model, and the images that it can learn.
pub(crate) struct Case {
    pub name: &'static str,
    pub squares: Squares,
    /// `[model]` as TOML.
    model: String,
}

/// A Gated PixelCNN for each kind of condition.
pub(crate) fn conditional() -> Vec<Case> {
    use Squares::{Alike, Apart};
    let cases = [
        ("class", Alike, r#"{ kind = "class", classes = 2 }"#),
        ("vector", Alike, r#"{ kind = "vector", length = 4 }"#),
        (
            "vector, spatial",
            Apart,
            r#"{ kind = "vector", length = 4, spatial = { maps = 4, hidden = 8 } }"#,
        ),
        ("map", Apart, r#"{ kind = "map", maps = 1 }"#),
        (
            "caption",
            Alike,
            r#"{ kind = "caption", vocabulary = 40, embedding = 4, length = 4 }"#,
        ),
        (
            "grey image",
            Apart,
            r#"{ kind = "image", reduction = { kind = "grey" }, spatial = { maps = 4, hidden = 8 } }"#,
        ),
        (
            "small image",
            Apart,
            r#"{ kind = "image", reduction = { kind = "shrunk", factor = 2 }, spatial = { maps = 4, hidden = 8 } }"#,
        ),
        (
            "code",
            Alike,
            r#"{ kind = "code", length = 2, encoder_maps = [8], bottleneck = { kind = "plain" } }"#,
        ),
        (
            "code, spatial",
            Apart,
            r#"{ kind = "code", length = 8, encoder_maps = [8], bottleneck = { kind = "plain" }, spatial = { maps = 4, hidden = 8 } }"#,
        ),
        ("variational code", Alike, VARIATIONAL),
        (
            "embedding",
            Alike,
            r#"{ kind = "embedding", length = 4, encoder_maps = [8] }"#,
        ),
    ];
    let case = |(name, squares, conditioning): (_, _, &str)| Case {
        name,
        squares,
        model: gated(conditioning),
    };
    cases.map(case).into()
}

const VARIATIONAL: &str = r#"{ kind = "code", length = 2, encoder_maps = [8], bottleneck = { kind = "gaussian", weight = 1.0, free_bits = 0.0 } }"#;

/// A code whose divergence counts `weight` times.
pub(crate) fn variational(weight: &str) -> Case {
    let conditioning = VARIATIONAL.replace("weight = 1.0", &format!("weight = {weight}"));
    Case {
        name: "variational code",
        squares: Squares::Alike,
        model: gated(&conditioning),
    }
}

/// The networks without a likelihood.
pub(crate) fn others() -> [Case; 3] {
    let case = |name, squares, settings: &str| Case {
        name,
        squares,
        model: format!("kind = {name:?}\n{IMAGE}\nencoder_maps = [8]\n{settings}"),
    };
    [
        case("auto-encoder", Squares::Apart, "length = 4\nhidden = 8"),
        case("embedding", Squares::Alike, "length = 4\nmargin = 0.5"),
        case("classifier", Squares::Alike, "classes = 2"),
    ]
}

const IMAGE: &str = "image = { channels = 3, height = 4, width = 4, levels = 256 }";

fn gated(conditioning: &str) -> String {
    format!(
        "kind = \"gated-pixelcnn\"\n{IMAGE}\nfirst_kernel = 3\nkernel = 3\nblocks = 1\n\
         maps = 12\nhead = 12\nconditioning = {conditioning}"
    )
}

/// A data set, and files of conditions for it.
pub(crate) struct Laboratory {
    folder: TempDir,
    pub dataset: Dataset,
}

impl Laboratory {
    /// Images in which a share `noise` of the values differs from the bit of its square.
    pub(crate) fn new(squares: Squares, noise: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let split = |name: &str, count: usize, first: u64| {
            let bits = bits(squares, count, first);
            write_given(folder.path(), name, &bits);
            images(&bits, noise, first)
        };
        let dataset = Dataset::new(
            "synthetic",
            Vec::new(),
            [
                split("train", 256, 0),
                split("valid", 64, 1_000),
                split("test", 128, 2_000),
            ],
        );
        Self { folder, dataset }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A run of `steps` steps. If the condition is an embedding, this trains its encoder.
    pub(crate) fn config(&self, case: &Case, steps: usize) -> RunConfig {
        let path = |name: &str| self.path(name).display().to_string();
        let given = |kind: &str| {
            let [train, valid, test] =
                ["train", "valid", "test"].map(|split| path(&format!("{split}-{kind}.npy")));
            format!("condition_files = {{ train = {train:?}, valid = {valid:?}, test = {test:?} }}")
        };
        let before = match case.name {
            "vector" | "vector, spatial" => given("vectors"),
            "map" => given("maps"),
            "embedding" if case.model.contains("conditioning") => {
                let [_, embedding, _] = others();
                let config = self.config(&embedding, 40);
                finish(&config, &self.dataset, &self.path("encoder"));
                format!("pretrained_encoder = {:?}", path("encoder"))
            }
            _ => String::new(),
        };
        let each = match case.model.starts_with("kind = \"embedding\"") {
            true => "images_per_class = 4",
            false => "",
        };
        let text = format!(
            "seed = 3\ndata = \"synthetic\"\n{before}\n[model]\n{}\n[training]\n\
             steps = {steps}\nbatch = 16\n{each}\nlearning_rate = 1e-2\nflips = \"none\"\n\
             optimiser = {{ kind = \"adam\" }}\n\
             schedule = {{ warmup = 2, decay = {{ kind = \"cosine\" }} }}\n\
             max_grad_norm = 1.0\nema_decay = 0.9\nvalidate_every = {}\nlog_every = 3\n",
            case.model,
            steps.div_ceil(2),
        );
        RunConfig::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
    }
}

/// The bits of the squares of each image: whether normal numbers are positive.
fn bits(squares: Squares, count: usize, first: u64) -> Vec<[usize; 4]> {
    let rows: Vec<u64> = (first..first + count as u64).collect();
    let numbers = normal(1, &rows, 4).unwrap().to_vec2::<f32>().unwrap();
    let of = |numbers: &Vec<f32>| {
        std::array::from_fn(|square| {
            let square = if squares == Squares::Alike { 0 } else { square };
            usize::from(numbers[square] > 0.0)
        })
    };
    numbers.iter().map(of).collect()
}

/// The square of a pixel.
fn square(pixel: usize) -> usize {
    pixel / 8 * 2 + pixel % 4 / 2
}

fn images(bits: &[[usize; 4]], noise: f64, first: u64) -> Images {
    let rows: Vec<u64> = (first..first + bits.len() as u64).collect();
    let numbers = normal(2, &rows, 48).unwrap().to_vec2::<f32>().unwrap();
    // |x| exceeds this with probability NOISE.
    let bound = if noise == 0.0 {
        f32::INFINITY
    } else {
        1.644_854
    };
    let values = bits.iter().zip(&numbers).flat_map(|(bits, numbers)| {
        let value = |(index, number): (usize, &f32)| {
            let bit = bits[square(index % 16)];
            VALUES[if number.abs() > bound { 1 - bit } else { bit }]
        };
        numbers.iter().enumerate().map(value)
    });
    let labels = bits.iter().map(|bits| bits[0] as u32).collect();
    let captions = bits
        .iter()
        .map(|bits| ["a dark image", "a bright one"][bits[0]]);
    let images = Images::new(SHAPE, values.collect(), labels).unwrap();
    images
        .with_captions(captions.map(String::from).collect())
        .unwrap()
}

/// A vector `[n, 4]` and a map `[n, 1, 4, 4]` for each image, with its bits as -1 and 1.
fn write_given(folder: &Path, split: &str, bits: &[[usize; 4]]) {
    let sign = |bit: usize| 2.0 * bit as f32 - 1.0;
    let vectors = bits.iter().flat_map(|bits| bits.map(sign));
    let maps = bits
        .iter()
        .flat_map(|bits| (0..16).map(|pixel| sign(bits[square(pixel)])));
    let write = |name: &str, numbers: Vec<f32>, shape: &[usize]| {
        let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        let path = folder.join(format!("{split}-{name}.npy"));
        tensor.write_npy(path).unwrap();
    };
    write("vectors", vectors.collect(), &[bits.len(), 4]);
    write("maps", maps.collect(), &[bits.len(), 1, 4, 4]);
}

/// Trains, stopping after `stop_after` steps.
pub(crate) fn run_until(
    config: &RunConfig,
    dataset: &Dataset,
    out: &Path,
    stop_after: usize,
) -> pixelcnn_train::Result<Outcome> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut report = |progress| {
        if matches!(progress, Progress::Step { step, .. } if step == stop_after) {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    train(config, dataset, out, &Device::Cpu, &stop, &mut report)
}

pub(crate) fn finish(config: &RunConfig, dataset: &Dataset, out: &Path) -> Summary {
    match run_until(config, dataset, out, usize::MAX).unwrap() {
        Outcome::Finished(summary) | Outcome::FinishedBefore(summary) => summary,
        Outcome::Stopped { step } => panic!("stopped at {step}"),
    }
}
