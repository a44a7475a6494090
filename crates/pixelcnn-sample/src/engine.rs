//! The engine: computes a model value by value.

use candle_core::{DType, bail};
use pixelcnn_kernels::LogisticMixture;
use pixelcnn_kernels::exact::{self, Driver, Extent, Job, Program, Sharing};
use pixelcnn_models::{Condition, DensityModel, ImageShape};
use pixelcnn_system::{check_memory, counted};

use crate::parts::numbers;
use crate::value_distribution::ValueDistribution;
use crate::{SampleError, compile};

/// The network of a model, with its weights in the order in which they are used.
///
/// It computes on the CPU in f32, on whatever device the model is. It takes the condition
/// of the blocks: a [`ConditionEncoder`](pixelcnn_models::ConditionEncoder) encodes labels,
/// texts or images once, before.
///
/// # Example
///
/// See [the crate](crate).
#[derive(Clone, Debug)]
pub struct Engine {
    program: Program,
    image: ImageShape,
    mixture: Option<LogisticMixture>,
    threads: usize,
    sharing: Sharing,
}

impl Engine {
    /// The engine of a model, with as many threads as
    /// [the kernels have](pixelcnn_kernels::threads).
    ///
    /// # Errors
    ///
    /// If the model does not predict pixels in order, or a copy of its weights does not
    /// fit into memory.
    pub fn new(model: &DensityModel) -> Result<Self, SampleError> {
        let Some(network) = model.network() else {
            let why = "the uniform distribution and a Gaussian do not predict pixels in order"
                .to_string();
            return Err(SampleError::invalid("engine", why));
        };
        let bytes = network
            .graph()
            .parameters()
            .saturating_mul(size_of::<f32>());
        check_memory("the engine's copy of the weights", bytes as u64)?;
        let image = model.image();
        let program = compile::program(network.graph(), image.levels)?;
        Ok(Self {
            program,
            image,
            mixture: network.distribution().mixture(&image),
            threads: pixelcnn_kernels::threads(),
            sharing: Sharing::default(),
        })
    }

    /// The same engine with another number of threads, at least one. The number does not
    /// change any bit. More threads than processors are not faster.
    pub fn with_threads(self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            ..self
        }
    }

    /// The same engine with another limit on the threads that share an image. It does not
    /// change any bit.
    pub fn with_sharing(self, sharing: Sharing) -> Self {
        Self { sharing, ..self }
    }

    /// The number of images that keeps every thread busy. A run computes at most so many at a
    /// time, and the others before or after them.
    pub fn most_together(&self) -> usize {
        self.threads.saturating_mul(exact::MOST_IMAGES)
    }

    /// Bytes of a run of `images` images, without the engine and the drivers.
    pub(crate) fn memory(&self, images: usize, (height, width): (usize, usize)) -> u64 {
        let rows = self.program.memory(images, width, self.threads);
        // The given condition, the condition of these images, and its copy for the engine.
        let given = match self.program.condition() {
            None => 0,
            Some((extent, maps)) => {
                let positions = match extent {
                    Extent::Image => 1,
                    Extent::Row => (height as u64).saturating_mul(width as u64),
                };
                let numbers = positions.saturating_mul(maps as u64);
                numbers.saturating_mul(12).saturating_mul(images as u64)
            }
        };
        rows.saturating_add(given)
    }

    /// Number of channel groups, and number of parameters of each group.
    pub(crate) fn outputs(&self) -> (usize, usize) {
        self.program.parameters()
    }

    /// Computes distributions from the parameters that a driver gets.
    pub fn value_distribution(&self) -> ValueDistribution {
        ValueDistribution::new(self.mixture)
    }

    /// Shape of the model's images.
    pub fn image(&self) -> ImageShape {
        self.image
    }

    /// Bytes of the weights that are used once per row, and once per pixel.
    pub fn weight_bytes(&self) -> (usize, usize) {
        self.program.weight_bytes()
    }

    /// Goes through an image of `height x width` for each driver.
    ///
    /// # Errors
    ///
    /// If a size is zero, the condition does not fit the model, the activations do not fit
    /// into memory, or a driver fails.
    ///
    /// # Example
    ///
    /// All logits of a known image, here of zeros:
    ///
    /// ```
    /// # use candle_core::Device;
    /// # use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
    /// use pixelcnn_models::Condition;
    /// use pixelcnn_sample::{Driver, Engine, ValueIndex};
    ///
    /// struct Zeros(Vec<f32>);
    ///
    /// impl Driver for Zeros {
    ///     fn known(&mut self, _: usize, values: &mut [u32]) -> candle_core::Result<bool> {
    ///         values.fill(0);
    ///         Ok(true)
    ///     }
    ///     fn value(&mut self, _: ValueIndex, logits: &[f32]) -> candle_core::Result<u32> {
    ///         self.0.extend_from_slice(logits);
    ///         Ok(0)
    ///     }
    /// }
    ///
    /// # let image = ImageShape { channels: 1, height: 4, width: 4, levels: 8 };
    /// # let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
    /// # let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
    /// let engine = Engine::new(model.density()?)?;
    /// let mut images = [Zeros(Vec::new())];
    /// engine.run((3, 5), &Condition::None, &mut images)?;
    /// assert_eq!(images[0].0.len(), 3 * 5 * 8);
    /// # Ok::<(), pixelcnn_sample::SampleError>(())
    /// ```
    pub fn run<D: Driver>(
        &self,
        (height, width): (usize, usize),
        condition: &Condition,
        drivers: &mut [D],
    ) -> Result<(), SampleError> {
        let images = drivers.len();
        check_memory(
            format!(
                "the engine for {} of {height} x {width}",
                counted(images, "image")
            ),
            self.memory(images, (height, width)),
        )?;
        let job = Job {
            height,
            width,
            condition: &self.numbers(condition, (images, height, width))?,
            threads: self.threads,
            sharing: self.sharing,
        };
        Ok(exact::run(&self.program, &job, drivers)?)
    }

    /// Converts a condition for the program, if it fits the program.
    fn numbers(
        &self,
        condition: &Condition,
        (images, height, width): (usize, usize, usize),
    ) -> candle_core::Result<Vec<f32>> {
        let taken = self.program.condition();
        if let Condition::Vector(tensor) | Condition::Map(tensor) = condition
            && !matches!(
                tensor.dtype(),
                DType::BF16 | DType::F16 | DType::F32 | DType::F64
            )
        {
            let found = tensor.dtype().as_str();
            bail!("condition: bf16, f16, f32 or f64 expected, found {found}");
        }
        match (condition, taken) {
            (Condition::None, None) => Ok(Vec::new()),
            (Condition::Vector(vectors), Some((Extent::Image, length)))
                if vectors.dims() == [images, length] =>
            {
                numbers(vectors)
            }
            (Condition::Map(all), Some((Extent::Row, maps)))
                if all.dims() == [images, maps, height, width] =>
            {
                numbers(&all.permute((0, 2, 3, 1))?)
            }
            (_, taken) => {
                let expected = match taken {
                    None => "no condition".to_string(),
                    Some((Extent::Image, length)) => format!("a vector [{images}, {length}]"),
                    Some((Extent::Row, maps)) => {
                        format!("a map [{images}, {maps}, {height}, {width}]")
                    }
                };
                bail!("condition: the model expects {expected}, found {condition}")
            }
        }
    }
}
