//! Kernels of secure mappings: public tables at a secret index `i = C - h` in `Z_2^width`, where `C` is public and the one-hot vector of `h` is shared.

use super::planes::select;
use crate::word::Word;

/// Largest width of an index in bits.
pub const MAX_WIDTH: u32 = 8;

/// A set of indices, as many bits as a table has entries.
pub type Column = [u64; 4];

/// Lanes of all planes that are turned while they stay in the first-level cache.
const CHUNK: usize = 16;

/// Turns a shared one-hot vector of `2^width` planes by the public number with bit planes `c`: plane `t` becomes plane
/// `t + c mod 2^width`. Plane 0 is computed here: the sum of all planes is 1.
#[inline(always)]
pub fn rotate_planes<W: Word>(hot: &mut [W], c: &[W], width: u32, first: W) {
    let lanes = hot.len() >> width;
    if lanes == 0 {
        return;
    }
    let (zero, others) = hot.split_at_mut(lanes);
    zero.fill(first);
    for plane in others.chunks_exact(lanes) {
        for (z, p) in zero.iter_mut().zip(plane) {
            *z = z.xor(*p);
        }
    }
    for at in (0..lanes).step_by(CHUNK) {
        let range = at..lanes.min(at + CHUNK);
        for (b, c) in (0..width).zip(c.chunks_exact(lanes)) {
            for start in 0..1 << b {
                rotate_orbit(hot, lanes, range.clone(), (start, 1 << b), &c[range.clone()]);
            }
        }
    }
}

/// In the lanes `range`, each of the planes `start`, `start + step`, … becomes the next one where `c` is set; the last one becomes the first.
#[inline(always)]
fn rotate_orbit<W: Word>(
    hot: &mut [W],
    lanes: usize,
    range: core::ops::Range<usize>,
    (start, step): (usize, usize),
    c: &[W],
) {
    let mut saved = [W::default(); CHUNK];
    saved[..c.len()].copy_from_slice(&hot[start * lanes..][range.clone()]);
    let (mut head, mut rest) = hot[start * lanes..].split_at_mut(lanes);
    loop {
        let plane = &mut head[range.clone()];
        if rest.len() < step * lanes {
            turn(plane, &saved, c);
            return;
        }
        let (next, tail) = rest[(step - 1) * lanes..].split_at_mut(lanes);
        turn(plane, &next[range.clone()], c);
        (head, rest) = (next, tail);
    }
}

#[inline(always)]
fn turn<W: Word>(plane: &mut [W], next: &[W], c: &[W]) {
    for (p, (n, c)) in plane.iter_mut().zip(next.iter().zip(c)) {
        *p = select(*c, *n, *p);
    }
}

/// Plane `i` of `out` becomes the sum of the planes of `hot` that `columns[i]` names.
#[inline(always)]
pub fn sum_planes<W: Word>(out: &mut [W], hot: &[W], columns: &[Column]) {
    let lanes = out.len().checked_div(columns.len()).unwrap_or(0);
    if lanes == 0 {
        return;
    }
    for (out, column) in out.chunks_exact_mut(lanes).zip(columns) {
        out.fill(W::default());
        for (block, word) in column.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                let t = 64 * block + left.trailing_zeros() as usize;
                for (o, h) in out.iter_mut().zip(&hot[t * lanes..][..lanes]) {
                    *o = o.xor(*h);
                }
                left &= left - 1;
            }
        }
    }
}

/// The one-hot vectors of bits `low..low + width` of each word, entry after entry: 0 or 1.
#[inline(always)]
pub fn one_hot_words<W: Word>(hot: &mut [W], r: &[W], low: u32, width: u32) {
    let digit = W::low_mask(width);
    for (j, hot) in (0u64..).zip(hot.chunks_exact_mut(r.len().max(1))) {
        for (h, r) in hot.iter_mut().zip(r) {
            // 1 - msb(x | -x) is 1 for x = 0 only.
            let x = r.shr(low).xor(W::from_u64(j)).and(digit);
            *h = x.or(W::default().sub(x)).shr(W::BITS - 1).xor(W::from_u64(1));
        }
    }
}

