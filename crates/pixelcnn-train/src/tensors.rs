//! Named tensors: collects gradients from candle's store, and compares layouts.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::list;
use crate::{Result, TrainError};

/// Tensors by name, in the order of their names.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// Takes the gradient of every parameter out of candle's store.
///
/// # Shapes
///
/// Each gradient has the shape of its parameter. It is detached from the graph.
///
/// # Errors
///
/// [`TrainError::State`] names the first parameter that the loss does not depend on.
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Var};
///
/// let weight = Var::new(&[3.0f64], &Device::Cpu)?;
/// let parameters = BTreeMap::from([("weight".to_string(), weight.clone())]);
/// let store = weight.sqr()?.sum_all()?.backward()?;
/// let gradients = pixelcnn_train::collect_gradients(&store, &parameters)?;
/// assert_eq!(gradients["weight"].to_vec1::<f64>()?, [6.0]);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub fn collect_gradients(
    store: &GradStore,
    parameters: &BTreeMap<String, Var>,
) -> Result<BTreeMap<String, Tensor>> {
    parameters
        .iter()
        .map(|(name, parameter)| match store.get(parameter) {
            Some(gradient) => Ok((name.clone(), gradient.detach())),
            None => Err(TrainError::State {
                what: format!("gradient `{name}`"),
                expected: describe(parameter),
                found: "none: the loss does not depend on this parameter".into(),
            }),
        })
        .collect()
}

/// The parameters as tensors that share their storage and record no operations.
pub(crate) fn detached(parameters: &BTreeMap<String, Var>) -> Tensors {
    parameters
        .iter()
        .map(|(name, parameter)| (name.clone(), parameter.as_detached_tensor()))
        .collect()
}

/// Refuses `found` unless it has exactly the names, shapes and element types of `expected`.
pub(crate) fn check_layout(what: &str, expected: &Tensors, found: &Tensors) -> Result<()> {
    let state = |name: &str, expected: Option<&Tensor>, found: Option<&Tensor>| TrainError::State {
        what: format!("{what} `{name}`"),
        expected: expected.map_or("no such tensor".into(), describe),
        found: found.map_or("none".into(), describe),
    };
    for (name, tensor) in expected {
        let other = found.get(name);
        if !other.is_some_and(|other| same_layout(tensor, other)) {
            return Err(state(name, Some(tensor), other));
        }
    }
    match found.iter().find(|(name, _)| !expected.contains_key(*name)) {
        Some((name, tensor)) => Err(state(name, None, Some(tensor))),
        None => Ok(()),
    }
}

/// Copies `found`, checked against `expected`, to the devices of `expected`.
///
/// The storage is never shared, because `found` may contain variables, which change in
/// place.
pub(crate) fn adopt(what: &str, expected: &Tensors, found: &Tensors) -> Result<Tensors> {
    check_layout(what, expected, found)?;
    found
        .iter()
        .zip(expected.values())
        .map(|((name, tensor), like)| {
            let copy = tensor.detach().to_device(like.device())?.copy()?;
            Ok((name.clone(), copy))
        })
        .collect()
}

/// Variables, initialised with copies of `found`, checked against `expected`.
pub(crate) fn variables(
    what: &str,
    expected: &Tensors,
    found: &Tensors,
) -> Result<BTreeMap<String, Var>> {
    let copies = adopt(what, expected, found)?.into_iter();
    copies
        .map(|(name, tensor)| Ok((name, Var::from_tensor(&tensor)?)))
        .collect()
}

/// Copies of the present values of variables.
pub(crate) fn copies(what: &str, variables: &BTreeMap<String, Var>) -> Result<Tensors> {
    let tensors = detached(variables);
    adopt(what, &tensors, &tensors)
}

fn same_layout(a: &Tensor, b: &Tensor) -> bool {
    a.shape() == b.shape() && a.dtype() == b.dtype()
}

fn describe(tensor: &Tensor) -> String {
    format!("{} {}", tensor.dtype().as_str(), list(tensor.dims()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn zeros(names: &[&str], shape: &[usize], dtype: DType) -> Tensors {
        let zeros = Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
        names
            .iter()
            .map(|name| (name.to_string(), zeros.clone()))
            .collect()
    }

    #[test]
    fn a_parameter_without_gradient_is_named() {
        let used = Var::new(&[1f32], &Device::Cpu).unwrap();
        let unused = Var::new(&[[1f32, 2.]], &Device::Cpu).unwrap();
        let store = used.sqr().unwrap().backward().unwrap();
        let parameters = BTreeMap::from([("unused".into(), unused), ("used".into(), used)]);
        let error = collect_gradients(&store, &parameters).unwrap_err();
        assert_eq!(
            error.to_string(),
            "gradient `unused`: expected f32 [1, 2], \
             found none: the loss does not depend on this parameter"
        );
    }

    #[test]
    fn layouts_that_differ_are_told_apart() {
        let expected = zeros(&["a", "b"], &[2, 3], DType::F32);
        let message = |found: Tensors| {
            check_layout("gradient", &expected, &found)
                .unwrap_err()
                .to_string()
        };
        assert!(check_layout("gradient", &expected, &expected).is_ok());
        assert_eq!(
            message(zeros(&["a"], &[2, 3], DType::F32)),
            "gradient `b`: expected f32 [2, 3], found none"
        );
        assert_eq!(
            message(zeros(&["a", "b", "c"], &[2, 3], DType::F32)),
            "gradient `c`: expected no such tensor, found f32 [2, 3]"
        );
        assert_eq!(
            message(zeros(&["a", "b"], &[3, 2], DType::F32)),
            "gradient `a`: expected f32 [2, 3], found f32 [3, 2]"
        );
        assert_eq!(
            message(zeros(&["a", "b"], &[2, 3], DType::F64)),
            "gradient `a`: expected f32 [2, 3], found f64 [2, 3]"
        );
    }

    #[test]
    fn adopted_tensors_do_not_follow_the_variable_they_came_from() {
        let variable = Var::new(&[1f32, 2.], &Device::Cpu).unwrap();
        let found = Tensors::from([("w".into(), variable.as_tensor().clone())]);
        let adopted = adopt("average", &found, &found).unwrap();
        variable.set(&variable.zeros_like().unwrap()).unwrap();
        assert_eq!(adopted["w"].to_vec1::<f32>().unwrap(), [1., 2.]);
        assert!(!adopted["w"].track_op());
    }
}
