//! Kernels on bit planes and packed words; see the [module](super) for their layout.

use super::{packed_words, plane_words};
use crate::word::Word;

/// Lanes that one pass holds in registers or the first-level cache.
const LANES: usize = 16;

/// Lanes of a product's partial results.
const BLOCK: usize = 64;

/// Rows of a plane: one for each bit of a word.
const MAX_BITS: usize = 64;

/// Bit `low + i` of each word goes to plane `i`, for as many planes as `planes` holds.
#[inline(always)]
pub fn to_planes<W: Word>(planes: &mut [W], words: &[W], low: u32) {
    let lanes = plane_words::<W>(words.len());
    let k = W::BITS as usize;
    for at in (0..lanes).step_by(LANES) {
        let width = LANES.min(lanes - at);
        let mut square = [[W::default(); LANES]; MAX_BITS];
        for (row, square) in square.iter_mut().enumerate().take(k) {
            let from = (row * lanes + at).min(words.len());
            let row = &words[from..(row * lanes + at + width).min(words.len()).max(from)];
            for (s, w) in square.iter_mut().zip(row) {
                *s = w.shr(low);
            }
        }
        transpose(&mut square);
        for (plane, square) in planes.chunks_exact_mut(lanes).zip(&square) {
            for (p, s) in plane[at..at + width].iter_mut().zip(square) {
                *p = *s;
            }
        }
    }
}