/// `z += Σ_j [h = j] table[C - j]`: inner products of an additively shared one-hot vector, entry after entry, with a table of `2^width` entries.
/// `C` is bits `low..` of the public `c`.
#[inline(always)]
pub fn sum_words<W: Word>(z: &mut [W], hot: &[W], c: &[W], low: u32, table: &[i64]) {
    let n = z.len();
    if n == 0 {
        return;
    }
    let (mut entries, mut at) = ([W::default(); 256], [0u8; 256]);
    repeat(&mut entries, table);
    for (chunk, (z, c)) in z.chunks_mut(at.len()).zip(c.chunks(256)).enumerate() {
        for (at, c) in at.iter_mut().zip(c) {
            *at = low_byte(c.shr(low));
        }
        for (j, hot) in (0u8..=255).zip(hot.chunks_exact(n)) {
            for ((z, hot), at) in z.iter_mut().zip(&hot[chunk * 256..]).zip(&at) {
                *z = z.add(hot.mul(entries[usize::from(at.wrapping_sub(j))]));
            }
        }
    }
}

/// Entries `0..cols` of each one-hot vector `[h = j]` (entry after entry) turned by the public `c`: `out_it = [c_i - h_i = t]`, row after row.
#[inline(always)]
pub fn unit_rows<W: Word>(out: &mut [W], hot: &[W], c: &[W], cols: usize) {
    let n = c.len();
    let last = hot.len().checked_div(n).unwrap_or(0).wrapping_sub(1);
    for (i, (row, c)) in out.chunks_exact_mut(cols.max(1)).zip(c).enumerate() {
        for (t, out) in (0u8..=255).zip(row) {
            *out = hot[(usize::from(low_byte(*c).wrapping_sub(t)) & last) * n + i];
        }
    }
}

/// `c = (c >> shift) - (r >> shift) mod 2^(bits - shift)`: the whole index that the opened word `c`
/// and the mask `r`, `bits` bits of each, make; for the clear engine.
#[inline(always)]
pub fn index_clear<W: Word>(c: &mut [W], r: &[W], shift: u32, bits: u32) {
    let low = W::low_mask(bits);
    for (c, r) in c.iter_mut().zip(r) {
        *c = c.shr(shift).sub(r.and(low).shr(shift)).and(low.shr(shift));
    }
}

/// `z = beyond` where `index` is not below `2^width`: whole values, for the clear engine.
#[inline(always)]
pub fn saturate_clear<W: Word>(z: &mut [W], index: &[W], width: u32, beyond: W) {
    for (z, index) in z.iter_mut().zip(index) {
        // 1 - msb(x | -x) is 1 for x = 0 only.
        let above = index.shr(width);
        *z = select(above.or(W::default().sub(above)).sar(W::BITS - 1), beyond, *z);
    }
}

/// `z = table[index mod 2^width]`, for a table of `2^width` entries: whole values, for the clear engine.
#[inline(always)]
pub fn lookup<W: Word>(z: &mut [W], index: &[W], table: &[i64]) {
    let mut entries = [W::default(); 256];
    repeat(&mut entries, table);
    for (z, index) in z.iter_mut().zip(index) {
        *z = entries[usize::from(low_byte(*index))];
    }
}

/// A table of `2^width` entries, over and over: so the low byte of an index, however computed, finds its entry.
#[inline(always)]
fn repeat<W: Word>(entries: &mut [W; 256], table: &[i64]) {
    for (entry, value) in entries.iter_mut().zip(table.iter().cycle()) {
        *entry = W::from_i64(*value);
    }
}

/// The low byte of a word; 0 of a dry one.
#[inline(always)]
fn low_byte<W: Word>(w: W) -> u8 {
    W::bytes(&[w]).first().copied().unwrap_or(0)
}
