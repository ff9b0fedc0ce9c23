//! Compares digits of a public word with those of a mask, bit-sliced, for
//! [`crate::protocol::upper`] to join.
//!
//! `c = u + r` is public. The dealer gives the one-hot vector of each digit `r_i` of one to four
//! bits, XOR-shared. Every predicate of one digit, with `c` public, is then a sum of entries that
//! `c` selects:
//!
//! | leaf | is 1 where |
//! | --- | --- |
//! | `e`, `z` | `r_i = c_i`; `r_i = c_i - 1` modulo the digit |
//! | `n` | `c_i = 0`; public |
//! | `l` | a borrow comes out of the digit's upper two bits: `r_i / 4 > c_i / 4` |
//! | `a`, `b` | `c_i - r_i` modulo 16 is below 4, without (`a`) and with a borrow out of the digit (`b`) |

use super::{plane_words, planes::select};
use crate::word::Word;

/// Lanes of a pass: 16 planes of them, a digit's, fit the first-level cache.
const BLOCK: usize = 32;
type Block<W> = [W; BLOCK];

/// Bits of a digit, the topmost of a word perhaps excepted.
pub(crate) const DIGIT: usize = 4;
/// Leaves of a digit: `e`, `z`, `n`.
pub(crate) const LEAVES: usize = 3;
/// Leaves of a digit in which thresholds lie: `e`, `z`, `n`, `l`, `a`, `b`.
pub(crate) const THRESHOLD_LEAVES: usize = 6;

/// Entry `2 high + low` of four.
#[inline(always)]
fn pick4<W: Word>(low: W, high: W, x: [W; 4]) -> W {
    select(high, select(low, x[3], x[2]), select(low, x[1], x[0]))
}

/// Lanes `at..` of the first `N` planes; zeros beyond the last lane, and for missing planes.
#[inline(always)]
fn load<W: Word, const N: usize>(planes: &[W], lanes: usize, at: usize) -> [Block<W>; N] {
    let mut blocks = [[W::default(); BLOCK]; N];
    let width = BLOCK.min(lanes - at);
    for (block, plane) in blocks.iter_mut().zip(planes.chunks_exact(lanes)) {
        block[..width].copy_from_slice(&plane[at..at + width]);
    }
    blocks
}

/// The inverse of [`load`].
#[inline(always)]
fn store<W: Word, const N: usize>(planes: &mut [W], lanes: usize, at: usize, blocks: &[Block<W>; N]) {
    let width = BLOCK.min(lanes - at);
    for (plane, block) in planes.chunks_exact_mut(lanes).zip(blocks) {
        plane[at..at + width].copy_from_slice(&block[..width]);
    }
}

/// Room for the planes of a digit where they cannot be read in place: planes that end before the
/// block does, and missing planes.
struct Spare<W> {
    c: [Block<W>; DIGIT],
    hot: [Block<W>; 15],
    zero: Block<W>,
}

/// Lanes `at..` of the first `N` planes, in place where a whole block follows. Lanes beyond the
/// last are unspecified.
#[inline(always)]
fn view<'a, W: Word, const N: usize>(
    planes: &'a [W],
    lanes: usize,
    at: usize,
    spare: &'a mut [Block<W>; N],
) -> [&'a Block<W>; N] {
    if at + BLOCK > lanes {
        *spare = load(planes, lanes, at);
    }
    let mut views = spare.each_ref();
    for (plane, view) in views.iter_mut().enumerate() {
        if let Some(block) = planes.get(plane * lanes + at..).and_then(|rest| rest.first_chunk()) {
            *view = block;
        }
    }
    views
}

