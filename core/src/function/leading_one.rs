//! Normalises positive values by their leading one, to a factor of four.
//!
//! A value of at least 4, below `4^J`, lies in octave `j` if `4^j <= x < 4^(j+1)`; smaller ones lie
//! in octave 0. The octave is shared as the bits `t_i = [x < 4^i]`, `i` from 1 to `J - 1`, in
//! words, so that any public weights on it are local: `Σ_j w_j [octave j] = w_(J-1) + Σ_i t_i
//! (w_(i-1) - w_i)`. With `w_j = 4^(J-1-j)` it scales `x` to the mantissa `x w / 4^J`, of products
//! `x t_i` that the opened word gives for nothing ([`select`](crate::protocol::select)).
//!
//! Thresholds have a dither, below a quarter of each ([`buckets`](crate::protocol::buckets)): an
//! `x` above three quarters of a threshold may count for the octave above, so mantissas are in
//! `[3/16, 1)`; those of octave 0 are multiples of 1/4.
//!
//! Side by side with the thresholds, `x` is compared with both ends of `[low, 4^J)`. Beyond them
//! octave and mantissa are those of the lower bits of `x`, and the caller
//! [replaces](Normalised::within) what it makes of them.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 4 rounds. Each way a word, what [`buckets`](crate::protocol::buckets) sends of `J -
//!   1` thresholds in words of `2 J + 1` bits, two signs ([`crate::protocol::sign`]), and `J + 1`
//!   bits; dealt what these are, two words and a bit a threshold, and two words.
//! - **Result:** exact but for the octave, as said.
//! - **Needs:** `x`, `x - low` and `x - 4^J` in `[-2^(k-2), 2^(k-2))`; `2 <= J`, `2 J + 1 <= k -
//!   2`.
//! - **Alarms:** of both differences, for 2 bits dealt each ([`crate::protocol::alarm`]).
//! - **Memory:** `J + 8` words of scratch an element beside those of thresholds and signs.

use crate::{
    correlation::{Draw, Rows, View, Words, request::BitToWord},
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        alarm::compared,
        buckets::Buckets,
        compare::Comparison,
        conjunction::hide_bits,
        narrow::open_narrow,
        select::{Selector, select},
        truncate::{Cut, Opened, blind_compared},
    },
    word::Word,
};

/// Octaves, mantissas and ends of normalised values.
pub struct Normalised<'a, W> {
    /// The words `[x < 4^i]` for `i` from 1, threshold after threshold.
    below: &'a mut [W],
    /// `x w / 4^J`, with `2 J` fraction bits, in the lower bits of each word.
    pub mantissa: &'a mut [W],
    /// `[x >= low]` of each `x`, then `[x >= 4^J]`: one opened plane, and the shares of its mask.
    ends: &'a mut [W],
    rho: &'a mut [W],
    mask: Option<View<'static>>,
}

impl<'a, W: Word> Normalised<'a, W> {
    /// Lengths of the buffers for `len` values in `octaves` octaves.
    pub fn lengths(len: usize, octaves: u32) -> [usize; 4] {
        [(octaves as usize - 1) * len, len, plane_words::<W>(2 * len), 2 * len]
    }

    /// With buffers of these [lengths](Self::lengths).
    pub fn new([below, mantissa, ends, rho]: [&'a mut [W]; 4]) -> Self {
        Self { below, mantissa, ends, rho, mask: None }
    }

    /// `Σ_j weight(j) [octave j]`: free.
    pub fn weigh(&self, party: &Party<'_, W>, weight: impl Fn(u32) -> i64, out: &mut [W]) {
        let mut last = W::from_i64(weight(0));
        out.fill(W::default());
        for (i, below) in (1..).zip(self.below.chunks_exact(out.len().max(1))) {
            let next = W::from_i64(weight(i));
            party.kernels.add_scaled(out, below, last.sub(next));
            last = next;
        }
        party.kernels.add_constant(out, party.role.first(last));
    }

    /// The words `[x >= low]` of each `x`, then `[x >= 4^J]`: free.
    pub fn ends(&self, party: &Party<'_, W>, out: &mut [W]) {
        self.bit().words(party, out);
    }

    fn bit(&self) -> Selector<'_, W> {
        Selector { open: self.ends, mask: self.mask.expect("normalised before"), rho: self.rho }
    }

