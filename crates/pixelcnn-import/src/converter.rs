//! From the tensors of another program to those of a model.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Model, ModelConfig};
use pixelcnn_system::counted;

use crate::kernel::{FileMask, Kernel, mask_name};
use crate::state_dict::listed;
use crate::{Checkpoint, Import, ImportError};

/// Takes tensors of a checkpoint under their names there, and gives them the names of the
/// model.
pub(crate) struct Converter {
    checkpoint: Checkpoint,
    tensors: BTreeMap<String, Tensor>,
    /// The masks of the file by the names of the model's convolutions.
    masks: BTreeMap<String, FileMask>,
    notes: Vec<String>,
    /// The largest number of each part of a kernel that the model does not have.
    closed: Vec<(String, f64)>,
    warnings: Vec<String>,
}

impl Converter {
    pub(crate) fn new(checkpoint: Checkpoint) -> Self {
        Self {
            notes: checkpoint.notes().to_vec(),
            checkpoint,
            tensors: BTreeMap::new(),
            masks: BTreeMap::new(),
            closed: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The shape of a tensor of rank `N`.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], ImportError> {
        let Some(shape) = self.checkpoint.shape(name) else {
            let found = self.checkpoint.names();
            let found: Vec<_> = found.iter().map(String::as_str).collect();
            let why = format!("tensor {name} is missing; it has {}", listed(&found));
            return Err(self.checkpoint.wrong(why));
        };
        shape.try_into().map_err(|_| {
            let why = format!("tensor {name}: {N} sides expected, found {shape:?}");
            self.checkpoint.wrong(why)
        })
    }

    /// How many layers there are: the first number without this tensor.
    pub(crate) fn layers(&self, name: impl Fn(usize) -> String) -> usize {
        let has = |layer: &usize| self.checkpoint.shape(&name(*layer)).is_some();
        (0..).take_while(has).count()
    }

    /// A tensor of this shape, in f32.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, ImportError> {
        match self.checkpoint.shape(name) {
            Some(found) if found != shape => {
                let why = format!("tensor {name}: {shape:?} expected, found {found:?}");
                Err(self.checkpoint.wrong(why))
            }
            _ => {
                let tensor = self.checkpoint.take(name)?;
                if !tensor.dtype().is_float() {
                    let found = tensor.dtype().as_str();
                    let why =
                        format!("tensor {name}: F32, F16, BF16 or F64 expected, found {found}");
                    return Err(self.checkpoint.wrong(why));
                }
                let tensor = tensor.to_dtype(DType::F32)?;
                self.check_finite(name, &tensor)?;
                Ok(tensor)
            }
        }
    }

    /// Refuses numbers that are not finite also where a mask is closed: their product with
    /// the zero of a mask is NaN.
    fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<(), ImportError> {
        let numbers = tensor.flatten_all()?.to_vec1::<f32>()?;
        match numbers.iter().find(|number| !number.is_finite()) {
            None => Ok(()),
            Some(number) => {
                let why = format!("tensor {name}: finite numbers in f32 expected, found {number}");
                Err(self.checkpoint.wrong(why))
            }
        }
    }

