//! Which of seven cells a masked word lies in: the leaves and joints of [`crate::optimizer::cells`], bit-sliced.
//!
//! `c = U + r` is public. From bit `low` on, `c` and `r` have five digits `c_0 … c_4` and `r_0 … r_4` of four bits, the topmost perhaps of fewer; the dealer
//! gives one-hot vectors of those of `r`, XOR-shared. Every predicate of one digit, with `c` public, is then a sum of entries that
//! `c` selects:
//!
//! | leaf | is 1 where |
//! | --- | --- |
//! | `e`, `z` | `r_i = c_i`; `r_i = c_i - 1` modulo the digit |
//! | `l` | a borrow comes out of the digit's upper two bits: `r_i / 4 > c_i / 4` |
//! | `a`, `b` | `c_i - r_i` modulo 16 is below 4, without (`a`) and with a borrow out of the digit (`b`) |
//!
//! The threshold above a digit's lower two bits is `[U < 4^j 2^low] = E ^ …`: the digits of `r` above equal those of `c` (`E`) or of `c - 1` (`F`), and
//! the digit itself has `a` or `b`; the threshold on top of a digit is `E ^ l E ^ l F`.

use super::plane_words;
use crate::word::Word;

/// Lanes of a pass: what a digit's 16 planes of them take fits the first-level cache.
const BLOCK: usize = 32;
type Block<W> = [W; BLOCK];

/// Leaves that the first round opens: `x3 x4 y3 y4`, `l2 a2 b2 e2 z2`, `e1 z1`, `l0 a0 b0`. `x` says that digits 3 and 4 equal those
/// of `c`, `y` those of `c - 1`.
pub(crate) const FIRST_LEAVES: usize = 14;
/// All leaves: also `l1 a1 b1`, which the second round opens, and `e1` once more.
pub(crate) const LEAVES: usize = 18;
/// Products of the first round, over its leaves: `x, x l2, y l2, x a2, y b2, x e2, x z2, y z2, l0 e1, l0 z1, a0 e1, b0 z1`.
pub(crate) const FIRST_TERMS: [u16; 12] = {
    let (x, y, e1, z1) = (0b11, 0b1100, 1 << 9, 1 << 10);
    let (l2, a2, b2, e2, z2) = (1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8);
    let (l0, a0, b0) = (1 << 11, 1 << 12, 1 << 13);
    [x, x | l2, y | l2, x | a2, y | b2, x | e2, x | z2, y | z2, l0 | e1, l0 | z1, a0 | e1, b0 | z1]
};
/// Variables of the second round: `E F`, then for the thresholds on digits 0 (upper half), 0 (top), 1 (upper half) the pairs `a b`, then `l1`.
pub(crate) const SECOND_LEAVES: usize = 9;
/// Products of the second round: `E a` of the first three thresholds and `E l1`, then `F b` and `F l1`.
pub(crate) const SECOND_TERMS: [u16; 8] = {
    let (e, f, l) = (0b1, 0b10, 1 << 8);
    [e | 1 << 2, e | 1 << 4, e | 1 << 6, e | l, f | 1 << 3, f | 1 << 5, f | 1 << 7, f | l]
};
/// Thresholds, and so nested bits.
pub(crate) const THRESHOLDS: usize = 6;
/// Bits of a digit, the topmost perhaps excepted.
pub(crate) const DIGIT: usize = 4;

/// Widths of the five digits from bit `low` on, lowest first: four bits each, the topmost as many as there are below the word's top bit.
///
/// # Panics
///
/// If there are none.
pub(crate) fn cell_digits<W: Word>(low: u32) -> [u8; 5] {
    let rest = (W::BITS - 1).checked_sub(low + 16);
    let top = rest.and_then(|rest| u8::try_from(rest).ok()).unwrap_or(0).min(4);
    assert!(top > 0, "a word has not so many bits above the lowest threshold");
    [4, 4, 4, 4, top]
}

/// `a` where `bit` is set, else `b`.
#[inline(always)]
fn pick<W: Word>(bit: W, a: W, b: W) -> W {
    b.xor(a.xor(b).and(bit))
}

/// Entry `2 high + low` of four.
#[inline(always)]
fn pick4<W: Word>(low: W, high: W, x: [W; 4]) -> W {
    pick(high, pick(low, x[3], x[2]), pick(low, x[1], x[0]))
}

/// Lanes `at..` of the first `N` planes; zeros beyond the last lane, and for planes that are not there.
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

/// Room for the planes of a digit where they cannot be read in place: those that end before the block does, those that are not there.
struct Spare<W> {
    c: [Block<W>; DIGIT],
    hot: [Block<W>; 15],
    zero: Block<W>,
}

/// Lanes `at..` of the first `N` planes, in place where a whole block follows. Lanes beyond the last are noise.
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

