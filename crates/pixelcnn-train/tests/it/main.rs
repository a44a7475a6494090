//! Whole runs on made-up data: the same bits again, resumed, killed, failed,
//! refused.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod baselines;
mod by_hand;
mod conditions;
mod determinism;
mod experiments;
mod extension;
mod failures;
mod missing_inputs;
mod objective;
mod ownership;
mod refusals;
mod result;
mod resume;
mod synthetic;
mod tiny;
