//! Checks of the integer values for losses.

use candle_core::{DType, Result, Tensor, bail};

/// Refuses values that are not `u8` or `u32` of this shape on the device of the numbers,
/// and on the CPU also values that are not below `levels`. On a device, reading the values
/// would wait for all earlier work; [`beyond_is_nan`] marks them there.
pub(crate) fn check(
    operation: &str,
    values: &Tensor,
    shape: [usize; 4],
    (name, numbers): (&str, &Tensor),
    levels: usize,
) -> Result<()> {
    if values.dims() != shape {
        let found = values.dims();
        bail!("{operation}: values {shape:?} expected, found {found:?}");
    }
    if !matches!(values.dtype(), DType::U8 | DType::U32) {
        let found = values.dtype().as_str();
        bail!("{operation}: values u8 or u32 expected, found {found}");
    }
    if !values.device().same_device(numbers.device()) {
        let (expected, found) = (numbers.device().location(), values.device().location());
        bail!("{operation}: {name} are on {expected:?}, values on {found:?}");
    }
    if numbers.elem_count() == 0 {
        bail!("{operation}: {name}: a size is zero: {:?}", numbers.dims());
    }
    if values.device().is_cpu() {
        let most = values.max_all()?.to_dtype(DType::U32)?.to_scalar::<u32>()?;
        if most as usize >= levels {
            bail!("{operation}: values below {levels} expected, found {most}");
        }
    }
    Ok(())
}

/// Sets nats to NaN where a value is not below `levels`, without copying the
/// values from the device.
pub(crate) fn beyond_is_nan(nats: &Tensor, values: &Tensor, levels: usize) -> Result<Tensor> {
    let beyond = values.to_dtype(DType::U32)?.ge(levels as u32)?;
    let nan = Tensor::new(f32::NAN, nats.device())?.to_dtype(nats.dtype())?;
    beyond.where_cond(&nan.broadcast_as(nats.shape())?, nats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn a_value_beyond_the_levels_has_no_nats_and_the_others_keep_theirs() {
        let nats = Var::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap();
        let values = Tensor::new(&[4u8, 5, 0], &Device::Cpu).unwrap();
        let found = beyond_is_nan(&nats, &values, 5).unwrap();
        let numbers = found.to_vec1::<f32>().unwrap();
        assert!(numbers[1].is_nan());
        assert_eq!([numbers[0], numbers[2]], [1.0, 3.0]);
        let gradients = found.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&nats).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(gradient, [1.0, 0.0, 1.0]);
    }
}
