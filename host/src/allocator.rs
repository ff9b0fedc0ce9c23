//! An allocator that wipes small memory when it is freed.
//!
//! Libraries copy what passes through them. rustls hands each record's plaintext on in a vector of
//! its own, and vectors that grow leave their old memory behind. A message that carries a seed
//! would so outlive its session in freed memory. Buffers of this crate wipe themselves, of any
//! size; this is for the others' copies of messages.

#![allow(unsafe_code)] // an allocator is unsafe by its contract

use std::alloc::{GlobalAlloc, Layout, System};

/// Memory up to this many bytes is wiped: messages, but not full records of masked words.
const MOST: usize = 8 << 10;

/// The system's allocator, which wipes memory of up to 8 KiB before it frees it.
pub struct Wiping;

// SAFETY: all memory is the system allocator's, with the caller's layouts.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.size() <= MOST {
            // SAFETY: the caller's memory has this size, and nobody reads it any more.
            unsafe { memory.write_bytes(0, layout.size()) };
            // Or the compiler would leave out what is written before a free.
            std::hint::black_box(memory);
        }
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() > MOST {
            // SAFETY: as the caller promised.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: the caller promised that the size fits the alignment.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the layout is valid and not empty, as the caller promised.
        let moved = unsafe { System.alloc(larger) };
        if !moved.is_null() {
            // SAFETY: both have that many bytes and lie apart; the caller gives the old one up.
            unsafe {
                moved.copy_from_nonoverlapping(memory, layout.size().min(size));
                self.dealloc(memory, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn memory_moves_with_its_contents() {
        let layout = Layout::array::<u8>(24).unwrap();
        // SAFETY: each piece has the layout that it was last given, and is used within its size.
        unsafe {
            let memory = Wiping.alloc(layout);
            (0..24).for_each(|i| memory.add(i).write(u8::try_from(i).unwrap()));
            let larger = Wiping.realloc(memory, layout, 3 * MOST);
            assert!((0..24).all(|i| larger.add(i).read() == u8::try_from(i).unwrap()));
            let large = Layout::array::<u8>(3 * MOST).unwrap();
            let smaller = Wiping.realloc(larger, large, 8);
            assert!((0..8).all(|i| smaller.add(i).read() == u8::try_from(i).unwrap()));
            Wiping.dealloc(smaller, Layout::array::<u8>(8).unwrap());
        }
    }
}
