//! Symbolon on the host.

pub mod job;
