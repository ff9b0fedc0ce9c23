//! Nordic's nRF52840 through embassy: UARTE 0 on P0.06 (out) and P0.08 (in), as the development kit has it; a Sensirion SHT3x on I2C,
//! P0.26 (data) and P0.27 (clock); the hardware generator; the last three flash pages.
//!
//! embassy's drivers are asynchronous; programs here are not, so that one file serves every board. What they wait for, they poll.

use core::{convert::Infallible, panic::PanicInfo};
use crc::{CRC_8_NRSC_5, Crc, NoTable};
use defmt_rtt as _;
use embassy_futures::{block_on, poll_once};
use embassy_nrf::{
    bind_interrupts,
    buffered_uarte::{self, BufferedUarte},
    nvmc::Nvmc,
    peripherals,
    rng::Rng,
    twim::{self, Twim},
    uarte,
};
use embassy_time::{Instant, Timer};
use embedded_io::{ErrorType, Read, ReadReady, Write};
use embedded_storage::nor_flash::ReadNorFlash;
use static_cell::ConstStaticCell;
use zeroize::Zeroizing;

pub use super::arm::entry;
use super::{Board, Error, Outcome};
use crate::boot_counter;

/// Flash that `memory/nrf52840.x` keeps from the program: the key blob, as its file is, and the boot counter.
const BLOB_PAGE: u32 = 0xf_d000;
const COUNTER_PAGES: [u32; 2] = [0xf_e000, 0xf_f000];

/// The sensor's address, its command for one measurement without clock stretching, and how long that takes.
const SENSOR: u8 = 0x44;
const MEASURE: [u8; 2] = [0x24, 0x00];
const MEASURE_MS: u64 = 16;

/// The sensor's checksum: polynomial 0x31, begun with 0xff.
const CHECKSUM: Crc<u8, NoTable> = Crc::<u8, NoTable>::new(&CRC_8_NRSC_5);

bind_interrupts!(struct Interrupts {
    UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
    TWISPI0 => twim::InterruptHandler<peripherals::TWISPI0>;
});

static RX: ConstStaticCell<[u8; 512]> = ConstStaticCell::new([0; 512]);
static TX: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);

pub(super) fn start() -> Board {
    let p = embassy_nrf::init(embassy_nrf::config::Config::default());
    let mut config = uarte::Config::default();
    config.baudrate = uarte::Baudrate::Baud115200;
    let (rx, tx) = (RX.take(), TX.take());
    let (timer, group) = (p.TIMER1, p.PPI_GROUP0);
    let uart =
        BufferedUarte::new(p.UARTE0, timer, p.PPI_CH0, p.PPI_CH1, group, p.P0_08, p.P0_06, Interrupts, config, rx, tx);
    let i2c = Twim::new(p.TWISPI0, Interrupts, p.P0_26, p.P0_27, twim::Config::default(), &mut []);
    let mut seed = Zeroizing::new([0; 32]);
    let mut rng = Rng::new_blocking(p.RNG);
    rng.set_bias_correction(true);
    rng.blocking_fill_bytes(&mut *seed);
    Board { serial: Serial(uart), storage: Storage(Nvmc::new(p.NVMC)), sensor: Sensor(i2c), seed: Ok(seed) }
}

/// Ends the program: waits for the next reset.
pub fn end(outcome: Outcome) -> ! {
    defmt::info!("{}", outcome);
    loop {
        cortex_m::asm::wfi();
    }
}

/// Starts again: a sensor in the field must go on.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    super::log_panic(info);
    cortex_m::peripheral::SCB::sys_reset()
}

/// Milliseconds since the start.
pub fn now_ms() -> u64 {
    Instant::now().as_millis()
}

/// Sleeps until something may have happened, ten milliseconds at most.
pub fn idle() {
    let mut alarm = Timer::after_millis(10);
    let _ = poll_once(&mut alarm); // sets it
    cortex_m::asm::wfe();
}

/// UARTE 0 with buffers that its interrupt fills and empties.
pub struct Serial(BufferedUarte<'static>);

impl ErrorType for Serial {
    type Error = Infallible;
}

// An overrun shows as bytes missing, which frames detect: the error says no more than that.

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.read_ready().unwrap_or(true)) // Infallible in fact
    }
}

impl Read for Serial {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            if (buf.is_empty() || self.read_ready()?)
                && let Ok(len) = block_on(self.0.read(buf))
            {
                return Ok(len);
            }
            idle();
        }
    }
}

impl Write for Serial {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        loop {
            match self.0.try_write(buf) {
                Ok(0) | Err(_) if !buf.is_empty() => idle(), // its interrupt makes room
                sent => return Ok(sent.unwrap_or(0)),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        let _ = block_on(self.0.flush());
        Ok(())
    }
}

/// Key blob and boot counter, in flash pages of their own.
pub struct Storage(Nvmc<'static>);

impl Storage {
    /// Reads the first bytes of the key blob: a program knows how many it has. The page begins with the blob, as its file is.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`] if the page was never written.
    pub fn blob<const N: usize>(&mut self, blob: &mut [u8; N]) -> Result<(), Error> {
        self.0.read(BLOB_PAGE, blob).map_err(|_| Error::NoBlob)?;
        if blob.iter().all(|byte| *byte == 0xff) { Err(Error::NoBlob) } else { Ok(()) }
    }

    /// Counts this boot: 1 for the first. The number is durable before it is returned, and never returned again.
    ///
    /// # Errors
    ///
    /// [`Error::BootCounter`].
    pub fn next_boot(&mut self) -> Result<u32, Error> {
        boot_counter::next_boot(&mut self.0, COUNTER_PAGES).map_err(|_| Error::BootCounter)
    }
}

/// The SHT3x: temperature and humidity, as the chip counts them.
pub struct Sensor(Twim<'static>);

impl Sensor {
    /// Measures one record, at most two readings of 16 bits: `-45 + 175 t / 65535` degrees Celsius, `100 h / 65535` percent.
    ///
    /// # Errors
    ///
    /// [`Error::Sensor`] if the chip does not answer, or its checksums do not fit.
    pub fn sample(&mut self, record: &mut [i32]) -> Result<bool, Error> {
        self.0.blocking_write(SENSOR, &{ MEASURE }).map_err(|_| Error::Sensor)?;
        let ready = now_ms() + MEASURE_MS;
        while now_ms() < ready {
            idle();
        }
        let mut answer = [0; 6];
        self.0.blocking_read(SENSOR, &mut answer).map_err(|_| Error::Sensor)?;
        for (reading, word) in record.iter_mut().zip(answer.chunks_exact(3)) {
            if CHECKSUM.checksum(&word[..2]) != word[2] {
                return Err(Error::Sensor);
            }
            *reading = i32::from(u16::from_be_bytes([word[0], word[1]]));
        }
        Ok(true)
    }
}
