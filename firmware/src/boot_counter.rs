//! A counter in NOR flash that survives a loss of power at any moment, and never gives a number twice.
//!
//! Two pages. A boot writes its number and the number's complement into the next free slot; when a page is full, the other is erased and
//! goes on. The highest number that has its complement counts. A write that was cut off has not, nor can an erasure that was cut off make
//! one: it only sets bits. So a number is lost at most, never repeated.
//!
//! - **Wear:** one erasure every `page / 8` boots: 5 million boots for pages of 4 KiB that stand 10,000 erasures.

use embedded_storage::nor_flash::NorFlash;

/// A number and its complement.
const SLOT_BYTES: u32 = 8;
const ERASED: [u8; 8] = [0xff; 8];

/// Why a boot could not be counted. The device must not use keys that the number protects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<E> {
    /// The flash failed.
    Flash(E),
    /// What was written does not read back: the flash is worn out.
    Worn,
    /// 2^32 boots.
    Spent,
}

/// What a page says.
struct Page {
    /// The highest number on it, 0 if none.
    highest: u32,
    /// Bytes up to the end of the last slot that is not erased.
    used: u32,
}

/// Counts a boot in the pages that begin at `pages`: 1 for the first. The number is durable before it is returned.
///
/// # Errors
///
/// See [`Error`].
pub fn next_boot<F: NorFlash>(flash: &mut F, pages: [u32; 2]) -> Result<u32, Error<F::Error>> {
    let [a, b] = [scan(flash, pages[0])?, scan(flash, pages[1])?];
    let (current, other, page) = if a.highest >= b.highest { (pages[0], pages[1], a) } else { (pages[1], pages[0], b) };
    let boot = page.highest.checked_add(1).ok_or(Error::Spent)?;
    let at = if page.used + SLOT_BYTES <= page_bytes::<F>() {
        current + page.used
    } else {
        flash.erase(other, other + page_bytes::<F>()).map_err(Error::Flash)?;
        other
    };
    let slot = slot(boot);
    flash.write(at, &slot).map_err(Error::Flash)?;
    let mut written = ERASED;
    flash.read(at, &mut written).map_err(Error::Flash)?;
    if written == slot { Ok(boot) } else { Err(Error::Worn) }
}

#[allow(clippy::cast_possible_truncation)] // a flash page
const fn page_bytes<F: NorFlash>() -> u32 {
    F::ERASE_SIZE as u32
}

fn slot(boot: u32) -> [u8; 8] {
    let mut slot = ERASED;
    slot[..4].copy_from_slice(&boot.to_le_bytes());
    slot[4..].copy_from_slice(&(!boot).to_le_bytes());
    slot
}

fn scan<F: NorFlash>(flash: &mut F, page: u32) -> Result<Page, Error<F::Error>> {
    let mut found = Page { highest: 0, used: 0 };
    let mut bytes = ERASED;
    for at in (0..page_bytes::<F>()).step_by(SLOT_BYTES as usize) {
        flash.read(page + at, &mut bytes).map_err(Error::Flash)?;
        if bytes != ERASED {
            found.used = at + SLOT_BYTES;
        }
        let boot = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if bytes == slot(boot) {
            found.highest = found.highest.max(boot);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use embedded_storage::nor_flash::{ErrorType, ReadNorFlash};

    const PAGE: usize = 64;

    /// Flash that loses power after so many bytes were written or erased.
    struct Flash {
        bytes: [u8; 2 * PAGE],
        left: usize,
    }

    impl ErrorType for Flash {
        type Error = Infallible;
    }

    impl ReadNorFlash for Flash {
        const READ_SIZE: usize = 1;
        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
            Ok(())
        }
        fn capacity(&self) -> usize {
            self.bytes.len()
        }
    }

    impl NorFlash for Flash {
        const WRITE_SIZE: usize = 4;
        const ERASE_SIZE: usize = PAGE;
        fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
            for byte in &mut self.bytes[from as usize..to as usize] {
                // Cut off, an erasure has set some bits.
                *byte |= if self.left > 0 { 0xff } else { 0x0f };
                self.left = self.left.saturating_sub(1);
            }
            Ok(())
        }
        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
            for (to, byte) in self.bytes[offset as usize..].iter_mut().zip(bytes).take(self.left) {
                assert!(*byte & *to == *byte, "a write to flash that is not erased");
                *to &= byte;
            }
            self.left = self.left.saturating_sub(bytes.len());
            Ok(())
        }
    }

    const PAGES: [u32; 2] = [0, 64];

    #[test]
    fn counts_over_many_pages() {
        let mut flash = Flash { bytes: [0xff; 2 * PAGE], left: usize::MAX };
        for boot in 1..=1000 {
            assert_eq!(next_boot(&mut flash, PAGES), Ok(boot));
        }
    }

    #[test]
    fn power_may_fail_at_any_byte() {
        for cut in 0..PAGE + 8 {
            let mut flash = Flash { bytes: [0xff; 2 * PAGE], left: usize::MAX };
            let mut last = 0;
            for round in 0..100 {
                flash.left = if round % 3 == 2 { cut } else { usize::MAX };
                let counted = next_boot(&mut flash, PAGES);
                assert!(flash.left > 0 || counted.is_err() || round % 3 == 2);
                if let Ok(boot) = counted {
                    assert!(boot > last, "{boot} after {last}, cut after {cut} bytes");
                    last = boot;
                }
            }
            assert!(last > 60);
        }
    }

    #[test]
    fn ends_before_it_repeats() {
        let mut flash = Flash { bytes: [0xff; 2 * PAGE], left: usize::MAX };
        flash.bytes[..8].copy_from_slice(&slot(u32::MAX));
        assert_eq!(next_boot(&mut flash, PAGES), Err(Error::Spent));
    }
}
