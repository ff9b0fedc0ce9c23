//! From words to bit planes, and packed words; see the [module](super) for their layout.

use super::{packed_words, plane_words};
use crate::word::Word;

/// Rows of a square: one for each bit of a word.
const MAX_BITS: usize = 64;

/// Words that a row of a square holds: a cache line on machines that have some; few where the stack is short.
const fn lanes<W: Word>() -> usize {
    match (cfg!(target_pointer_width = "64"), W::BITS) {
        (false, _) => 2,
        (true, 64) => 8,
        (true, _) => 16,
    }
}

/// Calls `$f::<W, LANES>` with the number of lanes as a constant.
macro_rules! with_lanes {
    ($f:ident($($arg:expr),*)) => {
        match lanes::<W>() {
            2 => $f::<W, 2>($($arg),*),
            8 => $f::<W, 8>($($arg),*),
            _ => $f::<W, 16>($($arg),*),
        }
    };
}

/// Words `at..`, as far as there are any; 0 beyond.
#[inline(always)]
fn load<W: Word, const LANES: usize>(words: &[W], at: usize) -> [W; LANES] {
    let rest = words.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| load_part(rest))
}

/// Apart from [`load`], or every row would be copied by a call for an unknown length.
#[cold]
#[inline(never)]
fn load_part<W: Word, const LANES: usize>(words: &[W]) -> [W; LANES] {
    let mut row = [W::default(); LANES];
    row[..words.len()].copy_from_slice(words);
    row
}

/// Writes the first of `row` over `words`, which may be fewer.
#[inline(always)]
fn store<W: Word, const LANES: usize>(words: &mut [W], row: &[W; LANES]) {
    match words.first_chunk_mut() {
        Some(words) => *words = *row,
        None => store_part(words, row),
    }
}

#[cold]
#[inline(never)]
fn store_part<W: Word>(words: &mut [W], row: &[W]) {
    words.copy_from_slice(&row[..words.len()]);
}

/// Bit `low + i` of each word goes to plane `i`, for as many planes as `planes` holds.
#[inline(always)]
pub fn to_planes<W: Word>(planes: &mut [W], words: &[W], low: u32) {
    with_lanes!(to_planes_by(planes, words, low));
}

#[inline(always)]
fn to_planes_by<W: Word, const LANES: usize>(planes: &mut [W], words: &[W], low: u32) {
    let lanes = plane_words::<W>(words.len());
    let wanted = planes.len().checked_div(lanes).unwrap_or(0).min(W::BITS as usize);
    let mut square = [[W::default(); LANES]; MAX_BITS];
    let square = &mut square[..W::BITS as usize];
    for at in passes::<LANES>(lanes) {
        for (row, square) in square.iter_mut().enumerate() {
            *square = load(words, row * lanes + at);
        }
        for w in square.as_flattened_mut() {
            *w = w.shr(low);
        }
        transpose(square, wanted);
        for (plane, square) in planes.chunks_exact_mut(lanes).zip(&*square) {
            store(&mut plane[at..], square);
        }
    }
}

/// Where passes over `lanes` words start. The last one begins early, so that it is full where others are.
#[inline(always)]
fn passes<const LANES: usize>(lanes: usize) -> impl Iterator<Item = usize> {
    (0..lanes).step_by(LANES).map(move |at| at.min(lanes.saturating_sub(LANES)))
}

/// Transposes, in each of the `LANES` columns, the square of `k` words of `k` bits, by halves (Warren, *Hacker's Delight*, 7-3). Only the first
/// `wanted` rows become right.
#[inline(always)]
fn transpose<W: Word, const LANES: usize>(square: &mut [[W; LANES]], wanted: usize) {
    let mut half = W::BITS / 2;
    while half > 0 {
        // Bits i with i & half == 0.
        let mut mask = W::low_mask(half);
        let mut width = 2 * half;
        while width < W::BITS {
            mask = mask.or(mask.shl(width));
            width *= 2;
        }
        let rows = half as usize;
        for block in square.chunks_exact_mut(2 * rows).take(wanted.div_ceil(2 * rows)) {
            // Neighbouring rows are one run of words.
            let (upper, lower) = block.as_flattened_mut().split_at_mut(rows * LANES);
            if wanted <= rows {
                for (a, b) in upper.iter_mut().zip(lower) {
                    *a = a.and(mask).or(b.and(mask).shl(half));
                }
            } else {
                for (a, b) in upper.iter_mut().zip(lower) {
                    let t = a.shr(half).xor(*b).and(mask);
                    *b = b.xor(t);
                    *a = a.xor(t.shl(half));
                }
            }
        }
        half /= 2;
    }
}

/// The low `bits` bits of each word, without gaps: [`packed_words`] words. Where packing saves nothing, the words themselves.
#[inline(always)]
pub fn pack<W: Word>(packed: &mut [W], words: &[W], bits: u32) {
    if packed_words::<W>(words.len(), bits) == words.len() {
        packed[..words.len()].copy_from_slice(words);
    } else {
        with_lanes!(pack_by(packed, words, bits));
    }
}

#[inline(always)]
fn pack_by<W: Word, const LANES: usize>(packed: &mut [W], words: &[W], bits: u32) {
    let lanes = plane_words::<W>(words.len());
    let low = W::low_mask(bits);
    for at in passes::<LANES>(lanes) {
        // Each row of words is moved to the end of what `sum` holds already, which is written when it is full.
        let (mut sum, mut filled) = ([W::default(); LANES], 0);
        let mut packed = packed.chunks_exact_mut(lanes);
        for row in 0..W::BITS as usize {
            let words = load::<W, LANES>(words, row * lanes + at).map(|w| w.and(low));
            sum = core::array::from_fn(|i| sum[i].or(words[i].shl(filled)));
            filled += bits;
            if filled >= W::BITS {
                let Some(packed) = packed.next() else { return };
                store(&mut packed[at..], &sum);
                filled -= W::BITS;
                sum = words.map(|w| w.shr(bits - filled));
            }
        }
    }
}

/// The inverse of [`pack`]; the bits above `bits` become 0, except where packing saved nothing.
#[inline(always)]
pub fn unpack<W: Word>(words: &mut [W], packed: &[W], bits: u32) {
    if packed_words::<W>(words.len(), bits) == words.len() {
        let n = words.len();
        words.copy_from_slice(&packed[..n]);
        return;
    }
    let lanes = plane_words::<W>(words.len());
    let low = W::low_mask(bits);
    for (row, words) in (0u32..).zip(words.chunks_mut(lanes)) {
        let (at, shift) = (row * bits / W::BITS, row * bits % W::BITS);
        let first = &packed[at as usize * lanes..][..lanes];
        if shift + bits > W::BITS {
            let second = &packed[(at as usize + 1) * lanes..][..lanes];
            for (w, (a, b)) in words.iter_mut().zip(first.iter().zip(second)) {
                *w = a.shr(shift).or(b.shl(W::BITS - shift)).and(low);
            }
        } else {
            for (w, a) in words.iter_mut().zip(first) {
                *w = a.shr(shift).and(low);
            }
        }
    }
}