/// Transposes, in each of the `LANES` columns, the square of `k` words of `k` bits, by halves (Warren, *Hacker's Delight*, 7-3).
#[inline(always)]
fn transpose<W: Word>(square: &mut [[W; LANES]; MAX_BITS]) {
    let k = W::BITS as usize;
    let mut half = k / 2;
    while half > 0 {
        // Bits i with i & half == 0.
        #[allow(clippy::cast_possible_truncation)] // half is below 64
        let shift = half as u32;
        let mut mask = W::low_mask(shift);
        let mut width = 2 * shift;
        while width < W::BITS {
            mask = mask.or(mask.shl(width));
            width *= 2;
        }
        for i in (0..k).filter(|i| i & half == 0) {
            let (upper, lower) = square.split_at_mut(i + half);
            for (a, b) in upper[i].iter_mut().zip(&mut lower[0]) {
                let t = a.shr(shift).xor(*b).and(mask);
                *b = b.xor(t);
                *a = a.xor(t.shl(shift));
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
        return;
    }
    let lanes = plane_words::<W>(words.len());
    packed.fill(W::default());
    let low = W::low_mask(bits);
    for (row, words) in (0u32..).zip(words.chunks(lanes)) {
        let (at, shift) = (row * bits / W::BITS, row * bits % W::BITS);
        for (p, w) in packed[at as usize * lanes..][..lanes].iter_mut().zip(words) {
            *p = p.or(w.and(low).shl(shift));
        }
        if shift + bits > W::BITS {
            for (p, w) in packed[(at as usize + 1) * lanes..][..lanes].iter_mut().zip(words) {
                *p = p.or(w.and(low).shr(W::BITS - shift));
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

/// Planes `1..2^width` of the one-hot vector of the number whose bit planes are `bits`, lowest first.
#[inline(always)]
pub fn one_hot<W: Word>(hot: &mut [W], bits: &[W], width: u32) {
    let lanes = bits.len() / width.max(1) as usize;
    if lanes == 0 {
        return;
    }
    for (j, plane) in (1usize..).zip(hot.chunks_exact_mut(lanes)) {
        plane.fill(W::default().not());
        for (b, bit) in bits.chunks_exact(lanes).enumerate() {
            let flip = if j >> b & 1 == 1 { W::default() } else { W::default().not() };
            for (p, bit) in plane.iter_mut().zip(bit) {
                *p = p.and(bit.xor(flip));
            }
        }
    }
}

/// From XOR shares of the one-hot vector of a digit `d` (planes `1..2^width`, see [`one_hot`]) to shares of `lt = [c < d]` and `eq = [c = d]`, for
/// the public digit `c` with bit planes `c`.
///
/// Both select one of `2^width` planes by the public `c`: `eq` the plane `c` itself, `lt` the sum of the planes above it.
#[inline(always)]
pub fn digit_less_equal<W: Word>(lt: &mut [W], eq: &mut [W], c: &[W], hot: &[W], width: u32, first: W) {
    let lanes = lt.len();
    let n = 1usize << width;
    let mut digit = [W::default(); 4];
    for i in 0..lanes {
        for (d, c) in digit.iter_mut().zip(c.chunks_exact(lanes)) {
            *d = c[i];
        }
        // leaves[j] = hot[j] and above[j] = sum of hot[j + 1..]; then a multiplexer by the bits of c.
        let (mut leaves, mut above) = ([W::default(); 16], [W::default(); 16]);
        let mut sum = W::default();
        for j in (1..n).rev() {
            above[j] = sum;
            leaves[j] = hot[(j - 1) * lanes + i];
            sum = sum.xor(leaves[j]);
        }
        above[0] = sum;
        leaves[0] = sum.xor(first);
        let mut half = n;
        for d in &digit[..width as usize] {
            half /= 2;
            for j in 0..half {
                leaves[j] = select(*d, leaves[2 * j + 1], leaves[2 * j]);
                above[j] = select(*d, above[2 * j + 1], above[2 * j]);
            }
        }
        (lt[i], eq[i]) = (above[0], leaves[0]);
    }
}

/// `a` where `bit` is set, else `b`.
#[inline(always)]
pub(super) fn select<W: Word>(bit: W, a: W, b: W) -> W {
    b.xor(a.xor(b).and(bit))
}

/// The sets of two or more variables whose products are dealt for `terms`: all subsets of a term, each once, term by term.
pub fn needed_subsets(terms: &[u16]) -> impl Iterator<Item = u16> + Clone + '_ {
    terms.iter().enumerate().flat_map(move |(i, term)| {
        core::iter::successors(Some(*term), move |s| (*s & term).checked_sub(1).map(|s| s & term).filter(|s| *s != 0))
            .filter(move |s| s.count_ones() > 1 && terms[..i].iter().all(|t| s & !t != 0))
    })
}

/// The products, over each of [`needed_subsets`]`(terms)`, of the planes in `masks` (`lanes` words each).
#[inline(always)]
pub fn subsets<W: Word>(products: &mut [W], masks: &[W], lanes: usize, terms: &[u16]) {
    if lanes == 0 {
        return;
    }
    for (s, product) in needed_subsets(terms).zip(products.chunks_exact_mut(lanes)) {
        product.fill(W::default().not());
        for v in (0..16).filter(|v| s >> v & 1 == 1) {
            for (p, m) in product.iter_mut().zip(&masks[v * lanes..][..lanes]) {
                *p = p.and(*m);
            }
        }
    }
}

/// XOR shares of the product of the variables in each of `terms`. Variable `v` was opened as `open[v] = v ^ mask`; `shares` are shares of
/// the masks and `products` those of the products of masks over [`needed_subsets`]`(terms)`.
///
/// `∏ (open ^ mask) = ⊕_S ∏_{v not in S} open[v] · [∏_{v in S} mask]`, over all subsets `S` of the term.
#[inline(always)]
pub fn conjunctions<W: Word>(
    out: &mut [W],
    open: &[W],
    shares: &[W],
    products: &[W],
    lanes: usize,
    terms: &[u16],
    first: W,
) {
    if lanes == 0 {
        return;
    }
    // out ^= x · ∏ of the opened variables in `set`
    let accumulate = |out: &mut [W], x: Option<&[W]>, set: u16| {
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let (from, mut part) = (block * BLOCK, [first; BLOCK]);
            let part = &mut part[..out.len()];
            if let Some(x) = x {
                part.copy_from_slice(&x[from..from + out.len()]);
            }
            for v in (0..16).filter(|v| set >> v & 1 == 1) {
                for (p, o) in part.iter_mut().zip(&open[v * lanes + from..][..out.len()]) {
                    *p = p.and(*o);
                }
            }
            for (o, p) in out.iter_mut().zip(part) {
                *o = o.xor(*p);
            }
        }
    };
    out.fill(W::default());
    let variables = (0..16).map(|v| 1 << v).zip(shares.chunks_exact(lanes));
    let known = variables.chain(needed_subsets(terms).zip(products.chunks_exact(lanes)));
    for (set, x) in core::iter::once((0, None)).chain(known.map(|(set, x)| (set, Some(x)))) {
        for (term, out) in terms.iter().zip(out.chunks_exact_mut(lanes)).filter(|(t, _)| set & !**t == 0) {
            accumulate(out, x, term & !set);
        }
    }
}