    /// `y` where `x` is within both ends, `ends[0]` where it is below, `ends[1]` above: free. `y`
    /// are shares of the truncated value of `word`; its mask is that of all its words, in order.
    ///
    /// # Errors
    ///
    /// The dealer's, and [`Error::Scratch`].
    pub fn within(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        word: &Opened<'_, W>,
        ends: [W; 2],
        y: &mut [W],
    ) -> Result<(), Error> {
        let n = y.len();
        let ([c, both], mut party) = party.scratch([2 * n; 2])?;
        let halves = c.chunks_exact_mut(n.max(1)).zip(both.chunks_exact_mut(n.max(1)));
        halves.for_each(|(c, both)| {
            c.copy_from_slice(word.c);
            both.copy_from_slice(y);
        });
        let mask = View { rows: Rows::Which(&[0, 0]), ..word.mask };
        select(&mut party, draw, &Opened { c, mask, ..*word }, self.bit(), both)?;
        y.copy_from_slice(&both[..n]);
        party.kernels.sub(y, &both[n..]);
        // 1 - [x >= low], [x >= 4^J]
        self.ends(&party, both);
        let [below, above] = ends;
        party.kernels.add_scaled(y, &both[..n], W::default().sub(below));
        party.kernels.add_scaled(y, &both[n..], above);
        party.kernels.add_constant(y, party.role.first(below));
        Ok(())
    }
}

/// Finds octave, mantissa and both ends of each `x`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths or `octaves` do not fit.
pub fn normalise<W: Word>(
    party: &mut Party<'_, W>,
    x: &[W],
    (octaves, low): (u32, u64),
    out: &mut Normalised<'_, W>,
) -> Result<(), Error> {
    let (len, thresholds) = (x.len(), octaves as usize - 1);
    let lengths = [out.below.len(), out.mantissa.len(), out.ends.len(), out.rho.len()];
    assert!(lengths == Normalised::<W>::lengths(len, octaves), "normalise: lengths differ");
    let (lanes, both) = (plane_words::<W>(len), plane_words::<W>(2 * len));
    let ([c, ends, planes], mut party) = party.scratch([len, 2 * len, thresholds * lanes + both])?;
    let mut draw = party.draw()?;
    let cut = Cut::signed(0);
    let mask = blind_compared(&mut party, &mut draw, x, cut, c);
    open_narrow(&mut party, c, cut.bits())?; // round 1
    for (ends, limit) in ends.chunks_exact_mut(len.max(1)).zip([low, 1 << (2 * octaves)]) {
        ends.copy_from_slice(c);
        party.kernels.add_constant(ends, W::default().sub(W::from_u64(limit)));
    }
    let word = Opened { c, mask, cut };
    let differences = Opened { c: ends, mask: View { rows: Rows::Which(&[0, 0]), ..mask }, cut };
    compare_all(&mut party, &mut draw, (&word, &differences), octaves, planes)?; // rounds 2, 3

    let masks =
        if party.is_clear() { draw.mask(planes.len()).view() } else { hide_bits(&mut party, &mut draw, planes)? };
    if !party.is_clear() {
        party.open_bits(planes)?; // round 4
    }
    let (t, of_ends) = planes.split_at(thresholds * lanes);
    out.ends.copy_from_slice(of_ends);
    let mask = masks.slice(thresholds * lanes, both);
    out.mask = Some(mask);
    mask_in_words(&mut party, &mut draw, mask, out.rho)?;
    let compared_words = (differences.c, Words::Mask(differences.mask), 2 * len, cut.bits());
    compared(&mut party, &mut draw, compared_words, (out.ends, mask))?;
    scale(&mut party, &mut draw, (x, &word, octaves), (t, masks), out)
}