    pub(crate) fn put(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// The weight of a convolution and its mask, if the file has one.
    pub(crate) fn kernel(&mut self, from: &str, shape: [usize; 4]) -> Result<Kernel, ImportError> {
        let weight = self.take(&format!("{from}.weight"), &shape)?;
        let name = mask_name(from);
        let mask = match self.checkpoint.shape(&name) {
            None => None,
            Some(_) => {
                let stored = self.checkpoint.take(&name)?;
                let mask = FileMask::new(name, &stored, shape);
                Some(mask.map_err(|why| self.checkpoint.wrong(why))?)
            }
        };
        Ok(Kernel { weight, mask })
    }

    /// A kernel without the rows and columns that the model does not have: there the mask must
    /// be closed, and the weight should be zero.
    pub(crate) fn part(
        &mut self,
        from: &str,
        shape: [usize; 4],
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Kernel, ImportError> {
        let whole = self.kernel(from, shape)?;
        let [_, _, height, width] = shape;
        if (rows.len(), columns.len()) == (height, width) {
            return Ok(whole);
        }
        let (weight, mask) = (whole.weight.clone(), whole.mask.clone());
        let kept = whole.changed(|it| {
            it.narrow(2, rows.start, rows.len())?
                .narrow(3, columns.start, columns.len())?
                .contiguous()
        })?;
        let padded = kept
            .weight
            .pad_with_zeros(2, rows.start, height - rows.end)?
            .pad_with_zeros(3, columns.start, width - columns.end)?;
        self.note_closed(&format!("{from}.weight"), &(weight - padded)?)?;
        if let (Some(mask), Some(kept)) = (mask, &kept.mask)
            && let Some(why) = mask.open_outside(kept)?
        {
            return Err(self.checkpoint.wrong(why));
        }
        Ok(kept)
    }

    /// Stores the weight of a convolution of the model, and its mask to be compared.
    pub(crate) fn put_kernel(&mut self, to: &str, kernel: Kernel) {
        self.put(format!("{to}.weight"), kernel.weight);
        if let Some(mask) = kernel.mask {
            self.masks.insert(to.to_string(), mask);
        }
    }

    fn note_closed(&mut self, name: &str, closed: &Tensor) -> Result<(), ImportError> {
        let numbers = closed.flatten_all()?.to_vec1::<f32>()?;
        let largest = numbers.iter().fold(0f32, |all, it| all.max(it.abs()));
        if largest > 0.0 {
            self.closed.push((name.to_string(), f64::from(largest)));
        }
        Ok(())
    }

    /// A convolution whose weight and bias are as in the model.
    pub(crate) fn convolution(
        &mut self,
        from: &str,
        to: &str,
        shape: [usize; 4],
    ) -> Result<(), ImportError> {
        let kernel = self.kernel(from, shape)?;
        let bias = self.take(&format!("{from}.bias"), &shape[..1])?;
        self.put_kernel(to, kernel);
        self.put(format!("{to}.bias"), bias);
        Ok(())
    }

    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Passes over tensors that hold no weights.
    pub(crate) fn buffers(&mut self, ends: &[&str]) {
        let fits = |name: &str| ends.iter().any(|end| name.ends_with(end));
        match self.checkpoint.pass_over(fits) {
            0 => {}
            count => {
                let ends = ends.join(", ");
                self.note(format!("passed over {}: {ends}", counted(count, "buffer")));
            }
        }
    }

    /// Passes over a convolution whose result no output reads.
    pub(crate) fn without_effect(&mut self, name: &str) {
        let inside = format!("{name}.");
        let count = self.checkpoint.pass_over(|it| it.starts_with(&inside));
        if count > 0 {
            self.note(format!("left out, because no output depends on it: {name}"));
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.checkpoint.path()
    }

    /// An error about the file.
    pub(crate) fn wrong(&self, why: impl Into<String>) -> ImportError {
        self.checkpoint.wrong(why)
    }

    /// The model, after all tensors are taken.
    pub(crate) fn finish(mut self, config: &ModelConfig) -> Result<Import, ImportError> {
        let rest = self.checkpoint.names();
        if !rest.is_empty() {
            let rest: Vec<_> = rest.iter().map(String::as_str).collect();
            let why = format!("tensors that this format does not have: {}", listed(&rest));
            return Err(self.checkpoint.wrong(why));
        }
        let tensors = std::mem::take(&mut self.tensors);
        let model = Model::from_tensors(config, tensors.clone(), DType::F32, &Device::Cpu)?;
        for convolution in model.network().into_iter().flat_map(|it| it.convolutions()) {
            if let Some(mask) = self.masks.get(convolution.name())
                && let Some(why) = mask.difference(convolution)?
            {
                return Err(self.checkpoint.wrong(why));
            }
            let name = format!("{}.weight", convolution.name());
            if let (Some(weight), true) = (tensors.get(&name), convolution.is_masked()) {
                let masked = convolution.masked_weight()?;
                self.note_closed(&name, &(weight - masked)?)?;
            }
        }
        self.warn_closed();
        Ok(Import {
            model,
            notes: self.notes,
            warnings: self.warnings,
        })
    }

    fn warn_closed(&mut self) {
        let largest = self
            .closed
            .iter()
            .max_by(|one, other| one.1.total_cmp(&other.1));
        if let Some((name, size)) = largest {
            let count = counted(self.closed.len(), "kernel");
            self.warnings.push(format!(
                "{count} had other numbers than zero where the mask is closed, which are zero in \
                 the model; the largest is {size:.3e}, in {name}"
            ));
        }
    }
}
