//! The BBC micro:bit, first version: nRF51822, Cortex-M0, UART to its USB port, timer 0 as clock (the chip has no SysTick).

use core::{cell::Cell, convert::Infallible};
use critical_section::Mutex;
use embedded_io::{ErrorType, Read, ReadReady, Write};

pub use super::arm::entry;
use super::{
    Board,
    emulated::{Sensor, Storage, seed},
    register::Register,
};

const UART: usize = 0x4000_2000;
const START_RX: Register<u32> = Register::at(UART);
const START_TX: Register<u32> = Register::at(UART + 0x008);
const RX_READY: Register<u32> = Register::at(UART + 0x108);
const TX_READY: Register<u32> = Register::at(UART + 0x11c);
const ENABLE: Register<u32> = Register::at(UART + 0x500);
const TX_PIN: Register<u32> = Register::at(UART + 0x50c);
const RX_PIN: Register<u32> = Register::at(UART + 0x514);
const RX_DATA: Register<u32> = Register::at(UART + 0x518);
const TX_DATA: Register<u32> = Register::at(UART + 0x51c);
const BAUD_RATE: Register<u32> = Register::at(UART + 0x524);
const BAUD_115200: u32 = 0x01d7_e000;

const TIMER: usize = 0x4000_8000;
const TIMER_START: Register<u32> = Register::at(TIMER);
const TIMER_CAPTURE: Register<u32> = Register::at(TIMER + 0x040);
const TIMER_WIDTH: Register<u32> = Register::at(TIMER + 0x508);
const TIMER_PRESCALER: Register<u32> = Register::at(TIMER + 0x510);
const TIMER_CAPTURED: Register<u32> = Register::at(TIMER + 0x540);
/// 16 MHz / 2^9 = 31,250 Hz.
const PRESCALER: u32 = 9;
const TICKS_PER_4_MS: u64 = 125;

pub(super) fn start() -> Board {
    TX_PIN.write(24);
    RX_PIN.write(25);
    BAUD_RATE.write(BAUD_115200);
    ENABLE.write(4);
    START_TX.write(1);
    START_RX.write(1);
    TIMER_WIDTH.write(3); // 32 bits
    TIMER_PRESCALER.write(PRESCALER);
    TIMER_START.write(1);
    Board { serial: Serial(()), storage: Storage(()), sensor: Sensor(()), seed: seed() }
}

/// Milliseconds since the start; to be asked at least once a day, since the timer wraps after 38 hours.
pub fn now_ms() -> u64 {
    static LAST: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));
    critical_section::with(|cs| {
        let last = LAST.borrow(cs);
        TIMER_CAPTURE.write(1);
        let now = TIMER_CAPTURED.read();
        let seen = last.get().to_le_bytes();
        let passed = now.wrapping_sub(u32::from_le_bytes([seen[0], seen[1], seen[2], seen[3]]));
        last.set(last.get() + u64::from(passed));
        last.get() * 4 / TICKS_PER_4_MS
    })
}

/// Returns at once: nothing on this board interrupts.
pub fn idle() {}

/// The UART, polled; its six bytes of FIFO are all that waits.
pub struct Serial(());

impl ErrorType for Serial {
    type Error = Infallible;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(RX_READY.read() != 0)
    }
}

impl Read for Serial {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let mut len = 0;
        while len < buf.len() && (len == 0 || self.read_ready()?) {
            while !self.read_ready()? {}
            RX_READY.write(0);
            buf[len] = RX_DATA.read().to_le_bytes()[0];
            len += 1;
        }
        Ok(len)
    }
}

impl Write for Serial {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        for byte in buf {
            TX_READY.write(0);
            TX_DATA.write(u32::from(*byte));
            while TX_READY.read() == 0 {}
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
