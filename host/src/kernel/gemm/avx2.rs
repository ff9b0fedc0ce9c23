//! Tiles for AVX2: 16-bit products added in pairs for `u32`, 32-bit products for `u64`.

use super::{
    HALF, HostWord, Scheme,
    avx512::{left_pairs, right_pairs},
    multiply,
};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_add_epi64, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_epu32,
    _mm256_mullo_epi32, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi32,
    _mm256_slli_epi32, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_storeu_si256,
};
use symbolon_core::kernel::Matrix;

/// See [`symbolon_core::kernel::portable::gemm`].
#[target_feature(enable = "avx2")]
pub(in super::super) fn gemm<W: HostWord>(z: &mut [W], x: Matrix<'_, W>, y: Matrix<'_, W>, dims: [usize; 3]) {
    // SAFETY: this function has the features that the scheme needs.
    unsafe { multiply::<W::Avx2>(z, x, y, dims) };
}

/// The words from `words` on.
///
/// # Safety
///
/// 32 bytes are readable there.
#[inline(always)]
unsafe fn load<W>(words: *const W) -> __m256i {
    // SAFETY: as the caller promised; no alignment is needed.
    unsafe { _mm256_loadu_si256(words.cast()) }
}

/// Writes a register over the start of `words`.
#[inline]
#[target_feature(enable = "avx2")]
fn store<W: HostWord>(words: &mut [W], register: __m256i) {
    let words = &mut words[..32 / size_of::<W>()];
    // SAFETY: 32 bytes are borrowed.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) }
}

/// As [`super::avx512::Pairs`], with multiplication and addition apart.
pub struct Pairs;

impl Scheme for Pairs {
    type Word = u32;
    const ROWS: usize = 3;
    const COLS: usize = 8;
    const PARTS: usize = 3;

    #[inline(always)]
    fn left(part: usize, a: u32, b: u32) -> u32 {
        left_pairs(part, a, b)
    }
    #[inline(always)]
    fn right(part: usize, a: u32, b: u32) -> u32 {
        right_pairs(part, a, b)
    }
    #[target_feature(enable = "avx2")]
    unsafe fn tile(half: usize, left: &[u32], right: &[u32], wide: bool, out: &mut [u32]) {
        if wide { pairs_tile::<2>(half, left, right, out) } else { pairs_tile::<1>(half, left, right, out) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn pairs_tile<const PANELS: usize>(half: usize, left: &[u32], right: &[u32], out: &mut [u32]) {
    const ROWS: usize = Pairs::ROWS;
    assert!(half <= HALF && left.len() >= ROWS * 3 * HALF && right.len() >= PANELS * half * 24, "a block is too short");
    let mut low = [[_mm256_setzero_si256(); PANELS]; ROWS];
    let mut cross = low;
    for l in 0..half {
        for part in 0..3 {
            let mut y = [_mm256_setzero_si256(); PANELS];
            for (v, y) in y.iter_mut().enumerate() {
                // SAFETY: 8 words from there on lie within `PANELS * half * 24`.
                *y = unsafe { load(right.as_ptr().add((v * half + l) * 24 + part * 8)) };
            }
            let sums = if part < 2 { &mut cross } else { &mut low };
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `i < ROWS`, `part < 3`, `l < HALF`.
                let x = unsafe { *left.get_unchecked((i * 3 + part) * HALF + l) };
                let x = _mm256_set1_epi32(x.cast_signed());
                for (sum, y) in sums.iter_mut().zip(y) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, y));
                }
            }
        }
    }
    for i in 0..ROWS {
        for v in 0..PANELS {
            let sum = _mm256_add_epi32(low[i][v], _mm256_slli_epi32::<16>(cross[i][v]));
            store(&mut out[(i * 2 + v) * 8..], sum);
        }
    }
}

/// Words of 64 bits by halves: `x y = l m + 2^32 (l n + h m)` for `x = l + 2^32 h` and `y = m + 2^32 n`.
pub struct Halves;

impl Scheme for Halves {
    type Word = u64;
    const ROWS: usize = 3;
    const COLS: usize = 4;
    const PARTS: usize = 2;

    #[inline(always)]
    fn left(part: usize, a: u64, b: u64) -> u64 {
        if part == 0 { a } else { b }
    }
    #[inline(always)]
    fn right(part: usize, a: u64, b: u64) -> u64 {
        if part == 0 { a } else { b }
    }
    #[target_feature(enable = "avx2")]
    unsafe fn tile(half: usize, left: &[u64], right: &[u64], wide: bool, out: &mut [u64]) {
        if wide { halves_tile::<2>(half, left, right, out) } else { halves_tile::<1>(half, left, right, out) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves_tile<const PANELS: usize>(half: usize, left: &[u64], right: &[u64], out: &mut [u64]) {
    const ROWS: usize = Halves::ROWS;
    assert!(half <= HALF && left.len() >= ROWS * 2 * HALF && right.len() >= PANELS * half * 8, "a block is too short");
    let mut low = [[_mm256_setzero_si256(); PANELS]; ROWS];
    let mut cross = low;
    for l in 0..half {
        for part in 0..2 {
            for v in 0..PANELS {
                // SAFETY: 4 words from there on lie within `PANELS * half * 8`.
                let y = unsafe { load(right.as_ptr().add((v * half + l) * 8 + part * 4)) };
                let swapped = _mm256_shuffle_epi32::<0b10_11_00_01>(y);
                for i in 0..ROWS {
                    // SAFETY: `i < ROWS`, `part < 2`, `l < HALF`.
                    let x = unsafe { *left.get_unchecked((i * 2 + part) * HALF + l) };
                    let x = _mm256_set1_epi64x(x.cast_signed());
                    low[i][v] = _mm256_add_epi64(low[i][v], _mm256_mul_epu32(x, y));
                    cross[i][v] = _mm256_add_epi32(cross[i][v], _mm256_mullo_epi32(x, swapped));
                }
            }
        }
    }
    for i in 0..ROWS {
        for v in 0..PANELS {
            // Both cross products lie side by side; the carry from one to the other leaves the 32 bits that count.
            let cross = _mm256_add_epi64(cross[i][v], _mm256_srli_epi64::<32>(cross[i][v]));
            let sum = _mm256_add_epi64(low[i][v], _mm256_slli_epi64::<32>(cross));
            store(&mut out[(i * 2 + v) * 4..], sum);
        }
    }
}
