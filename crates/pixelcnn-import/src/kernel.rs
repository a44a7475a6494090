//! The weight of a convolution of another program, and its mask.

use candle_core::{DType, Result, Tensor};
use pixelcnn_conv::Convolution;

/// A weight `[out, in, rows, columns]` and the mask that the file has for it, if there is one.
/// What is done to the order and the extent of the weight is done to the mask too, so that the
/// mask can be compared with that of the model.
pub(crate) struct Kernel {
    pub weight: Tensor,
    pub mask: Option<FileMask>,
}

/// A mask of a file.
#[derive(Clone)]
pub(crate) struct FileMask {
    /// Its name there.
    pub name: String,
    /// 1 where the weight is used, 0 where it is not, in one byte each; the shape of the weight.
    pub open: Tensor,
}

impl Kernel {
    /// The weight and the mask after the same change.
    pub(crate) fn changed(self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let mask = match self.mask {
            None => None,
            Some(mask) => Some(FileMask {
                open: change(&mask.open)?,
                name: mask.name,
            }),
        };
        Ok(Self {
            weight: change(&self.weight)?,
            mask,
        })
    }
}

/// The name of the mask of a convolution: an entry beside its weight, or beside the convolution
/// if the mask belongs to a module around it.
pub(crate) fn mask_name(convolution: &str) -> String {
    let module = convolution.strip_suffix(".conv").unwrap_or(convolution);
    format!("{module}.mask")
}

impl FileMask {
    /// A mask as stored, whose sides are those of the weight or 1.
    ///
    /// # Errors
    ///
    /// If its shape or a number is another; the text says which.
    pub(crate) fn new(
        name: String,
        stored: &Tensor,
        shape: [usize; 4],
    ) -> std::result::Result<Self, String> {
        let sides = stored.dims().iter().zip(&shape);
        let fits = sides.clone().all(|(side, of)| side == of || *side == 1);
        if stored.rank() != shape.len() || !fits {
            let found = stored.dims();
            return Err(format!(
                "tensor {name}: the sides of its weight, {shape:?}, or 1 expected, found {found:?}"
            ));
        }
        let open = stored.to_dtype(DType::F32).and_then(|it| {
            let numbers = it.flatten_all()?.to_vec1::<f32>()?;
            let other = numbers.iter().find(|it| **it != 0.0 && **it != 1.0);
            let open = it.to_dtype(DType::U8)?.broadcast_as(&shape)?;
            Ok((other.copied(), open.contiguous()?))
        });
        match open {
            Ok((None, open)) => Ok(Self { name, open }),
            Ok((Some(other), _)) => Err(format!(
                "tensor {name}: a mask of 0 and 1 expected, found {other}"
            )),
            Err(error) => Err(format!("tensor {name}: {error}")),
        }
    }

    /// What is wrong if a part of the kernel that the model does not have is open.
    pub(crate) fn open_outside(&self, kept: &Self) -> Result<Option<String>> {
        let (all, kept) = (count(&self.open)?, count(&kept.open)?);
        Ok((all > kept).then(|| {
            let more = all - kept;
            format!(
                "tensor {}: 0 expected at the pixels that this format does not read, found 1 in \
                 {more} entries",
                self.name
            )
        }))
    }

    /// What is wrong if the mask, changed as the weight was, is not that of the model's
    /// convolution.
    pub(crate) fn difference(&self, convolution: &Convolution) -> Result<Option<String>> {
        let expected = match convolution.mask()? {
            Some(mask) => mask.to_dtype(DType::U8)?,
            None => self.open.ones_like()?,
        };
        let numbers = |it: &Tensor| it.flatten_all()?.to_vec1::<u8>();
        let (found, expected) = (numbers(&self.open)?, numbers(&expected)?);
        let pairs = found.iter().zip(&expected).enumerate();
        let mut wrong = pairs.filter(|(_, (found, expected))| found != expected);
        Ok(wrong.next().map(|(at, (found, expected))| {
            let at = place(at, self.open.dims());
            let count = 1 + wrong.count();
            format!(
                "tensor {}: the mask is not that of this format, in {count} of {} entries; for \
                 {}.weight {at:?} of the model, {expected} expected, found {found}",
                self.name,
                self.open.elem_count(),
                convolution.name(),
            )
        }))
    }
}

/// How many numbers are 1.
fn count(open: &Tensor) -> Result<usize> {
    let numbers = open.flatten_all()?.to_vec1::<u8>()?;
    Ok(numbers.iter().map(|it| usize::from(*it)).sum())
}

/// The indices of a number along each side.
fn place(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut place: Vec<_> = shape
        .iter()
        .rev()
        .map(|side| {
            let at = index % side;
            index /= side;
            at
        })
        .collect();
    place.reverse();
    place
}
