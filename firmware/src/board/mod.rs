//! What differs between boards: `entry`, the attribute of a program's first function, and how a program ends.

#[cfg_attr(board = "microbit", path = "microbit.rs")]
#[cfg_attr(board = "mps2_an386", path = "mps2_an386.rs")]
#[cfg_attr(board = "riscv_virt", path = "riscv_virt.rs")]
mod this;

#[cfg(target_arch = "arm")]
mod arm;
mod emulated;

pub use emulated::end;
pub use this::entry;

/// How a program ended. On an emulated board the emulator exits with the same status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Outcome {
    /// All checks passed.
    Pass = 0,
    /// A check failed.
    Fail = 1,
    /// The program panicked; the emulator shows where.
    Panic = 101,
    /// The processor took an exception that nobody handles.
    Fault = 102,
}
