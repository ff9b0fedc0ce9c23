//! Kernels on bit planes; see the [module](super) for their layout.

use crate::word::Word;

/// Bits of a digit that [`digit_less_equal`] compares, at most.
pub const MAX_DIGIT_BITS: u32 = 5;
/// Lanes of a product's partial results.
const BLOCK: usize = if cfg!(target_pointer_width = "64") { 64 } else { 8 };

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
/// `width` is 1 to [`MAX_DIGIT_BITS`].
#[inline(always)]
pub fn digit_less_equal<W: Word>(lt: &mut [W], eq: &mut [W], c: &[W], hot: &[W], width: u32, first: W) {
    match width {
        1 => less_equal::<W, 2>(lt, eq, c, hot, first),
        2 => less_equal::<W, 4>(lt, eq, c, hot, first),
        3 => less_equal::<W, 8>(lt, eq, c, hot, first),
        4 => less_equal::<W, 16>(lt, eq, c, hot, first),
        MAX_DIGIT_BITS => less_equal::<W, 32>(lt, eq, c, hot, first),
        _ => panic!("a digit has one to five bits"),
    }
}

/// [`digit_less_equal`] of a digit below `N`. From the top bit of `c` down, one half of the vector stays: the upper where the bit is
/// set; where it is not, `d > c` if `d` is in the upper. Unrolled, so that lanes go side by side in registers.
#[inline(always)]
fn less_equal<W: Word, const N: usize>(lt: &mut [W], eq: &mut [W], c: &[W], hot: &[W], first: W) {
    let lanes = lt.len();
    let eq = &mut eq[..lanes];
    let hot: [&[W]; N] = core::array::from_fn(|j| &hot[j.saturating_sub(1) * lanes..][..lanes]);
    let c: [&[W]; MAX_DIGIT_BITS as usize] =
        core::array::from_fn(|b| &c[if 1 << b < N { b * lanes } else { 0 }..][..lanes]);
    for i in 0..lanes {
        let mut leaves: [W; N] = core::array::from_fn(|j| if j == 0 { first } else { hot[j][i] });
        leaves[0] = leaves.iter().fold(W::default(), |sum, leaf| sum.xor(*leaf));
        let mut less = W::default();
        for bit in (0..MAX_DIGIT_BITS as usize).rev() {
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

/// How many [`needed_subsets`] there are.
pub fn needed_subset_count(terms: &[u16]) -> usize {
    match terms {
        [term] => (1 << term.count_ones()) - 1 - term.count_ones() as usize,
        _ => needed_subsets(terms).count(),
    }
}

/// Variables of a term, at most.
pub const MOST_VARIABLES: usize = 9;

/// The subsets of a term. Bit `b` of a subset's number stands for member `b` of the term.
struct TermSubsets {
    members: [u8; MOST_VARIABLES],
    len: usize,
    /// Of each subset of two or more, its place among [`needed_subsets`].
    places: [u16; 1 << MOST_VARIABLES],
    /// Place of the first that no earlier term has; those follow each other, from the largest on.
    own: usize,
}

impl TermSubsets {
    /// Those of term `i`.
    ///
    /// # Panics
    ///
    /// If it has more than [`MOST_VARIABLES`].
    #[inline(always)]
    fn of(terms: &[u16], i: usize) -> Self {
        let (term, earlier) = (terms[i], &terms[..i]);
        let mut subsets = Self {
            members: [0; MOST_VARIABLES],
            len: term.count_ones() as usize,
            places: [0; 1 << MOST_VARIABLES],
            own: needed_subset_count(earlier),
        };
        for (member, v) in subsets.members[..subsets.len].iter_mut().zip((0u8..16).filter(|v| term >> v & 1 == 1)) {
            *member = v;
        }
        let (mut next, mut set) = (subsets.own, term);
        for place in subsets.places[..1 << subsets.len].iter_mut().rev() {
            if set.count_ones() > 1 {
                let at = if earlier.iter().any(|t| set & !t == 0) {
                    needed_subsets(earlier).position(|s| s == set).unwrap_or(0)
                } else {
                    next += 1;
                    next - 1
                };
                #[allow(clippy::cast_possible_truncation)] // fewer than 2^16 sets of 16 variables
                let at = at as u16;
                *place = at;
            }
            set = set.wrapping_sub(1) & term;
        }
        subsets
    }
}

/// The products, over each of [`needed_subsets`]`(terms)`, of the planes in `masks` (`lanes` words
/// each).
#[inline(always)]
pub fn subsets<W: Word>(products: &mut [W], masks: &[W], lanes: usize, terms: &[u16]) {
    if lanes == 0 {
        return;
    }
    for i in 0..terms.len() {
        let TermSubsets { members, len, places, own } = TermSubsets::of(terms, i);
        let mask = |b: u32| &masks[usize::from(members[b as usize]) * lanes..][..lanes];
        for set in (3usize..1 << len).filter(|set| set.count_ones() > 1) {
            let (rest, to) = (set & (set - 1), usize::from(places[set]));
            if to < own {
                continue;
            }
            let to = to * lanes;
            if rest.count_ones() > 1 {
                let from = usize::from(places[rest]) * lanes;
                products.copy_within(from..from + lanes, to);
            } else {
                products[to..to + lanes].copy_from_slice(mask(rest.trailing_zeros()));
            }
            for (p, m) in products[to..to + lanes].iter_mut().zip(mask(set.trailing_zeros())) {
                *p = p.and(*m);
            }
        }
    }
}

/// XOR shares of the product of the variables in each of `terms`. Variable `v` was opened as `open[v] = v ^ mask`; `shares` are shares of
/// the masks and `products` those of the products of masks over [`needed_subsets`]`(terms)`.
///
/// `∏ (open ^ mask) = ⊕_S ∏_{v not in S} open[v] · [∏_{v in S} mask]`, over all subsets `S` of the
/// term: variable by variable, as `x_1 ^ open[v] x_0` of the sums `x_1` over the sets with and
/// `x_0` over those without it.
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
    // For each variable, the sum over the sets without it.
    let mut without = [[W::default(); BLOCK]; MOST_VARIABLES];
    for (i, out) in out.chunks_exact_mut(lanes).enumerate() {
        let TermSubsets { members, len, places, .. } = TermSubsets::of(terms, i);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let (from, width) = (block * BLOCK, out.len());
            let at = |plane: usize| plane * lanes + from;
            for set in 0usize..1 << len {
                match set.count_ones() {
                    0 => out.fill(first),
                    1 => {
                        let v = usize::from(members[set.trailing_zeros() as usize]);
                        out.copy_from_slice(&shares[at(v)..][..width]);
                    }
                    _ => out.copy_from_slice(&products[at(usize::from(places[set]))..][..width]),
                }
                let done = set.trailing_ones() as usize;
                for (member, without) in members[..done].iter().zip(&without) {
                    let open = &open[at(usize::from(*member))..][..width];
                    for ((x, open), without) in out.iter_mut().zip(open).zip(without) {
                        *x = x.xor(open.and(*without));
                    }
                }
                if done < len {
                    without[done][..width].copy_from_slice(out);
                }
            }
        }
    }
}