/// A digit in one block: the bits of `c_i`, and the whole one-hot vector of `r_i`, repeated where it is shorter than 16.
struct Digit<'a, W> {
    c: [&'a Block<W>; DIGIT],
    hot: [&'a Block<W>; 16],
}

impl<'a, W: Word> Digit<'a, W> {
    /// Digit `index` of `width` bits. Behind the topmost, which may be shorter, nothing lies.
    #[inline(always)]
    fn new(
        (c, hot): (&'a [W], &'a [W]),
        (index, width): (usize, usize),
        lanes: usize,
        at: usize,
        first: W,
        spare: &'a mut Spare<W>,
    ) -> Self {
        let dealt = view(&hot[15 * index * lanes..], lanes, at, &mut spare.hot);
        let n = 1 << width;
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
        Self { c: view(&c[DIGIT * index * lanes..], lanes, at, &mut spare.c), hot: all }
    }

    /// Entries `4 q..4 q + 4` for the upper half `q` of `c_i + shift`, in lane `i`; `shift` is 0 or -4.
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
            // The four entries from c_i downwards: some of them in its own row, the others at the end of the row before.
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

/// Whether the digit of these bits is 0, in lane `i`.
#[inline(always)]
fn is_zero<W: Word>(c: &[&Block<W>; DIGIT], i: usize) -> W {
    c[0][i].or(c[1][i]).or(c[2][i]).or(c[3][i]).not()
}

/// The leaves, 18 planes, from the planes `c` of the opened word from bit `low` on and the dealt planes `hot` of its mask; the topmost digit
/// has `top` bits, the others four.
#[inline(always)]
pub fn cell_leaves<W: Word>(leaves: &mut [W], c: &[W], hot: &[W], top: u32, first: W) {
    let lanes = leaves.len() / LEAVES;
    let zero = [W::default(); BLOCK];
    let mut spare = Spare { c: [zero; DIGIT], hot: [zero; 15], zero };
    for at in (0..lanes).step_by(BLOCK) {
        let d = Digit::new((c, hot), (3, DIGIT), lanes, at, first, &mut spare);
        let [x3, y3] = d.neighbours();
        let mut c3 = zero;
        for (i, c3) in c3.iter_mut().enumerate() {
            *c3 = is_zero(&d.c, i);
        }
        let [x4, mut y4] = Digit::new((c, hot), (4, top as usize), lanes, at, first, &mut spare).neighbours();
        for (y4, (x4, c3)) in y4.iter_mut().zip(x4.iter().zip(&c3)) {
            *y4 = pick(*c3, *y4, *x4);
        }
        let d = Digit::new((c, hot), (2, DIGIT), lanes, at, first, &mut spare);
        let ([l2, a2, b2], [e2, z2]) = (d.windows(), d.neighbours());
        let d = Digit::new((c, hot), (1, DIGIT), lanes, at, first, &mut spare);
        let ([l1, a1, b1], [e1, z1]) = (d.windows(), d.neighbours());
        let [l0, a0, b0] = Digit::new((c, hot), (0, DIGIT), lanes, at, first, &mut spare).windows();
        let all = [x3, x4, y3, y4, l2, a2, b2, e2, z2, e1, z1, l0, a0, b0, l1, a1, b1, e1];
        store(leaves, lanes, at, &all);
    }
}

/// From the products of the first round, the last four leaves and the planes `c` to the variables of the second round, and to what of the six bits `t`
/// is known by then: all of the upper two, `E` of the fourth.
#[inline(always)]
pub fn cell_joints<W: Word>(variables: &mut [W], t: &mut [W], products: &[W], leaves: &[W], c: &[W]) {
    let lanes = t.len() / THRESHOLDS;
    for at in (0..lanes).step_by(BLOCK) {
        let [x, x_l2, y_l2, x_a2, y_b2, x_e2, x_z2, y_z2, l0_e1, l0_z1, a0_e1, b0_z1]: [Block<W>; 12] =
            load(products, lanes, at);
        let [l1, a1, b1, e1]: [Block<W>; 4] = load(leaves, lanes, at);
        let (c1, c2) = (load(&c[DIGIT * lanes..], lanes, at), load(&c[2 * DIGIT * lanes..], lanes, at));
        let (c1, c2) = (c1.each_ref(), c2.each_ref());
        let mut out = [[W::default(); BLOCK]; SECOND_LEAVES];
        let mut bits = [[W::default(); BLOCK]; THRESHOLDS];
        for i in 0..BLOCK {
            let (no1, no2) = (is_zero(&c1, i), is_zero(&c2, i));
            out[0][i] = x_e2[i];
            out[1][i] = pick(no2, y_z2[i], x_z2[i]);
            // A borrow that comes out of digit 0 leaves digit 1 one less: a borrow out of it, too, where it is 0.
            out[2][i] = a0_e1[i].xor(b0_z1[i].and(no1.not()));
            out[3][i] = b0_z1[i].and(no1);
            out[4][i] = e1[i].xor(l0_e1[i]).xor(l0_z1[i].and(no1.not()));
            out[5][i] = l0_z1[i].and(no1);
            (out[6][i], out[7][i], out[8][i]) = (a1[i], b1[i], l1[i]);
            bits[3][i] = x_e2[i];
            bits[4][i] = x_a2[i].xor(y_b2[i]);
            bits[5][i] = x[i].xor(x_l2[i]).xor(y_l2[i]);
        }
        store(variables, lanes, at, &out);
        store(t, lanes, at, &bits);
    }
}

/// The six nested bits of whole words: `t_j = [U + d - 1 - (c mod d) < 4 d]` with `d = 4^(j-1) 2^low`, plane after plane.
#[inline(always)]
pub fn cells_clear<W: Word>(t: &mut [W], c: &[W], u: &[W], low: u32) {
    let lanes = plane_words::<W>(u.len());
    if lanes == 0 {
        return;
    }
    t.fill(W::default());
    for (row, (c, u)) in (0u32..).zip(c.chunks(lanes).zip(u.chunks(lanes))) {
        for (plane, bits) in t.chunks_exact_mut(lanes).enumerate() {
            let shift = (0..plane).fold(low, |s, _| s + 2);
            let mask = W::low_mask(shift);
            for (t, (c, u)) in bits.iter_mut().zip(c.iter().zip(u)) {
                let above = u.add(mask).sub(c.and(mask)).shr(shift + 2);
                let bit = above.sub(W::from_u64(1)).shr(W::BITS - 1);
                *t = t.or(bit.shl(row));
            }
        }
    }
}
