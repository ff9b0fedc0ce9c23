//! Tiles for AVX-512 with VNNI (32 products of 16 bits a register, added in pairs) and IFMA (8 products of 52 bits).
//!
//! A product mod 2^32 is three of 16 bits; a product mod 2^64 is both halves of one of 52 bits and two of 12 bits. Where two of these instructions
//! run in a cycle, that makes 21 products of 32 bits or 6.4 of 64 bits a cycle; `vpmulld` and `vpmullq` with their additions make 10.7 and 4.

use super::{HALF, HostWord, Scheme, multiply};
use std::arch::{
    asm,
    x86_64::{
        __m512i, _mm512_add_epi32, _mm512_add_epi64, _mm512_loadu_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
        _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_slli_epi64,
        _mm512_srli_epi64, _mm512_storeu_si512,
    },
};
use symbolon_core::kernel::Matrix;

/// See [`symbolon_core::kernel::portable::gemm`].
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vnni")]
pub(in super::super) fn gemm<W: HostWord>(z: &mut [W], x: Matrix<'_, W>, y: Matrix<'_, W>, dims: [usize; 3]) {
    // SAFETY: this function has the features that the scheme needs.
    unsafe { multiply::<W::Avx512>(z, x, y, dims) };
}

/// The word that starts at `words`, as the register's first.
///
/// # Safety
///
/// 64 bytes are readable there.
#[inline(always)]
unsafe fn load<W>(words: *const W) -> __m512i {
    // SAFETY: as the caller promised; no alignment is needed.
    unsafe { _mm512_loadu_si512(words.cast()) }
}

/// Writes a register over the start of `words`.
#[inline]
#[target_feature(enable = "avx512f")]
fn store<W: HostWord>(words: &mut [W], register: __m512i) {
    let words = &mut words[..64 / size_of::<W>()];
    // SAFETY: 64 bytes are borrowed.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), register) }
}

