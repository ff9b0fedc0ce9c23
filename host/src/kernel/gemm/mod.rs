//! Products of ring matrices: packing, blocks, tiles.
//!
//! As Goto and van de Geijn, *Anatomy of high-performance matrix multiplication* (TOMS 2008): blocks of both arguments are copied into the order in
//! which the innermost loop reads them, so that any stride and transposition costs one pass over the arguments only. What differs is the innermost
//! loop, since no processor has a full multiplication of words at full rate: each word is split into parts that its multipliers take ([`Scheme`]).
//!
//! Two steps `l` and `l + half` of the inner dimension are taken together: multipliers for 16-bit pairs need that, and splitting then works on whole
//! rows without a shuffle.

pub(super) mod avx2;
pub(super) mod avx512;
mod transpose;

use super::HostWord;
use std::cell::RefCell;
use symbolon_core::{kernel::Matrix, word::Word};
use transpose::transpose;
use zeroize::Zeroizing;

/// Pairs of inner steps that a block has at most.
const HALF: usize = 128;
/// Rows of `x` that are transposed together: a multiple of every scheme's `ROWS` and of the transposition's blocks.
const STRIP_ROWS: usize = 24;
/// Rows of `x` in a block.
const BLOCK_ROWS: usize = 6 * STRIP_ROWS;
/// Columns of `y` in a block: a multiple of every scheme's `COLS`.
const BLOCK_COLS: usize = 128;
/// Words of a cache line at least, to align blocks to.
const LINE: usize = 16;

/// How one word size is multiplied on one instruction set.
///
/// From each pair of words of `x`, and of `y`, come `PARTS` parts. A tile is summed from the products of like parts, in `tile`.
pub trait Scheme {
    /// The word.
    type Word: HostWord;
    /// Rows of a tile.
    const ROWS: usize;
    /// Columns of a tile: one register's words.
    const COLS: usize;
    /// Parts of a pair, at most 3.
    const PARTS: usize;

    /// A part of the words `a`, `b` of `x`.
    fn left(part: usize, a: Self::Word, b: Self::Word) -> Self::Word;
    /// A part of the words `a`, `b` of `y`.
    fn right(part: usize, a: Self::Word, b: Self::Word) -> Self::Word;

    /// The product of `ROWS` packed rows and one or two panels of `COLS` packed columns (`wide`), row after row of `TILE_COLS` in `out`.
    ///
    /// Row `i`, part `p`, step `l` lies at `left[(i * PARTS + p) * HALF + l]`; panel `v`, step `l`, part `p`, column `j` at
    /// `right[((v * half + l) * PARTS + p) * COLS + j]`.
    ///
    /// # Safety
    ///
    /// The processor has the scheme's instruction set.
    unsafe fn tile(half: usize, left: &[Self::Word], right: &[Self::Word], wide: bool, out: &mut [Self::Word]);
}

/// Words of a block of `x`, of a block of `y`, and of a strip to transpose, for blocks of `rows` by `depth` and `depth` by `cols`.
fn block_words<S: Scheme>([rows, depth, cols]: [usize; 3]) -> [usize; 3] {
    const { assert!(STRIP_ROWS.is_multiple_of(S::ROWS) && BLOCK_COLS.is_multiple_of(2 * S::COLS) && S::COLS <= LINE) };
    let (rows, cols) =
        (rows.min(BLOCK_ROWS).next_multiple_of(STRIP_ROWS), cols.min(BLOCK_COLS).next_multiple_of(S::COLS));
    [rows * S::PARTS * HALF, cols * S::PARTS * depth.div_ceil(2), (depth * STRIP_ROWS).next_multiple_of(LINE)]
}

thread_local! {
    /// Packed blocks, which hold shares.
    static BUFFER: RefCell<Zeroizing<Vec<u64>>> = RefCell::new(Zeroizing::new(Vec::new()));
}

/// Cuts a buffer into blocks that start at a cache line; makes a larger one where it is too small.
#[inline(always)]
fn blocks<S: Scheme>(buffer: &mut Zeroizing<Vec<u64>>, dims: [usize; 3]) -> [&mut [S::Word]; 3] {
    let [left, right, strip] = block_words::<S>(dims);
    let bytes = (left + right + strip + LINE) * size_of::<S::Word>();
    if buffer.len() * 8 < bytes {
        // Not `resize`, which would leave an unerased copy behind.
        *buffer = Zeroizing::new(vec![0; bytes.div_ceil(8)]);
    }
    let words: &mut [S::Word] = bytemuck::cast_slice_mut(buffer);
    let from = words.as_ptr().align_offset(64).min(LINE);
    let (left, rest) = words[from..].split_at_mut(left);
    let (right, rest) = rest.split_at_mut(right);
    [left, right, &mut rest[..strip]]
}

