//! Symbolon on the host.

pub mod data;
pub mod job;
pub mod net;
pub mod report;
