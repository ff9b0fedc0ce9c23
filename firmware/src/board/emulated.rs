//! What an emulated board lacks, from files in the emulator's working folder, by semihosting:
//!
//! | file | what |
//! | --- | --- |
//! | `seed` | 32 secret bytes, in place of a hardware generator; the host makes fresh ones for each boot |
//! | `blob` | the key blob, in place of a flash page |
//! | `boot` | the boot counter, 4 bytes, in place of a flash page; absent before the first boot |
//! | `readings` | what the sensor will measure, 4 bytes a reading, in place of a sensor; the host may append |
//! | `measured` | how many readings were measured, 4 bytes: time goes on when the board is reset |
//!
//! All little-endian. Programs end here too, with a status for the emulator.

use core::{ffi::CStr, panic::PanicInfo};
use defmt_semihosting as _;
use semihosting::{
    fs,
    io::{Read, Seek, SeekFrom},
    process,
};
use zeroize::Zeroizing;

use super::{Error, Outcome};

/// Ends the program and the emulator with it.
pub fn end(outcome: Outcome) -> ! {
    process::exit(i32::from(outcome as u8))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    super::log_panic(info);
    end(Outcome::Panic)
}

/// Reads a host file; how many bytes it had. `None` if there is none, or more than fits.
fn read(name: &CStr, into: &mut [u8]) -> Option<usize> {
    let mut file = fs::File::open(name).ok()?;
    let len = fill(&mut file, into)?;
    let more = file.read(&mut [0]).ok()?;
    (more == 0).then_some(len)
}

/// Reads until the end of the file or of `into`; how many bytes came.
fn fill(file: &mut fs::File, into: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    while len < into.len() {
        match file.read(&mut into[len..]).ok()? {
            0 => break,
            n => len += n,
        }
    }
    Some(len)
}

/// Replaces a host file in one step: one that is cut off in the middle never counts.
fn replace(name: &CStr, new: &CStr, bytes: &[u8]) -> Option<()> {
    fs::write(new, bytes).ok()?;
    fs::rename(new, name).ok()
}

/// Replaces the seed that the host gave for this boot.
pub(super) fn seed() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut seed = Zeroizing::new([0; 32]);
    match read(c"seed", &mut *seed) {
        Some(32) => Ok(seed),
        _ => Err(Error::NoEntropy),
    }
}

/// Key blob and boot counter.
pub struct Storage(pub(super) ());

impl Storage {
    /// Reads the first bytes of the key blob: a program knows how many it has.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`] if there is none, or a shorter one.
    pub fn blob<const N: usize>(&mut self, blob: &mut [u8; N]) -> Result<(), Error> {
        let mut file = fs::File::open(c"blob").map_err(|_| Error::NoBlob)?;
        if fill(&mut file, blob) == Some(N) { Ok(()) } else { Err(Error::NoBlob) }
    }

    /// Counts this boot: 1 for the first. The number is durable before it is returned, and never returned again.
    ///
    /// # Errors
    ///
    /// [`Error::BootCounter`].
    pub fn next_boot(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        let last = match read(c"boot", &mut bytes) {
            Some(4) => u32::from_le_bytes(bytes),
            None if fs::File::open(c"boot").is_err() => 0,
            _ => return Err(Error::BootCounter),
        };
        let boot = last.checked_add(1).ok_or(Error::BootCounter)?;
        replace(c"boot", c"boot.new", &boot.to_le_bytes()).ok_or(Error::BootCounter)?;
        Ok(boot)
    }
}

/// Replays recorded readings.
pub struct Sensor(pub(super) ());

impl Sensor {
    /// Measures one record, or says that it is not time yet.
    ///
    /// # Errors
    ///
    /// [`Error::Sensor`] if there is no file of readings.
    pub fn sample(&mut self, record: &mut [i32]) -> Result<bool, Error> {
        let mut bytes = [0; 4];
        let at = if read(c"measured", &mut bytes) == Some(4) { u32::from_le_bytes(bytes) } else { 0 };
        let mut file = fs::File::open(c"readings").map_err(|_| Error::Sensor)?;
        file.seek(SeekFrom::Start(4 * u64::from(at))).map_err(|_| Error::Sensor)?;
        for reading in record.iter_mut() {
            if file.read(&mut bytes).ok() != Some(4) {
                return Ok(false); // the host has written no more, or not all of it
            }
            *reading = i32::from_le_bytes(bytes);
        }
        let readings = u32::try_from(record.len()).map_err(|_| Error::Sensor)?;
        let at = at.checked_add(readings).ok_or(Error::Sensor)?;
        replace(c"measured", c"measured.new", &at.to_le_bytes()).ok_or(Error::Sensor)?;
        Ok(true)
    }
}