/// `z += x y`, by `S`.
///
/// # Safety
///
/// The processor has the scheme's instruction set.
#[inline(always)]
unsafe fn multiply<S: Scheme>(
    z: &mut [S::Word],
    x: Matrix<'_, S::Word>,
    y: Matrix<'_, S::Word>,
    [m, k, n]: [usize; 3],
) {
    check(z.len(), x, y, [m, k, n]);
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    // Equal blocks of the inner dimension rather than full ones and a rest.
    let depth = k.div_ceil(k.div_ceil(2 * HALF));
    // Taken and put back rather than borrowed: a closure would be compiled without the wide registers.
    let mut buffer = BUFFER.take();
    let [left, right, strip] = blocks::<S>(&mut buffer, [m, depth, n]);
    for inner in (0..k).step_by(depth) {
        let depth = depth.min(k - inner);
        let half = depth.div_ceil(2);
        for col in (0..n).step_by(BLOCK_COLS) {
            let cols = BLOCK_COLS.min(n - col);
            // SAFETY: as the caller promised.
            unsafe { pack_right::<S>(right, strip, part_of(y, inner, col), depth, cols) };
            for row in (0..m).step_by(BLOCK_ROWS) {
                let rows = BLOCK_ROWS.min(m - row);
                let z = &mut z[row * n + col..];
                // SAFETY: as the caller promised.
                unsafe {
                    pack_left::<S>(left, strip, part_of(x, row, inner), rows, depth);
                    tiles::<S>(z, n, left, right, half, [rows, cols]);
                }
            }
        }
    }
    BUFFER.set(buffer);
}

/// Panics unless all elements lie within their slices.
fn check<W>(z: usize, x: Matrix<'_, W>, y: Matrix<'_, W>, [m, k, n]: [usize; 3]) {
    let fits = |a: Matrix<'_, W>, rows: usize, cols: usize| {
        let (rows, cols) = if a.transposed { (cols, rows) } else { (rows, cols) };
        rows == 0 || cols == 0 || (rows - 1) * a.stride + cols <= a.words.len()
    };
    assert!(m * n <= z && fits(x, m, k) && fits(y, k, n), "gemm: a matrix is shorter than its dimensions");
}