/// A digit in one block: the bits of `c_i`, and the whole one-hot vector of `r_i`, repeated where
/// it is shorter than 16.
struct Digit<'a, W> {
    c: [&'a Block<W>; DIGIT],
    hot: [&'a Block<W>; 16],
}

impl<'a, W: Word> Digit<'a, W> {
    /// The digit of `width` bits in lanes `at..`.
    #[inline(always)]
    fn new((c, hot): (&'a [W], &'a [W]), width: usize, at: usize, first: W, spare: &'a mut Spare<W>) -> Self {
        let (lanes, n) = (c.len() / width, 1 << width);
        let dealt = view(hot, lanes, at, &mut spare.hot);
        // All entries together make one.
        let none = [W::default(); BLOCK];
        let mut parts = dealt;
        parts[n - 1..].fill(&none);
        let mut zero = none;
        for (i, zero) in zero.iter_mut().enumerate() {
            *zero = parts.iter().fold(first, |sum, part| sum.xor(part[i]));
        }
        spare.zero = zero;
        let mut all = [&spare.zero; 16];
        for (j, entry) in all.iter_mut().enumerate().filter(|(j, _)| j % n > 0) {
            *entry = dealt[j % n - 1];
        }
        Self { c: view(c, lanes, at, &mut spare.c), hot: all }
    }

    /// `n`.
    #[inline(always)]
    fn is_zero(&self) -> Block<W> {
        let mut out = [W::default(); BLOCK];
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.c[0][i].or(self.c[1][i]).or(self.c[2][i]).or(self.c[3][i]).not();
        }
        out
    }

    /// Entries `4 q..4 q + 4` for the upper half `q` of `c_i + shift`, in lane `i`; `shift` is 0 or
    /// -4.
    #[inline(always)]
    fn row<const PREVIOUS: bool>(&self, i: usize) -> [W; 4] {
        [
            self.entry::<PREVIOUS>(0, i),
            self.entry::<PREVIOUS>(1, i),
            self.entry::<PREVIOUS>(2, i),
            self.entry::<PREVIOUS>(3, i),
        ]
    }

    /// Entry `r` of the row.
    #[inline(always)]
    fn entry<const PREVIOUS: bool>(&self, r: usize, i: usize) -> W {
        let [a, b, c, d] = [self.hot[r][i], self.hot[4 + r][i], self.hot[8 + r][i], self.hot[12 + r][i]];
        pick4(self.c[2][i], self.c[3][i], if PREVIOUS { [d, a, b, c] } else { [a, b, c, d] })
    }

    /// The sum of row `q`.
    #[inline(always)]
    fn sum(&self, q: usize, i: usize) -> W {
        self.hot[4 * q][i].xor(self.hot[4 * q + 1][i]).xor(self.hot[4 * q + 2][i]).xor(self.hot[4 * q + 3][i])
    }

    /// `e` and `z`.
    #[inline(always)]
    fn neighbours(&self) -> [Block<W>; 2] {
        let mut out = [[W::default(); BLOCK]; 2];
        let [e, z] = &mut out;
        for (i, (e, z)) in e.iter_mut().zip(z).enumerate() {
            let (own, before) = (self.row::<false>(i), self.row::<true>(i));
            let (low, high) = (self.c[0][i], self.c[1][i]);
            *e = pick4(low, high, own);
            *z = pick4(low, high, [before[3], own[0], own[1], own[2]]);
        }
        out
    }

    /// `l`, `a` and `b`.
    #[inline(always)]
    fn windows(&self) -> [Block<W>; 3] {
        let mut out = [[W::default(); BLOCK]; 3];
        let [l, a, b] = &mut out;
        for (i, ((l, a), b)) in l.iter_mut().zip(a).zip(b).enumerate() {
            let ([f0, f1, f2, f3], [_, g1, g2, g3]) = (self.row::<false>(i), self.row::<true>(i));
            let (low, high, upper_low, upper_high) = (self.c[0][i], self.c[1][i], self.c[2][i], self.c[3][i]);
            // The four entries from c_i downwards: some of them in its own row, the others at the
            // end of the row before.
            let (f01, g23) = (f0.xor(f1), g2.xor(g3));
            let own = pick4(low, high, [f0, f01, f01.xor(f2), f01.xor(f2.xor(f3))]);
            let before = pick4(low, high, [g1.xor(g23), g23, g3, W::default()]);
            let upper = upper_low.or(upper_high);
            let three = self.sum(3, i);
            let two = self.sum(2, i).xor(three);
            *l = pick4(upper_low, upper_high, [self.sum(1, i).xor(two), two, three, W::default()]);
            *a = own.xor(before.and(upper));
            *b = before.and(upper.not());
        }
        out
    }
}