/// A bit mask in words; 0 where nothing is masked.
fn mask_in_words<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    bits: View<'_>,
    rho: &mut [W],
) -> Result<(), Error> {
    if party.is_clear() {
        rho.fill(W::default());
        return Ok(());
    }
    let request = BitToWord { bits, len: rho.len(), width: W::BITS };
    party.take(draw, request, &mut [rho])
}

/// The planes of the thresholds, then that of the signs of both differences: two rounds.
fn compare_all<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (word, differences): (&Opened<'_, W>, &Opened<'_, W>),
    octaves: u32,
    planes: &mut [W],
) -> Result<(), Error> {
    let (lanes, both) = (plane_words::<W>(word.c.len()), plane_words::<W>(differences.c.len()));
    let (t, signs) = planes.split_at_mut((octaves as usize - 1) * lanes);
    let buckets = Buckets::new((0, 2 * octaves + 1), octaves as usize - 1);
    let bit = word.cut.bits() - 2;
    if party.is_clear() {
        buckets.clear(party, word, t)?;
        let ([z, r], party) = party.scratch([differences.c.len(); 2])?;
        party.expand(differences.mask, r);
        z.copy_from_slice(differences.c);
        party.kernels.sub(z, r);
        party.kernels.to_planes(signs, z, bit);
        return Ok(());
    }
    let comparison = Comparison::of_bit(bit);
    let digits = comparison.digits() * both;
    let ([state, joined, lt, eq], mut party) =
        party.scratch([buckets.state_planes() * lanes, buckets.joined_planes() * lanes, digits, digits])?;
    comparison.leaves(&mut party, draw, (differences.c, Words::Mask(differences.mask)), [lt, eq, signs])?;
    for (round, level) in comparison.levels().enumerate() {
        let of_t = if round == 0 { buckets.upper.variables() } else { buckets.last_variables() } * lanes;
        let ([open], mut party) = party.scratch([of_t + level.variables() * both])?;
        let (first, second) = open.split_at_mut(of_t);
        match round {
            0 => buckets.prepare(&mut party, draw, word, state, first)?,
            _ => buckets.prepare_last(&mut party, joined, first)?,
        }
        level.prepare(both, [lt, eq], second);
        let masks = hide_bits(&mut party, draw, open)?;
        party.open_bits(open)?; // the one round of this level
        let (first, second) = open.split_at(of_t);
        let first = (first, masks.slice(0, of_t));
        match round {
            0 => buckets.upper.complete(&mut party, draw, state, first, joined)?,
            _ => buckets.complete_last(&mut party, draw, joined, first, t)?,
        }
        level.complete(&mut party, draw, both, (second, masks.slice(of_t, second.len())), [lt, eq])?;
    }
    comparison.finish(&party, lt, signs);
    Ok(())
}

/// `x w`, and the bits of the thresholds in words, from their opened planes.
fn scale<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (x, word, octaves): (&[W], &Opened<'_, W>, u32),
    (t, masks): (&[W], View<'_>),
    out: &mut Normalised<'_, W>,
) -> Result<(), Error> {
    let (len, lanes) = (x.len(), plane_words::<W>(x.len()));
    let ([rho, product], mut party) = party.scratch([len; 2])?;
    out.mantissa.copy_from_slice(x);
    // w_(i-1) - w_i
    let mut weight = W::from_u64(3).shl(2 * (octaves - 2));
    for i in 0..octaves as usize - 1 {
        let (open, mask) = (&t[i * lanes..][..lanes], masks.slice(i * lanes, lanes));
        mask_in_words(&mut party, draw, mask, rho)?;
        let bit = Selector { open, mask, rho };
        product.copy_from_slice(x);
        select(&mut party, draw, word, bit, product)?;
        party.kernels.add_scaled(out.mantissa, product, weight);
        weight = weight.shr(2);
        bit.words(&party, &mut out.below[i * len..][..len]);
    }
    Ok(())
}
