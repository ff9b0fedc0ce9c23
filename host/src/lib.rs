//! Symbolon on the host.

pub mod cli;
pub mod data;
pub mod engine;
pub mod job;
pub mod kernel;
pub mod lanes;
pub mod net;
pub mod report;
pub mod secret;
pub mod session;
pub mod train;
