//! QEMU's `virt` machine with a 32-bit RISC-V core.

use riscv as _; // links its critical section

pub use riscv_rt::entry;

use super::{Outcome, end};

#[allow(unsafe_code)]
// SAFETY: riscv-rt looks for this name and signature; the handler never returns to the interrupted code.
#[unsafe(export_name = "ExceptionHandler")]
fn exception(_frame: &riscv_rt::TrapFrame) -> ! {
    end(Outcome::Fault)
}
