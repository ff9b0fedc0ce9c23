//! Normalises positive values by their leading one.
//!
//! `x` in `[0, 2^n)` lies in octave `j` if `2^(j-1) <= x < 2^j`; octave 0 holds `x = 0` alone. The
//! octave is shared as a one-hot vector of words `H_j`, so that any public weights on it are local:
//! `P = Σ 2^(n-j) H_j` scales `x` to the mantissa `x P / 2^n`, and roots of `P` or multiples of a
//! logarithm cost nothing more. The thresholds between octaves are compared with a dither, below a
//! quarter of each ([`buckets`]): an `x` above three quarters of a threshold may count for the
//! octave above, so mantissas are in `[3/8, 1)`.
//!
//! [`buckets`] compares with every second power of two. So it is given `4 x` and `2 x`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 5 rounds. Each way `2 (n + 3)` bits, a bit an octave and a word for `P`, and what
//!   [`buckets`] sends of `n / 2` thresholds, twice; dealt `n + 1` words and what it is dealt.
//! - **Result:** exact but for the octave, as said.
//! - **Needs:** `0 <= x < 2^n`, `n` even, `n <= k - 6`.
//! - **Memory:** `2 n` words of scratch an element, and those of [`buckets`].

use crate::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::opened_bits_to_words,
        buckets::buckets,
        conjunction::hide_bits,
        masked::{Masked, mask_and_open},
        narrow::open_narrow,
        times::times_masked,
        truncate::{Cut, Opened, blind_cut},
    },
    word::Word,
};

/// Fraction bits of a mantissa beyond `n`.
pub const EXTRA_BITS: u32 = 2;

/// Writes the octave of each `x` to `hot`, `n + 1` words an element, octave after octave, and the
/// mantissa, with `n + EXTRA_BITS` fraction bits, to `mantissa`; 0 for `x = 0`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths or `n` do not fit.
pub fn normalise<W: Word>(
    party: &mut Party<'_, W>,
    x: &[W],
    n: u32,
    hot: &mut [W],
    mantissa: &mut [W],
) -> Result<(), Error> {
    let (len, octaves) = (x.len(), n as usize);
    assert!(n.is_multiple_of(2) && n + 6 <= W::BITS, "normalise: no such octaves");
    assert!(hot.len() == (octaves + 1) * len && mantissa.len() == len, "normalise: lengths differ");
    let lanes = plane_words::<W>(2 * len);
    let ([both, c, p, planes], mut party) = party.scratch([2 * len, 2 * len, len, octaves / 2 * lanes])?;
    let mut draw = party.draw()?;
    both[..len].copy_from_slice(x);
    both[len..].copy_from_slice(x);
    party.kernels.scale(&mut both[..len], W::from_u64(4));
    party.kernels.scale(&mut both[len..], W::from_u64(2));
    let cut = Cut::index(W::default(), 0, n + 3);
    let mask = blind_cut(&mut party, &mut draw, cut, both, c);
    open_narrow(&mut party, c, cut.bits())?; // round 1
    buckets(&mut party, &Opened { c, mask, cut }, (0, octaves / 2), planes)?; // rounds 2, 3
    one_hot(&mut party, planes, hot, len)?; // round 4

    p.fill(W::default());
    for (j, hot) in (1..).zip(hot[len..].chunks_exact(len.max(1))) {
        party.kernels.add_scaled(p, hot, W::from_u64(1 << (n - j)));
    }
    let of_p = party.draw()?.mask(len);
    let of_p = mask_and_open(&mut party, p, of_p)?; // round 5
    let word = Opened { c: &c[..len], mask: mask.slice(0, len), cut };
    mantissa.copy_from_slice(&both[..len]);
    times_masked(&mut party, &mut draw, &word, Masked { words: p, mask: of_p }, mantissa)
}

/// From the planes of the thresholds to the one-hot words: one round.
fn one_hot<W: Word>(party: &mut Party<'_, W>, planes: &mut [W], hot: &mut [W], len: usize) -> Result<(), Error> {
    let lanes = plane_words::<W>(2 * len).max(1);
    let mut draw = party.draw()?;
    let ([below], mut party) = party.scratch([2 * len])?;
    let masks = if party.is_clear() { None } else { Some(hide_bits(&mut party, &mut draw, planes)?) };
    party.open_bits(planes)?; // the one round
    // Thresholds of 4 x are those of the even octaves' upper ends, of 2 x those of the odd ones'.
    for (i, plane) in planes.chunks_exact(lanes).enumerate() {
        below.fill(W::default());
        match masks {
            None => party.kernels.spread(below, plane),
            Some(masks) => {
                opened_bits_to_words(&mut party, &mut draw, (plane, masks.slice(i * lanes, lanes)), &[0], below)?;
            }
        }
        hot[2 * i * len..][..2 * len].copy_from_slice(below);
    }
    // From [x < 2^j] to the octaves: the last is what is below none.
    let (all, last) = hot.split_at_mut(hot.len() - len);
    last.fill(party.role.first(W::from_u64(1)));
    if len > 0 {
        party.kernels.sub(last, &all[all.len() - len..]);
    }
    for at in (len.max(1)..all.len()).step_by(len.max(1)).rev() {
        let (before, own) = all.split_at_mut(at);
        party.kernels.sub(&mut own[..len], &before[at - len..]);
    }
    Ok(())
}

/// `Σ weights(j) H_j`.
pub fn weigh<W: Word>(party: &Party<'_, W>, hot: &[W], weight: impl Fn(u32) -> i64, out: &mut [W]) {
    out.fill(W::default());
    for (j, hot) in (0..).zip(hot.chunks_exact(out.len().max(1))) {
        party.kernels.add_scaled(out, hot, W::from_i64(weight(j)));
    }
}
