//! Kernels on bit planes; see the [module](super) for their layout.

use crate::word::Word;

/// Lanes of a product's partial results.
const BLOCK: usize = 64;

/// Planes `1..2^width` of the one-hot vector of the number whose bit planes are `bits`, lowest first.
///
/// Bit by bit: the entries for the lower bits split by the next one.
#[inline(always)]
pub fn one_hot<W: Word>(hot: &mut [W], bits: &[W], width: u32) {
    let lanes = bits.len() / width.max(1) as usize;
    if lanes == 0 {
        return;
    }
    for (b, bit) in bits.chunks_exact(lanes).enumerate() {
        let (low, high) = hot.split_at_mut(((1 << b) - 1) * lanes);
        // The entry for this bit alone is what the others leave of it.
        let (alone, high) = high.split_at_mut(lanes);
        alone.copy_from_slice(bit);
        for (low, high) in low.chunks_exact_mut(lanes).zip(high.chunks_exact_mut(lanes)) {
            for ((low, high), (alone, bit)) in low.iter_mut().zip(high).zip(alone.iter_mut().zip(bit)) {
                *high = low.and(*bit);
                *low = low.xor(*high);
                *alone = alone.xor(*high);
            }
        }
    }
}

/// From XOR shares of the one-hot vector of a digit `d` (planes `1..2^width`, see [`one_hot`]) to shares of `lt = [c < d]` and `eq = [c = d]`, for
/// the public digit `c` with bit planes `c`.
///
/// `width` is 1 to 4.
#[inline(always)]
pub fn digit_less_equal<W: Word>(lt: &mut [W], eq: &mut [W], c: &[W], hot: &[W], width: u32, first: W) {
    match width {
        1 => less_equal::<W, 2>(lt, eq, c, hot, first),
        2 => less_equal::<W, 4>(lt, eq, c, hot, first),
        3 => less_equal::<W, 8>(lt, eq, c, hot, first),
        4 => less_equal::<W, 16>(lt, eq, c, hot, first),
        _ => panic!("a digit has one to four bits"),
    }
}

/// [`digit_less_equal`] of a digit below `N`. From the top bit of `c` down, one half of the vector stays: the upper where the bit is
/// set; where it is not, `d > c` if `d` is in the upper. Unrolled, so that lanes go side by side in registers.
#[inline(always)]
fn less_equal<W: Word, const N: usize>(lt: &mut [W], eq: &mut [W], c: &[W], hot: &[W], first: W) {
    let lanes = lt.len();
    let eq = &mut eq[..lanes];
    let hot: [&[W]; N] = core::array::from_fn(|j| &hot[j.saturating_sub(1) * lanes..][..lanes]);
    let c: [&[W]; 4] = core::array::from_fn(|b| &c[if 1 << b < N { b * lanes } else { 0 }..][..lanes]);
    for i in 0..lanes {
        let mut leaves: [W; N] = core::array::from_fn(|j| if j == 0 { first } else { hot[j][i] });
        leaves[0] = leaves.iter().fold(W::default(), |sum, leaf| sum.xor(*leaf));
        let mut less = W::default();
        for bit in (0..4usize).rev() {
            let half = 1 << bit;
            if half < N {
                let d = c[bit][i];
                let mut above = W::default();
                for j in 0..half {
                    above = above.xor(leaves[half + j]);
                    leaves[j] = select(d, leaves[half + j], leaves[j]);
                }
                less = less.xor(above.and(d.not()));
            }
        }
        lt[i] = less;
        eq[i] = leaves[0];
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

/// `out ^= x ∏ open[v]` over the variables `v` in `set`; without `x`, the product where `first` is set.
#[inline(always)]
fn add_product<W: Word>(out: &mut [W], x: Option<&[W]>, open: &[W], set: u16, first: W) {
    let lanes = out.len();
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
    out.fill(W::default());
    let variables = (0..16).map(|v| 1 << v).zip(shares.chunks_exact(lanes));
    let known = variables.chain(needed_subsets(terms).zip(products.chunks_exact(lanes)));
    for (set, x) in core::iter::once((0, None)).chain(known.map(|(set, x)| (set, Some(x)))) {
        for (term, out) in terms.iter().zip(out.chunks_exact_mut(lanes)).filter(|(t, _)| set & !**t == 0) {
            add_product(out, x, open, term & !set, first);
        }
    }
}
