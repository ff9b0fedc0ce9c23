//! ARM's MPS2 board with the AN386 image: Cortex-M4F.

pub use super::arm::entry;
