//! Quotients of shared fixed-point values.
//!
//! The divisor is normalised by its leading one ([`leading_one`](super::leading_one)), `b = m
//! 4^(j+1)`. The dividend is scaled by the octave's power `w = 4^(J-1-j)` first, so that the
//! quotient keeps its precision for large divisors and small ones, and then multiplied by `1 / m`,
//! which is mapped: `a / b = a w (1 / m) / 4^J`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 15 rounds for `k = 32`, 17 for `k = 64`. Each way: the bits of the normalisation; six
//!   words; those of a clamp that truncates ([`crate::protocol::clamp::clamped`]); those of a
//!   mapping of lines, for `k = 64` cubics; and the result's truncation.
//! - **Result:** within [`bound`] of `a / b`. A divisor below one unit, or negative, counts as one
//!   unit, one beyond the [limit](limits) as that limit; a quotient beyond its limit has its sign
//!   and at least that magnitude, at most 5.4 times as much.
//! - **Needs:** a dividend within its [limit](limits); a divisor, `b - 1` and `b - 4^J` in
//!   `[-2^(k-2), 2^(k-2))`.
//! - **Memory:** tables of 2 kB a coefficient on the stack; scratch as a dry run says.
//! - **Source:** Catrina, Saxena, "Secure computation with fixed-point numbers" (FC 2010), for
//!   division by a normalised divisor; the order of the products is derived here.

use super::{
    Numbers,
    leading_one::{Normalised, normalise},
    method::{Bound, mapping::Mapping, octaves::OctaveFunction},
    pow2,
    scalar::Octaves,
};
use crate::{
    link::Error,
    party::Party,
    protocol::{
        clamp::clamped,
        masked::{Masked, mask_and_open},
        product::{multiply, multiply_halves},
        times::times_masked,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};

/// How many bits of a word are what.
struct Layout {
    /// Octaves of the divisor.
    octaves: u32,
    /// Bits that the scaled dividend loses, and those that its product with the reciprocal does.
    dropped: [u32; 2],
    /// `log2` of the largest scaled dividend after that.
    scaled_log2: u32,
}

impl Layout {
    fn new(numbers: &Numbers) -> Self {
        let Numbers { ring_bits, frac_bits } = *numbers;
        // Dividend and divisor share the ring.
        let (n, mantissa_bits) = (numbers.octaves().min(ring_bits / 2), numbers.mantissa_bits());
        // A unit of the scaled dividend is up to 5.4 / 2^guard units of the quotient.
        let guard = if ring_bits == 32 { 1 } else { 3 };
        let first = (n - guard).saturating_sub(frac_bits);
        let scaled_log2 = ring_bits - 5 - mantissa_bits;
        Self { octaves: n / 2, dropped: [first, n + mantissa_bits - frac_bits - first], scaled_log2 }
    }
}

/// The largest magnitudes of dividend, divisor and quotient.
pub fn limits(numbers: &Numbers) -> [f64; 3] {
    let Layout { octaves, dropped, scaled_log2, .. } = Layout::new(numbers);
    let unit = 1.0 / pow2(numbers.frac_bits);
    let quotient = libm::exp2(f64::from(scaled_log2 + dropped[0] + numbers.frac_bits) - f64::from(2 * octaves));
    [pow2(numbers.ring_bits - 1 - 2 * octaves) * unit, pow2(2 * octaves) * unit, quotient * unit]
}

/// How far a quotient within its limit is from the exact one.
pub fn bound(numbers: &Numbers) -> Bound {
    let Layout { octaves, dropped, .. } = Layout::new(numbers);
    let mapping = Mapping::of_octaves(numbers);
    let relative = mapping.mantissa_error(&reciprocal(numbers));
    // A truncated dividend errs by a unit, times the reciprocal.
    let coarse = libm::exp2(f64::from(dropped[0] + numbers.frac_bits) - f64::from(2 * octaves));
    Bound { units: 1.0 + if dropped[0] > 0 { coarse * 16.0 / 3.0 } else { 0.0 }, relative }
}

fn reciprocal(numbers: &Numbers) -> OctaveFunction {
    OctaveFunction::new(Octaves::Power { halves: -2 }, false, numbers)
}

/// `out = a / b`, all with `numbers.frac_bits` fraction bits.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn divide<W: Word>(
    party: &mut Party<'_, W>,
    numbers: &Numbers,
    (a, b): (&[W], &[W]),
    out: &mut [W],
) -> Result<(), Error> {
    assert!(a.len() == b.len() && b.len() == out.len(), "divide: lengths differ");
    let layout = Layout::new(numbers);
    let n = a.len();
    let (buffers, mut party) = party.scratch(Normalised::<W>::lengths(n, layout.octaves))?;
    let mut place = Normalised::new(buffers);
    let ([factors, scaled, held, y, c], mut party) = party.scratch([2 * n, n, n, n, n])?;
    normalise(&mut party, b, (layout.octaves, 1), &mut place)?; // four rounds
    let (dividend, w) = factors.split_at_mut(n);
    dividend.copy_from_slice(a);
    place.weigh(&party, |j| 1 << (2 * (layout.octaves - 1 - j)), w);
    within(&mut party, layout.octaves, &mut place, w)?; // a round
    multiply_halves(&mut party, factors, scaled)?; // a round
    let most = W::from_u64(1).shl(layout.scaled_log2);
    clamped(&mut party, scaled, layout.dropped[0], [W::default().sub(most), most], held)?; // four rounds
    let mapping = Mapping::of_octaves(numbers);
    let (mask, surplus) =
        mapping.mantissa(&mut party, (&reciprocal(numbers), 2 * layout.octaves), (place.mantissa, held), y)?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, y, Cut::signed(surplus), c)?; // a round
    truncated(&mut party, &mut draw, &word, out)?;
    times_masked(&mut party, &mut draw, &word, Masked { words: held, mask }, out)?;
    truncate(&mut party, out, layout.dropped[1]) // a round
}

/// Replaces weights and mantissas of divisors beyond both ends by those at the ends: a round.
fn within<W: Word>(
    party: &mut Party<'_, W>,
    octaves: u32,
    place: &mut Normalised<'_, W>,
    w: &mut [W],
) -> Result<(), Error> {
    let n = w.len();
    let ([ends, factors, product], mut party) = party.scratch([2 * n, 3 * n, n])?;
    place.ends(&party, ends);
    let (low, high) = ends.split_at(n);
    factors[..n].copy_from_slice(w);
    factors[n..2 * n].copy_from_slice(place.mantissa);
    factors[2 * n..].copy_from_slice(low);
    party.kernels.sub(&mut factors[2 * n..], high);
    let mask = party.draw()?.mask(3 * n);
    let mask = mask_and_open(&mut party, factors, mask)?; // the one round
    let factor = |i: usize| Masked { words: &factors[i * n..][..n], mask: mask.slice(i * n, n) };
    let largest = W::from_u64(1).shl(2 * (octaves - 1));
    // At the lower end 1/4, scaled by the largest weight; at the upper 1, by the smallest.
    let at_ends = [[largest, W::from_u64(1)], [largest, W::from_u64(1).shl(2 * octaves)]];
    for (i, (words, [below, above])) in [w, &mut *place.mantissa].into_iter().zip(at_ends).enumerate() {
        multiply(&mut party, factor(i), factor(2), product)?;
        words.copy_from_slice(product);
        party.kernels.add_scaled(words, low, W::default().sub(below));
        party.kernels.add_scaled(words, high, above);
        party.kernels.add_constant(words, party.role.first(below));
    }
    Ok(())
}
