//! QEMU's `virt` machine with a 32-bit RISC-V core: 16550 UART, the CLINT's timer as clock.

use core::convert::Infallible;
use embedded_io::{ErrorType, Read, ReadReady, Write};

pub use riscv_rt::entry;

use super::{
    Board, Outcome,
    emulated::{Sensor, Storage, seed},
    end,
    register::Register,
};

const UART: usize = 0x1000_0000;
const DATA: Register<u8> = Register::at(UART);
const INT_ENABLE: Register<u8> = Register::at(UART + 1);
const FIFO: Register<u8> = Register::at(UART + 2);
const LINE: Register<u8> = Register::at(UART + 3);
const STATUS: Register<u8> = Register::at(UART + 5);

/// `STATUS`: a byte can be read, a byte can be sent.
const RX_READY: u8 = 1;
const TX_EMPTY: u8 = 1 << 5;

const TIMER_LOW: Register<u32> = Register::at(0x0200_bff8);
const TIMER_HIGH: Register<u32> = Register::at(0x0200_bffc);
const COMPARE_LOW: Register<u32> = Register::at(0x0200_4000);
const COMPARE_HIGH: Register<u32> = Register::at(0x0200_4004);
const TICKS_PER_MS: u64 = 10_000;

/// The interrupt controller, for hart 0 in machine mode.
const PRIORITY: Register<u32> = Register::at(0x0c00_0000 + 4 * UART_INTERRUPT);
const ENABLED: Register<u32> = Register::at(0x0c00_2000);
const THRESHOLD: Register<u32> = Register::at(0x0c20_0000);
const CLAIM: Register<u32> = Register::at(0x0c20_0004);
const UART_INTERRUPT: usize = 10;

pub(super) fn start() -> Board {
    LINE.write(0b11); // 8 bits, no parity, one stop bit
    FIFO.write(0b111); // on, and empty
    INT_ENABLE.write(1); // when a byte arrives
    PRIORITY.write(1);
    THRESHOLD.write(0);
    ENABLED.write(1 << UART_INTERRUPT);
    wake_on_interrupts();
    Board { serial: Serial(()), storage: Storage(()), sensor: Sensor(()), seed: seed() }
}

#[allow(unsafe_code)]
fn wake_on_interrupts() {
    // SAFETY: interrupts stay off in `mstatus`: none is ever taken. These bits say which of them end `wfi`.
    unsafe {
        riscv::register::mie::set_mtimer();
        riscv::register::mie::set_mext();
    }
}

#[allow(unsafe_code)]
// SAFETY: riscv-rt looks for this name and signature; the handler never returns to the interrupted code.
#[unsafe(export_name = "ExceptionHandler")]
fn exception(_frame: &riscv_rt::TrapFrame) -> ! {
    end(Outcome::Fault)
}

fn ticks() -> u64 {
    loop {
        let high = TIMER_HIGH.read();
        let low = TIMER_LOW.read();
        if TIMER_HIGH.read() == high {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// Milliseconds since the start.
pub fn now_ms() -> u64 {
    ticks() / TICKS_PER_MS
}

/// Sleeps until something may have happened, a millisecond at most.
pub fn idle() {
    let bytes = (ticks() + TICKS_PER_MS).to_le_bytes();
    let [low, high] = [0, 4].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    COMPARE_HIGH.write(u32::MAX); // never early
    COMPARE_LOW.write(low);
    COMPARE_HIGH.write(high);
    riscv::asm::wfi();
    CLAIM.write(CLAIM.read()); // a byte that is not read yet raises it again
}

/// The 16550. The emulator holds the sender back while its FIFO is full, so polling loses nothing.
pub struct Serial(());

impl ErrorType for Serial {
    type Error = Infallible;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(STATUS.read() & RX_READY != 0)
    }
}

impl Read for Serial {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        while !buf.is_empty() && !self.read_ready()? {
            idle();
        }
        let mut len = 0;
        while len < buf.len() && self.read_ready()? {
            buf[len] = DATA.read();
            len += 1;
        }
        Ok(len)
    }
}

impl Write for Serial {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        for byte in buf {
            self.flush()?;
            DATA.write(*byte);
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while STATUS.read() & TX_EMPTY == 0 {}
        Ok(())
    }
}
