//! Downloads from a server on this machine that speaks the part of the hub's protocol that is
//! used, and that makes mistakes.

// Helper functions of tests may panic, like the tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod downloads;
mod faults;
mod server;
