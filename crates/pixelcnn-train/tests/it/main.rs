//! Whole runs on artificial data: the same bits, also after a stop or a kill; failures and
//! refusals.

// Helper functions of tests may panic, like the tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod baselines;
mod by_hand;
mod conditions;
mod determinism;
mod early_stopping;
mod experiments;
mod extension;
mod failures;
mod fine_tuning;
mod missing_inputs;
mod objective;
mod ownership;
mod refusals;
mod result;
mod resume;
mod second_average;
mod synthetic;
mod tiny;
