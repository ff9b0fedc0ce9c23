//! Transposition of matrices, by blocks of eight or four registers.

use super::HostWord;
use std::arch::x86_64::{
    __m256i, _mm256_loadu_si256, _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_storeu_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows` and `j < cols`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose<W: HostWord>(
    to: &mut [W],
    to_stride: usize,
    from: &[W],
    from_stride: usize,
    [rows, cols]: [usize; 2],
) {
    let side = 32 / size_of::<W>();
    let (full_rows, full_cols) = (rows - rows % side, cols - cols % side);
    for i in (0..full_rows).step_by(side) {
        for j in (0..full_cols).step_by(side) {
            block(&mut to[j * to_stride + i..], to_stride, &from[i * from_stride + j..], from_stride);
        }
    }
    for i in 0..rows {
        let rest = if i < full_rows { full_cols } else { 0 };
        for j in rest..cols {
            to[j * to_stride + i] = from[i * from_stride + j];
        }
    }
}

/// One block: 8 by 8 words of 32 bits or 4 by 4 of 64.
#[inline]
#[target_feature(enable = "avx2")]
fn block<W: HostWord>(to: &mut [W], to_stride: usize, from: &[W], from_stride: usize) {
    let side = 32 / size_of::<W>();
    let mut rows = [_mm256_setzero_si256(); 8];
    for (i, row) in rows.iter_mut().enumerate().take(side) {
        let words = &from[i * from_stride..][..side];
        // SAFETY: `side` words are 32 readable bytes; no alignment is needed.
        *row = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
    }
    let columns = if size_of::<W>() == 4 { transposed_32(rows) } else { transposed_64(rows) };
    for (j, column) in columns.iter().enumerate().take(side) {
        let words = &mut to[j * to_stride..][..side];
        // SAFETY: as above, and the words are borrowed mutably.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), *column) };
    }
}

/// Eight rows of eight words.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed_32(r: [__m256i; 8]) -> [__m256i; 8] {
    let (lo, hi) = (_mm256_unpacklo_epi32, _mm256_unpackhi_epi32);
    // Columns 0, 1 | 4, 5 and 2, 3 | 6, 7 of rows 0..4, then of rows 4..8.
    let (a, b, c, d) = (lo(r[0], r[1]), hi(r[0], r[1]), lo(r[2], r[3]), hi(r[2], r[3]));
    let (e, f, g, h) = (lo(r[4], r[5]), hi(r[4], r[5]), lo(r[6], r[7]), hi(r[6], r[7]));
    let (lo, hi) = (_mm256_unpacklo_epi64, _mm256_unpackhi_epi64);
    let upper = [lo(a, c), hi(a, c), lo(b, d), hi(b, d)];
    let lower = [lo(e, g), hi(e, g), lo(f, h), hi(f, h)];
    join(upper, lower)
}

/// Four rows of four words.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed_64(r: [__m256i; 8]) -> [__m256i; 8] {
    let (lo, hi) = (_mm256_unpacklo_epi64, _mm256_unpackhi_epi64);
    let zero = _mm256_setzero_si256();
    let [a, b, _, _, c, d, _, _] =
        join([lo(r[0], r[1]), hi(r[0], r[1]), zero, zero], [lo(r[2], r[3]), hi(r[2], r[3]), zero, zero]);
    [a, b, c, d, zero, zero, zero, zero]
}

/// The low halves of `upper` and `lower` side by side, then the high halves.
#[inline]
#[target_feature(enable = "avx2")]
fn join(upper: [__m256i; 4], lower: [__m256i; 4]) -> [__m256i; 8] {
    let mut joined = [_mm256_setzero_si256(); 8];
    for (i, (u, l)) in upper.into_iter().zip(lower).enumerate() {
        joined[i] = _mm256_permute2x128_si256::<0x20>(u, l);
        joined[i + 4] = _mm256_permute2x128_si256::<0x31>(u, l);
    }
    joined
}
