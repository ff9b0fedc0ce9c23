//! The BBC micro:bit, first version: nRF51822, Cortex-M0.

pub use super::arm::entry;