/// Adds the two products of signed 16-bit halves in each 32 bits of `x` and `y` to `sum`: `vpdpwssd`.
///
/// Not the intrinsic, which LLVM takes apart into a multiplication and an addition where it sees a chain of sums; that
/// costs a third of the rate.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_pairs(mut sum: __m512i, x: __m512i, y: __m512i) -> __m512i {
    // SAFETY: the instruction is in `avx512vnni`, and touches no more than its operands.
    unsafe {
        asm!("vpdpwssd {}, {}, {}", inout(zmm_reg) sum, in(zmm_reg) x, in(zmm_reg) y,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Words of 32 bits by 16-bit pairs: `x y = l m + 2^16 (l n + h m)` for `x = l + 2^16 h` and `y = m + 2^16 n` with signed `l`, `m`.
///
/// A pair of neighbouring steps shares one register for `l m`.
pub struct Pairs;

/// Both halves of `x` as signed numbers, so that `x = l + 2^16 h`.
#[inline(always)]
fn balanced(x: u32) -> u32 {
    x.wrapping_add((x & 0x8000) << 1)
}

/// The parts `l` of two words.
#[inline(always)]
pub(super) fn low_pair(a: u32, b: u32) -> u32 {
    (a & 0xffff) | b << 16
}

/// The parts of two words of `x`: (l, h) of each, and the two l.
#[inline(always)]
pub(super) fn left_pairs(part: usize, a: u32, b: u32) -> u32 {
    match part {
        0 => balanced(a),
        1 => balanced(b),
        _ => low_pair(a, b),
    }
}

/// The parts of two words of `y`: (h, l) of each, and the two l.
#[inline(always)]
pub(super) fn right_pairs(part: usize, a: u32, b: u32) -> u32 {
    if part < 2 { left_pairs(part, a, b).rotate_left(16) } else { low_pair(a, b) }
}

impl Scheme for Pairs {
    type Word = u32;
    const ROWS: usize = 6;
    const COLS: usize = 16;
    const PARTS: usize = 3;

    #[inline(always)]
    fn left(part: usize, a: u32, b: u32) -> u32 {
        left_pairs(part, a, b)
    }
    #[inline(always)]
    fn right(part: usize, a: u32, b: u32) -> u32 {
        right_pairs(part, a, b)
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn tile(half: usize, left: &[u32], right: &[u32], wide: bool, out: &mut [u32]) {
        if wide { pairs_tile::<2>(half, left, right, out) } else { pairs_tile::<1>(half, left, right, out) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn pairs_tile<const PANELS: usize>(half: usize, left: &[u32], right: &[u32], out: &mut [u32]) {
    const ROWS: usize = Pairs::ROWS;
    assert!(half <= HALF && left.len() >= ROWS * 3 * HALF && right.len() >= PANELS * half * 48, "a block is too short");
    let mut low = [[_mm512_setzero_si512(); PANELS]; ROWS];
    let mut cross = low;
    for l in 0..half {
        for part in 0..3 {
            let mut y = [_mm512_setzero_si512(); PANELS];
            for (v, y) in y.iter_mut().enumerate() {
                // SAFETY: 16 words from there on lie within `PANELS * half * 48`.
                *y = unsafe { load(right.as_ptr().add((v * half + l) * 48 + part * 16)) };
            }
            let sums = if part < 2 { &mut cross } else { &mut low };
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `i < ROWS`, `part < 3`, `l < HALF`.
                let x = unsafe { *left.get_unchecked((i * 3 + part) * HALF + l) };
                let x = _mm512_set1_epi32(x.cast_signed());
                for (sum, y) in sums.iter_mut().zip(y) {
                    *sum = add_pairs(*sum, x, y);
                }
            }
        }
    }
    for i in 0..ROWS {
        for v in 0..PANELS {
            let sum = _mm512_add_epi32(low[i][v], _mm512_slli_epi32::<16>(cross[i][v]));
            store(&mut out[(i * 2 + v) * 16..], sum);
        }
    }
}

/// Words of 64 bits by limbs of 52 and 12: `x y = lo(l m) + 2^52 (hi(l m) + l n + h m)` for `x = l + 2^52 h` and `y = m + 2^52 n`.
///
/// The multiplier itself ignores all but the lowest 52 bits of a word.
pub struct Limbs;

/// The lowest 12 bits.
const TWELVE: u64 = 0xfff;

impl Scheme for Limbs {
    type Word = u64;
    const ROWS: usize = 4;
    const COLS: usize = 8;
    const PARTS: usize = 3;

    #[inline(always)]
    fn left(part: usize, a: u64, b: u64) -> u64 {
        let pair = |x: u64| (x & TWELVE) | (x >> 52) << 16;
        match part {
            0 => a,
            1 => b,
            _ => pair(a) | pair(b) << 32,
        }
    }
    #[inline(always)]
    fn right(part: usize, a: u64, b: u64) -> u64 {
        let pair = |x: u64| (x >> 52) | (x & TWELVE) << 16;
        match part {
            0 => a,
            1 => b,
            _ => pair(a) | pair(b) << 32,
        }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512ifma,avx512vnni")]
    unsafe fn tile(half: usize, left: &[u64], right: &[u64], wide: bool, out: &mut [u64]) {
        if wide { limbs_tile::<2>(half, left, right, out) } else { limbs_tile::<1>(half, left, right, out) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512ifma,avx512vnni")]
fn limbs_tile<const PANELS: usize>(half: usize, left: &[u64], right: &[u64], out: &mut [u64]) {
    const ROWS: usize = Limbs::ROWS;
    assert!(half <= HALF && left.len() >= ROWS * 3 * HALF && right.len() >= PANELS * half * 24, "a block is too short");
    let mut low = [[_mm512_setzero_si512(); PANELS]; ROWS];
    let (mut high, mut cross) = (low, low);
    for l in 0..half {
        for part in 0..3 {
            let mut y = [_mm512_setzero_si512(); PANELS];
            for (v, y) in y.iter_mut().enumerate() {
                // SAFETY: 8 words from there on lie within `PANELS * half * 24`.
                *y = unsafe { load(right.as_ptr().add((v * half + l) * 24 + part * 8)) };
            }
            for i in 0..ROWS {
                // SAFETY: `i < ROWS`, `part < 3`, `l < HALF`.
                let x = unsafe { *left.get_unchecked((i * 3 + part) * HALF + l) };
                let x = _mm512_set1_epi64(x.cast_signed());
                for (v, y) in y.iter().enumerate() {
                    if part < 2 {
                        low[i][v] = _mm512_madd52lo_epu64(low[i][v], x, *y);
                        high[i][v] = _mm512_madd52hi_epu64(high[i][v], x, *y);
                    } else {
                        cross[i][v] = add_pairs(cross[i][v], x, *y);
                    }
                }
            }
        }
    }
    for i in 0..ROWS {
        for v in 0..PANELS {
            // The sums of both steps of a pair lie side by side; carries between them leave the 12 bits that count.
            let cross = _mm512_add_epi64(cross[i][v], _mm512_srli_epi64::<32>(cross[i][v]));
            let high = _mm512_add_epi64(high[i][v], cross);
            let sum = _mm512_add_epi64(low[i][v], _mm512_slli_epi64::<52>(high));
            store(&mut out[(i * 2 + v) * 8..], sum);
        }
    }
}
