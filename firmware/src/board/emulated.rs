//! The end of a program on an emulated board: a status for the emulator, by semihosting.

use core::panic::PanicInfo;

use semihosting::{eprintln, process};

use super::Outcome;

/// Ends the program and the emulator with it.
pub fn end(outcome: Outcome) -> ! {
    process::exit(i32::from(outcome as u8))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    eprintln!("{info}");
    end(Outcome::Panic)
}
