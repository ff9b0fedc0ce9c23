//! Shared helpers of the cross-crate tests: small jobs and their data, servers and dealer in one process or in three, and
//! what is needed to break them.
//!
//! All of it runs on loopback, and whatever waits has a deadline. Helpers panic where a test would.
#![allow(clippy::unwrap_used)]

pub mod compute;
pub mod dir;
pub mod emulator;
pub mod fleet;
pub mod footprint;
pub mod fuzz;
pub mod infer;
pub mod jobs;
pub mod noise;
pub mod play;
pub mod predict;
pub mod program;
pub mod relay;
pub mod roles;
pub mod servers;
pub mod slow;
pub mod statistics;
pub mod stored;
mod watch;
pub mod wire;