/// The leaves of one digit, plane after plane, from the `width` planes `c` of the public digit and
/// the dealt planes `hot` of the mask's: `e z n`, and where there is room `l a b`, for digits of
/// four bits.
#[inline(always)]
pub fn digit_leaves<W: Word>(leaves: &mut [W], c: &[W], hot: &[W], width: u32, first: W) {
    let lanes = c.len() / width as usize;
    let thresholds = leaves.len() == THRESHOLD_LEAVES * lanes;
    let zero = [W::default(); BLOCK];
    let mut spare = Spare { c: [zero; DIGIT], hot: [zero; 15], zero };
    for at in (0..lanes).step_by(BLOCK) {
        let digit = Digit::new((c, hot), width as usize, at, first, &mut spare);
        let ([e, z], n) = (digit.neighbours(), digit.is_zero());
        if thresholds {
            let [l, a, b] = digit.windows();
            store(leaves, lanes, at, &[e, z, n, l, a, b]);
        } else {
            store(leaves, lanes, at, &[e, z, n]);
        }
    }
}

/// Shares of `[c < d]`, a plane, from those of the one-hot vector of `d` (planes `1..2^width`,
/// overwritten) and the planes `c` of a public number of `width` bits.
/// [`digit_less_equal`](super::portable::digit_less_equal) for any width.
#[inline(always)]
pub fn digit_less<W: Word>(lt: &mut [W], hot: &mut [W], c: &[W], width: u32) {
    let lanes = lt.len();
    lt.fill(W::default());
    // From the top bit down, one half of the vector stays: the upper where the bit is set; where
    // the bit is clear, `d > c` if `d` is in the upper half.
    for bit in (0..width as usize).rev() {
        let half = 1 << bit;
        let c = &c[bit * lanes..][..lanes];
        let (low, high) = hot.split_at_mut((half - 1) * lanes);
        for j in 0..half {
            let above = &high[j * lanes..][..lanes];
            for (lt, (above, c)) in lt.iter_mut().zip(above.iter().zip(c)) {
                *lt = lt.xor(above.and(c.not()));
            }
            // Entry 0 is never above.
            if let Some(at) = j.checked_sub(1) {
                for (low, (above, c)) in low[at * lanes..][..lanes].iter_mut().zip(above.iter().zip(c)) {
                    *low = select(*c, *above, *low);
                }
            }
        }
    }
}

/// `z` is `x` where the public `bit` is set, else `y`.
#[inline(always)]
pub fn choose<W: Word>(z: &mut [W], bit: &[W], x: &[W], y: &[W]) {
    for ((z, bit), (x, y)) in z.iter_mut().zip(bit).zip(x.iter().zip(y)) {
        *z = select(*bit, *x, *y);
    }
}

/// `z &= x`, where `x` is public.
#[inline(always)]
pub fn keep_planes<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.and(*x);
    }
}

/// Moves the part of `b` outside the public `kept` to `a`: `a ^= b & !kept`, `b &= kept`.
#[inline(always)]
pub fn move_planes<W: Word>(a: &mut [W], b: &mut [W], kept: &[W]) {
    for ((a, b), kept) in a.iter_mut().zip(b).zip(kept) {
        *a = a.xor(b.and(kept.not()));
        *b = b.and(*kept);
    }
}

/// The nested bits of whole words, plane after plane: `t_j = [U + d - 1 - (c mod d) < 4 d]` with
/// `d = 4^j 2^low`, `j` from 0, for `U` opened as `c = U + r mod 2^bits`.
#[inline(always)]
pub fn cells_clear<W: Word>(t: &mut [W], c: &[W], r: &[W], low: u32, bits: u32) {
    let lanes = plane_words::<W>(r.len());
    if lanes == 0 {
        return;
    }
    t.fill(W::default());
    let all = W::low_mask(bits);
    for (row, (c, r)) in (0u32..).zip(c.chunks(lanes).zip(r.chunks(lanes))) {
        for (plane, bits) in t.chunks_exact_mut(lanes).enumerate() {
            let shift = (0..plane).fold(low, |s, _| s + 2);
            for (t, (c, r)) in bits.iter_mut().zip(c.iter().zip(r)) {
                // The digits from bit `shift` on, rounded: those of c minus those of r.
                let above = c.shr(shift).sub(r.and(all).shr(shift)).and(all.shr(shift)).shr(2);
                let bit = above.or(W::default().sub(above)).not().shr(W::BITS - 1);
                *t = t.or(bit.shl(row));
            }
        }
    }
}
