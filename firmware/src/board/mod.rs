//! What differs between boards. A program begins with [`entry`], takes its [`Board`] and ends with [`end`].
//!
//! - **Serial line:** `embedded_io`'s blocking `Read`, `ReadReady` and `Write`; it never fails. While nothing is ready, [`idle`].
//! - **Clock:** milliseconds since the start, 64 bits.
//! - **Randomness:** [`entropy`] seeds a ChaCha20 generator from the hardware's, or says that there is none: then a program that needs
//!   secrets refuses to start.
//! - **What lasts:** the key blob that was flashed, and the boot counter, which is written before it is used.
//! - **Sensor:** one record of readings at a time.
//! - **Log:** defmt, by semihosting on emulated boards and RTT on real ones.
//!
//! What an emulated board lacks (generator, flash, sensor) comes from files of the host, in `emulated` alone. That file is not part of a real
//! board's build.

#[cfg_attr(board = "microbit", path = "microbit.rs")]
#[cfg_attr(board = "mps2_an386", path = "mps2_an386.rs")]
#[cfg_attr(board = "nrf52840", path = "nrf52840.rs")]
#[cfg_attr(board = "riscv_virt", path = "riscv_virt.rs")]
mod this;

#[cfg(target_arch = "arm")]
mod arm;
#[cfg(emulated)]
mod emulated;
#[cfg(emulated)]
mod register;
pub mod stack;

use chacha20::ChaCha20Rng;
use core::{cell::Cell, panic::PanicInfo};
use critical_section::Mutex;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

#[cfg(emulated)]
pub use emulated::{Sensor, Storage, end};
#[cfg(not(emulated))]
pub use this::{Sensor, Storage, end};
pub use this::{Serial, entry, idle, now_ms};

/// How a program ended. On an emulated board the emulator exits with the same status.
#[derive(Clone, Copy, Debug, Eq, PartialEq, defmt::Format)]
#[repr(u8)]
pub enum Outcome {
    /// All checks passed.
    Pass = 0,
    /// A check failed.
    Fail = 1,
    /// The program panicked; in builds with debug assertions the log shows where.
    Panic = 101,
    /// The processor took an exception that nobody handles.
    Fault = 102,
}

/// Why a board cannot give what a program needs. The program logs it and ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, defmt::Format)]
#[non_exhaustive]
pub enum Error {
    /// No seed from the generator. On an emulated board: a file `seed` of 32 bytes.
    NoEntropy,
    /// No key blob. Flash one; on an emulated board: a file `blob`.
    NoBlob,
    /// The boot counter cannot be read or written, or has reached its end. The device must not send: replace its flash and its keys.
    BootCounter,
    /// The sensor does not answer. Check its wiring.
    Sensor,
}

/// A generator for secrets: ChaCha20, seeded by the hardware's once.
pub type Entropy = ChaCha20Rng;

/// All that a program takes from its board.
pub struct Board {
    /// The line to the gateway or to the other party.
    pub serial: Serial,
    /// Key blob and boot counter.
    pub storage: Storage,
    /// Readings.
    pub sensor: Sensor,
    seed: Result<Zeroizing<[u8; 32]>, Error>,
}

impl Board {
    /// Starts the board: paints the stack, starts the clock and the line.
    ///
    /// # Panics
    ///
    /// If called twice.
    pub fn take() -> Self {
        static TAKEN: Mutex<Cell<bool>> = Mutex::new(Cell::new(false));
        assert!(!critical_section::with(|cs| TAKEN.borrow(cs).replace(true)), "the board is taken");
        stack::paint();
        this::start()
    }

    /// The generator; the seed is used up.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntropy`], also when called again.
    pub fn entropy(&mut self) -> Result<Entropy, Error> {
        let seed = core::mem::replace(&mut self.seed, Err(Error::NoEntropy))?;
        Ok(Entropy::from_seed(*seed))
    }
}

/// Logs where the program panicked, in builds with debug assertions (`CARGO_PROFILE_FIRMWARE_DEBUG_ASSERTIONS=true`). In others nothing may look at
/// the place: it would keep 7 kB of messages, places and their formatting alive.
fn log_panic(info: &PanicInfo<'_>) {
    match info.location() {
        Some(at) if cfg!(debug_assertions) => defmt::error!("panicked at {=str}:{=u32}", at.file(), at.line()),
        _ => defmt::error!("panicked"),
    }
}

defmt::timestamp!("{=u64:ms}", now_ms());
