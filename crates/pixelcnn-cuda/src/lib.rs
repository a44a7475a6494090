#![doc = include_str!("../README.md")]

#[cfg(feature = "cuda")]
mod columns;
#[cfg(feature = "cuda")]
mod cross_entropy;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod gate;
#[cfg(feature = "cuda")]
mod kernel;
#[cfg(feature = "cuda")]
mod mixture;
#[cfg(feature = "cuda")]
mod muon;
#[cfg(feature = "cuda")]
mod product;
#[cfg(feature = "cuda")]
mod step;
#[cfg(feature = "cuda")]
mod table;
#[cfg(feature = "cuda")]
mod update;

#[cfg(feature = "cuda")]
pub use columns::{ColumnSizes, sums_of_views, views};
#[cfg(feature = "cuda")]
pub use cross_entropy::cross_entropy;
#[cfg(feature = "cuda")]
pub use device::device;
#[cfg(feature = "cuda")]
pub use gate::gate;
#[cfg(feature = "cuda")]
pub use mixture::{Mixture, mixture};
#[cfg(feature = "cuda")]
pub use muon::{MuonSettings, MuonWeight, muon};
#[cfg(feature = "cuda")]
pub use step::{
    Precision, Step, StepCondition, StepConvolution, StepLoss, StepOperation, StepPlan,
};
#[cfg(feature = "cuda")]
pub use update::{Constants, Parameter, norm, update};
