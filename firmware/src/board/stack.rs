//! How deep the stack went: it is painted at the start, and what is no longer painted was used.

#![allow(unsafe_code)]

use core::ptr::addr_of_mut;

const PAINT: u32 = 0xa5c3_5a3c;
/// Bytes below the top that are painted at most; a board with more memory than that needs no more.
const PAINTED_BYTES: usize = 128 * 1024;
/// Bytes below the painter that it leaves alone: its own frame.
const MARGIN_BYTES: usize = 256;

#[allow(non_upper_case_globals)]
unsafe extern "C" {
    /// First byte after static data.
    static mut __sheap: u32;
    /// The top of the stack.
    static mut _stack_start: u32;
}

/// Lowest painted word, and the top.
fn bounds() -> (*mut u32, *mut u32) {
    let (end, top) = (addr_of_mut!(__sheap), addr_of_mut!(_stack_start));
    let lowest = top.wrapping_byte_sub(PAINTED_BYTES);
    (if lowest > end { lowest } else { end }, top)
}

/// Paints the free stack. Called once, by [`super::Board::take`].
#[inline(never)]
pub(super) fn paint() {
    let mut here = 0u32;
    let (mut at, end) = (bounds().0, addr_of_mut!(here).wrapping_byte_sub(MARGIN_BYTES));
    while at < end {
        // SAFETY: between static data and this frame lies nothing but free stack; interrupts push theirs above `end` or, if
        // they go deeper, restore nothing from what is painted here once they have returned.
        unsafe { at.write_volatile(PAINT) };
        at = at.wrapping_add(1);
    }
}

/// Bytes of stack that were used since the start, as deep as it ever went.
pub fn peak_bytes() -> usize {
    let (mut at, top) = bounds();
    // SAFETY: aligned words of stack memory, read as plain numbers.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    top.addr() - at.addr()
}