/// The matrix from element `(row, col)` on.
fn part_of<W>(a: Matrix<'_, W>, row: usize, col: usize) -> Matrix<'_, W> {
    let (row, col) = if a.transposed { (col, row) } else { (row, col) };
    Matrix { words: &a.words[row * a.stride + col..], ..a }
}

/// Splits `rows` rows of `depth` words.
///
/// # Safety
///
/// The processor has the scheme's instruction set.
#[inline(always)]
unsafe fn pack_left<S: Scheme>(
    to: &mut [S::Word],
    strip: &mut [S::Word],
    x: Matrix<'_, S::Word>,
    rows: usize,
    depth: usize,
) {
    let half = depth.div_ceil(2);
    for (at, to) in (0..rows).step_by(STRIP_ROWS).zip(to.chunks_exact_mut(STRIP_ROWS * S::PARTS * HALF)) {
        let rows = STRIP_ROWS.min(rows - at);
        let mut from = part_of(x, at, 0);
        if x.transposed {
            // SAFETY: as the caller promised.
            unsafe { transpose(strip, depth, from.words, x.stride, [depth, rows]) };
            from = Matrix { words: &*strip, stride: depth, transposed: false };
        }
        for (i, to) in to.chunks_exact_mut(S::PARTS * HALF).enumerate().take(rows.next_multiple_of(S::ROWS)) {
            if i >= rows {
                to.fill(S::Word::default());
                continue;
            }
            let (a, b) = from.words[i * from.stride..][..depth].split_at(half);
            split(to, a, b, |a, b| S::left(0, a, b));
            split(&mut to[HALF..], a, b, |a, b| S::left(1, a, b));
            if S::PARTS > 2 {
                split(&mut to[2 * HALF..], a, b, |a, b| S::left(2, a, b));
            }
        }
    }
}

/// Splits `cols` columns of `depth` words.
///
/// # Safety
///
/// The processor has the scheme's instruction set.
#[inline(always)]
unsafe fn pack_right<S: Scheme>(
    to: &mut [S::Word],
    strip: &mut [S::Word],
    y: Matrix<'_, S::Word>,
    depth: usize,
    cols: usize,
) {
    let half = depth.div_ceil(2);
    for (at, to) in (0..cols).step_by(S::COLS).zip(to.chunks_exact_mut(half * S::PARTS * S::COLS)) {
        let cols = S::COLS.min(cols - at);
        let mut from = part_of(y, 0, at);
        if y.transposed || cols < S::COLS {
            if y.transposed {
                // SAFETY: as the caller promised.
                unsafe { transpose(strip, S::COLS, from.words, y.stride, [cols, depth]) };
            } else {
                for (to, from) in strip.chunks_exact_mut(S::COLS).zip(from.words.chunks(y.stride)).take(depth) {
                    copy(to, &from[..cols]);
                }
            }
            from = Matrix { words: &*strip, stride: S::COLS, transposed: false };
        }
        for (l, to) in to.chunks_exact_mut(S::PARTS * S::COLS).enumerate() {
            let a = line::<S>(from.words, l * from.stride);
            let b = if l + half < depth {
                line::<S>(from.words, (l + half) * from.stride)
            } else {
                [S::Word::default(); LINE]
            };
            for (part, to) in to.chunks_exact_mut(S::COLS).enumerate() {
                let mut line = [S::Word::default(); LINE];
                split(&mut line[..S::COLS], &a[..S::COLS], &b[..S::COLS], |a, b| S::right(part, a, b));
                to.copy_from_slice(&line[..S::COLS]);
            }
        }
    }
}

/// The `COLS` words from `at` on. Copies in registers, so that the compiler need not fear that slices overlap.
#[inline(always)]
fn line<S: Scheme>(words: &[S::Word], at: usize) -> [S::Word; LINE] {
    let mut line = [S::Word::default(); LINE];
    line[..S::COLS].copy_from_slice(&words[at..][..S::COLS]);
    line
}

/// One part of each pair of `a` and `b`, of which `b` may be one shorter.
#[inline(always)]
fn split<W: Word>(to: &mut [W], a: &[W], b: &[W], part: impl Fn(W, W) -> W) {
    for (to, (a, b)) in to.iter_mut().zip(a.iter().zip(b)) {
        *to = part(*a, *b);
    }
    if let Some(a) = a.get(b.len()) {
        to[b.len()] = part(*a, W::default());
    }
}

/// Copies all of `from` to the front of `to`.
#[inline(always)]
fn copy<W: Copy>(to: &mut [W], from: &[W]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Words of the widest tile.
const TILE_WORDS: usize = 256;

/// Adds the product of two packed blocks to `z`.
///
/// # Safety
///
/// The processor has the scheme's instruction set.
#[inline(always)]
unsafe fn tiles<S: Scheme>(
    z: &mut [S::Word],
    stride: usize,
    left: &[S::Word],
    right: &[S::Word],
    half: usize,
    [rows, cols]: [usize; 2],
) {
    let panel = half * S::PARTS * S::COLS;
    let mut tile = [S::Word::default(); TILE_WORDS];
    for col in (0..cols).step_by(2 * S::COLS) {
        let cols = (2 * S::COLS).min(cols - col);
        let wide = cols > S::COLS;
        let right = &right[col / S::COLS * panel..][..if wide { 2 * panel } else { panel }];
        for row in (0..rows).step_by(S::ROWS) {
            let left = &left[row * S::PARTS * HALF..][..S::ROWS * S::PARTS * HALF];
            // SAFETY: as the caller promised.
            unsafe { S::tile(half, left, right, wide, &mut tile) };
            for (i, tile) in tile.chunks_exact(2 * S::COLS).enumerate().take(S::ROWS.min(rows - row)) {
                let z = &mut z[(row + i) * stride + col..][..cols];
                if cols == 2 * S::COLS {
                    add(&mut z[..2 * S::COLS], tile);
                } else {
                    add(z, tile);
                }
            }
        }
    }
}

/// `z += x`.
#[inline(always)]
fn add<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.add(*x);
    }
}
