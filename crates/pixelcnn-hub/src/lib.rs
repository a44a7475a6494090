#![doc = include_str!("../README.md")]
//!
//! A [`Repository`] names a model or a data set, [`Hub::open`] finds its files at one commit,
//! and [`Snapshot::fetch`] gives the path of a file, after a download if necessary.
//! [`Hub::cached`] lists what is there without the network.

mod address;
mod cache;
mod error;
mod hub;
mod repository;
mod requests;
mod settings;
mod snapshot;
mod transfer;
mod verification;

pub use cache::Cached;
pub use error::HubError;
pub use hub::{Hub, Transfer};
pub use repository::{Kind, Repository};
pub use snapshot::Snapshot;
