//! Packed codes of a record, and their shares.
//!
//! `code = s_0 + s_1 mod 2^b` in the ring of each code's own width `b`. Server 0's share is a stretch of a stream that both the device and server 0 expand
//! ([`super::session`]); server 1's is what is left. A one-bit difference is an XOR.
//!
//! - **Adversary:** semi-honest, one server; each share alone is uniform.
//! - **Result:** exact. *Any* two shares join to a code of the width, so that a device cannot send a value out of its declared range: nothing needs to be proved.
//! - **Cost:** a stream byte a record byte; nothing is sent to server 0.
//! - **Timing:** free of codes and shares.

use super::schema::Layout;
use crate::prg::{MaskId, Prg};
use zeroize::Zeroize;

/// Stream bytes held at a time: two blocks of ChaCha20. Codes of 8, 16 and 32 bits never straddle two.
const CHUNK: usize = 128;

/// Writes a code of `bits` bits at bit `at_bit` of a record; codes of 8 bits and more stand at whole bytes.
///
/// # Panics
///
/// If the place is not in the record. Bits of `code` above the width are ignored.
pub fn put(record: &mut [u8], at_bit: usize, bits: u32, code: u32) {
    let byte = at_bit / 8;
    match bits {
        32 => record[byte..byte + 4].copy_from_slice(&code.to_le_bytes()),
        16 => record[byte..byte + 2].copy_from_slice(&code.to_le_bytes()[..2]),
        _ => {
            let (mask, shift) = (low_mask(bits), at_bit % 8);
            record[byte] = (record[byte] & !(mask << shift)) | ((code.to_le_bytes()[0] & mask) << shift);
        }
    }
}

/// Reads a code, as [`put`] wrote it.
///
/// # Panics
///
/// If the place is not in the record.
pub fn get(record: &[u8], at_bit: usize, bits: u32) -> u32 {
    let byte = at_bit / 8;
    match bits {
        32 => u32::from_le_bytes([record[byte], record[byte + 1], record[byte + 2], record[byte + 3]]),
        16 => u32::from(u16::from_le_bytes([record[byte], record[byte + 1]])),
        _ => u32::from((record[byte] >> (at_bit % 8)) & low_mask(bits)),
    }
}

/// The lowest `bits` of a byte, all for 8 and more.
fn low_mask(bits: u32) -> u8 {
    u8::MAX.checked_shr(8u32.saturating_sub(bits)).unwrap_or(0)
}

/// Turns a record into server 1's share, in place; server 0 [`expand`]s the same stretch. A stretch serves one record.
///
/// # Panics
///
/// If the record is not of the layout's length.
#[inline(never)] // a symbol for the constant-time check, and for counting instructions
pub fn split(layout: &Layout, stream: &dyn Prg, id: MaskId, record: &mut [u8]) {
    chunks(layout, stream, id, record, subtract);
}

/// Writes server 0's share.
///
/// # Panics
///
/// If `share` is not of the layout's length.
pub fn expand(layout: &Layout, stream: &dyn Prg, id: MaskId, share: &mut [u8]) {
    share.fill(0);
    // What is added to 0 is the stream without the bits that no code uses.
    chunks(layout, stream, id, share, add);
}

/// Joins shares: `ours += theirs`. Whoever holds both sees the record.
///
/// # Panics
///
/// If lengths differ or are not the layout's.
pub fn join(layout: &Layout, ours: &mut [u8], theirs: &[u8]) {
    assert!(ours.len() == layout.record_bytes() && theirs.len() == ours.len(), "a record of another layout");
    for (region, lane) in layout.regions().into_iter().zip(lanes(layout)) {
        add(&mut ours[region.clone()], &theirs[region], lane);
    }
}

/// What the bytes of a region are.
#[derive(Clone, Copy)]
enum Lane<'a> {
    Words,
    Halves,
    Bytes,
    /// The masks of the labels from here on.
    Labels(&'a [u8]),
    /// Readings, in all; bits past the last stay 0.
    Bits(usize),
}

fn lanes(layout: &Layout) -> [Lane<'_>; 5] {
    [Lane::Words, Lane::Halves, Lane::Bytes, Lane::Labels(&layout.labels), Lane::Bits(usize::from(layout.bits))]
}

/// Calls `each` on pieces of the regions and the stream's bytes at their places.
fn chunks(layout: &Layout, stream: &dyn Prg, id: MaskId, record: &mut [u8], each: impl Fn(&mut [u8], &[u8], Lane<'_>)) {
    assert!(record.len() == layout.record_bytes(), "a record of another layout");
    let regions = layout.regions();
    let mut words = [0u32; CHUNK / 4]; // wiped faster than bytes
    let own: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    for start in (0..record.len()).step_by(CHUNK) {
        let end = record.len().min(start + CHUNK);
        stream.fill_bytes(id, start as u64, &mut own[..end - start]);
        for (region, lane) in regions.iter().zip(lanes(layout)) {
            let (from, to) = (region.start.max(start), region.end.min(end));
            if from < to {
                let lane = match lane {
                    Lane::Labels(bits) => Lane::Labels(&bits[from - region.start..]),
                    Lane::Bits(n) => Lane::Bits(n - 8 * (from - region.start)),
                    other => other,
                };
                each(&mut record[from..to], &own[from - start..to - start], lane);
            }
        }
    }
    words.zeroize();
}

fn subtract(a: &mut [u8], b: &[u8], lane: Lane<'_>) {
    // Each lane borrows from its own highest bit, which is set for that and then made what it should be.
    combine(a, b, lane, |a, b, top| (a | top).wrapping_sub(b & !top) ^ ((a ^ !b) & top));
}

fn add(a: &mut [u8], b: &[u8], lane: Lane<'_>) {
    combine(a, b, lane, |a, b, top| (a & !top).wrapping_add(b & !top) ^ ((a ^ b) & top));
}

/// Applies an operation on all lanes of a word; its last operand has the highest bit of each lane.
#[inline(always)] // so that the operation is
fn combine(a: &mut [u8], b: &[u8], lane: Lane<'_>, operation: impl Fn(u32, u32, u32) -> u32) {
    let top = match lane {
        Lane::Words => 0x8000_0000,
        Lane::Halves => 0x8000_8000,
        Lane::Bytes | Lane::Labels(_) => 0x8080_8080,
        Lane::Bits(_) => u32::MAX,
    };
    let (a_words, a_rest) = a.as_chunks_mut::<4>();
    let (b_words, b_rest) = b.as_chunks::<4>();
    for (a, b) in a_words.iter_mut().zip(b_words) {
        *a = operation(u32::from_le_bytes(*a), u32::from_le_bytes(*b), top).to_le_bytes();
    }
    if !a_rest.is_empty() {
        let mut last = [[0; 4]; 2];
        last[0][..a_rest.len()].copy_from_slice(a_rest);
        last[1][..b_rest.len()].copy_from_slice(b_rest);
        let [x, y] = last.map(u32::from_le_bytes);
        a_rest.copy_from_slice(&operation(x, y, top).to_le_bytes()[..a_rest.len()]);
        last.zeroize();
    }
    match lane {
        Lane::Labels(bits) => a.iter_mut().zip(bits).for_each(|(a, bits)| *a &= low_mask(u32::from(*bits))),
        Lane::Bits(n) => {
            // The last byte of the region, if it is in this piece, may have bits that no reading uses.
            if let Some(last) = a.get_mut(n / 8) {
                *last &= !(u8::MAX << (n % 8));
            }
        }
        _ => {}
    }
}
