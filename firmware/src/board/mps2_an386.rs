//! ARM's MPS2 board with the AN386 image: Cortex-M4F, 25 MHz, CMSDK UART 0, SysTick as clock.

use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
};
use cortex_m::{
    interrupt::InterruptNumber,
    peripheral::{NVIC, Peripherals, syst::SystClkSource},
};
use cortex_m_rt::exception;
use critical_section::Mutex;
use embedded_io::{ErrorType, Read, ReadReady, Write};
use heapless::Deque;

pub use super::arm::entry;
use super::{
    Board,
    emulated::{Sensor, Storage, seed},
    register::Register,
};

const DATA: Register<u32> = Register::at(0x4000_4000);
const STATE: Register<u32> = Register::at(0x4000_4004);
const CTRL: Register<u32> = Register::at(0x4000_4008);
const INT_CLEAR: Register<u32> = Register::at(0x4000_400c);
const BAUDDIV: Register<u32> = Register::at(0x4000_4010);

/// `STATE`: a byte waits to be sent, to be read.
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;
/// `CTRL`: transmitter, receiver and the receiver's interrupt on.
const ENABLE: u32 = 0b1011;
/// `INT_CLEAR`: the receiver's interrupt.
const RX_INT: u32 = 2;

const CLOCK_HZ: u32 = 25_000_000;

/// The receiver's interrupt.
#[derive(Clone, Copy)]
struct Received;

#[allow(unsafe_code)]
// SAFETY: interrupt 0 of this board is UART 0's receiver.
unsafe impl InterruptNumber for Received {
    fn number(self) -> u16 {
        0
    }
}

/// Bytes that arrived and were not read.
static RING: Mutex<RefCell<Deque<u8, 512>>> = Mutex::new(RefCell::new(Deque::new()));
static MILLIS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

pub(super) fn start() -> Board {
    BAUDDIV.write(16); // the emulator knows no rate, but refuses less
    CTRL.write(ENABLE);
    DATA.read(); // without this, one boot in five never receives a byte
    INT_CLEAR.write(RX_INT);
    listen();
    if let Some(mut core) = Peripherals::take() {
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(CLOCK_HZ / 1000 - 1);
        core.SYST.clear_current();
        core.SYST.enable_counter();
        core.SYST.enable_interrupt();
    }
    Board { serial: Serial(()), storage: Storage(()), sensor: Sensor(()), seed: seed() }
}

#[exception]
fn SysTick() {
    critical_section::with(|cs| {
        let millis = MILLIS.borrow(cs);
        millis.set(millis.get() + 1);
    });
}

#[allow(unsafe_code)]
// SAFETY: the handler shares state with the program by critical sections alone.
#[exception]
unsafe fn DefaultHandler(_interrupt: i16) {
    // No other interrupt is on.
    critical_section::with(|cs| {
        let mut ring = RING.borrow_ref_mut(cs);
        if ring.is_full() {
            NVIC::mask(Received); // the byte stays where it is and holds the sender back, until someone reads
            return;
        }
        INT_CLEAR.write(RX_INT);
        if STATE.read() & RX_FULL != 0 {
            let _ = ring.push_back(DATA.read().to_le_bytes()[0]); // there is room
        }
    });
}

#[allow(unsafe_code)]
fn listen() {
    // SAFETY: the program does not rely on the interrupt being off.
    unsafe { NVIC::unmask(Received) }
}

/// Milliseconds since the start.
pub fn now_ms() -> u64 {
    critical_section::with(|cs| MILLIS.borrow(cs).get())
}

/// Sleeps until something may have happened, a millisecond at most.
pub fn idle() {
    cortex_m::asm::wfi();
}

/// UART 0. Received bytes wait in a ring that an interrupt fills; sending polls.
pub struct Serial(());

impl ErrorType for Serial {
    type Error = Infallible;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(critical_section::with(|cs| !RING.borrow_ref(cs).is_empty()))
    }
}

impl Read for Serial {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        while !buf.is_empty() && !self.read_ready()? {
            idle();
        }
        let len = critical_section::with(|cs| {
            let mut ring = RING.borrow_ref_mut(cs);
            let bytes = core::iter::from_fn(|| ring.pop_front());
            buf.iter_mut().zip(bytes).map(|(to, byte)| *to = byte).count()
        });
        listen();
        Ok(len)
    }
}

impl Write for Serial {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        for byte in buf {
            while STATE.read() & TX_FULL != 0 {}
            DATA.write(u32::from(*byte));
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while STATE.read() & TX_FULL != 0 {}
        Ok(())
    }
}
