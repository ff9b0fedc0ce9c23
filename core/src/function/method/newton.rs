//! Newton's steps for reciprocals and inverse roots of mantissas.
//!
//! The iterate is a truncation's opened word, so that its products with masked values, and its
//! square, cost nothing; what is masked for the next product goes with an opening of the same
//! round.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 3 rounds for the seed, then 2 a step of a reciprocal, 3 a step of an inverse root.
//!   Each way 8 bits, those of the seed's table, two words, and those that the caller has masked in
//!   the same round; then `2 (k - F)` or `3 (k - F)` bits a step, and a word a step but the first.
//! - **Result:** a relative error `e` becomes `e^2`, of a root `3/2 e^2`; seeds, one of 256
//!   constants, err by 0.022 and 0.011 on mantissas from 3/16 to 1; one or two units of `2^-F` come
//!   on top.
//! - **Source:** Newton's iterations for fixed point (Catrina, Saxena, FC 2010).

use super::mapping::{LEAST, ORIGIN, units};
use crate::{
    correlation::{Draw, View},
    function::Table,
    kernel::packed_words,
    link::{Error, Fold},
    mapping::{Domain, Mapping, map},
    party::Party,
    protocol::{
        masked::{Masked, hide, mask_and_open},
        narrow::{finish_narrow, prepare_narrow},
        product::multiply,
        square::square,
        times::times_masked,
        truncate::{Cut, Opened, blind_compared, truncated},
    },
    word::Word,
};

/// Bits of the seed's index.
const SEED_BITS: u32 = 8;

/// A word opened in a buffer of the caller's: the name of its mask, and its bits.
#[derive(Clone, Copy)]
struct MaskedCut<W> {
    mask: View<'static>,
    cut: Cut<W>,
}

impl<W: Word> MaskedCut<W> {
    fn word(self, c: &[W]) -> Opened<'_, W> {
        Opened { c, mask: self.mask, cut: self.cut }
    }
}

/// Opens `z`, of which `dropped` bits are dropped, into `c`, and masks `other`, in place: one
/// round.
fn open_beside<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (z, dropped): (&[W], u32),
    c: &mut [W],
    other: &mut [W],
) -> Result<(MaskedCut<W>, View<'static>), Error> {
    let cut = Cut::signed(dropped);
    let mask = blind_compared(party, draw, z, cut, c);
    let of_other = draw.mask(other.len()).view();
    if !party.is_clear() {
        hide(party, other, of_other)?;
    }
    let ([packed], mut party) = party.scratch([packed_words::<W>(c.len(), cut.bits())])?;
    prepare_narrow(&party, c, cut.bits(), packed);
    party.exchange(&mut [(Fold::Swap, &mut *packed), (Fold::Add, &mut *other)])?; // the one round
    finish_narrow(&mut party, c, cut.bits(), packed)?;
    Ok((MaskedCut { mask, cut }, of_other))
}

/// The masks of the mantissa, of the iterate, and of what the caller has masked, and what is known
/// of the iterate's word.
pub(super) struct Masks<W> {
    pub(super) mantissa: View<'static>,
    iterate: View<'static>,
    pub(super) beside: View<'static>,
    /// After the seed, the iterate is a word that is open.
    word: Option<MaskedCut<W>>,
}

impl<W: Word> Masks<W> {
    /// The word of the last iterate, opened as `c`.
    pub(super) fn word<'c>(&self, c: &'c [W]) -> Opened<'c, W> {
        self.word.expect("after a step").word(c)
    }
}

/// The buffers of an iteration: the mantissa and what is masked beside it, in place; the iterate,
/// and its opened word.
pub(super) struct Iterate<'a, W> {
    pub(super) mantissa: &'a mut [W],
    pub(super) beside: &'a mut [W],
    pub(super) y: &'a mut [W],
    pub(super) c: &'a mut [W],
}

/// Looks the seed up, writes it to `y`, and masks the mantissa and what is beside it, in place, and
/// the seed, into `factor`: three rounds.
fn seed<W: Word>(
    party: &mut Party<'_, W>,
    g: impl Fn(f64) -> f64,
    Iterate { mantissa, beside, y, .. }: &mut Iterate<'_, W>,
    frac_bits: u32,
    factor: &mut [W],
) -> Result<Masks<W>, Error> {
    let n = y.len();
    let ([all], mut party) = party.scratch([2 * n + beside.len()])?;
    look_up(&mut party, (mantissa, frac_bits), &[&table(g, frac_bits)], y)?; // two rounds
    all[..n].copy_from_slice(mantissa);
    all[n..2 * n].copy_from_slice(y);
    all[2 * n..].copy_from_slice(beside);
    let mask = party.draw()?.mask(all.len());
    let mask = mask_and_open(&mut party, all, mask)?; // a round
    mantissa.copy_from_slice(&all[..n]);
    factor.copy_from_slice(&all[n..2 * n]);
    beside.copy_from_slice(&all[2 * n..]);
    let beside = mask.slice(2 * n, beside.len());
    Ok(Masks { mantissa: mask.slice(0, n), iterate: mask.slice(n, n), beside, word: None })
}

/// Seeds `c` of reciprocals, then `octave log2 c`, of one index: two rounds.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
pub(super) fn seeds<W: Word>(
    party: &mut Party<'_, W>,
    (mantissa, frac_bits): (&[W], u32),
    octave: f64,
    out: &mut [W],
) -> Result<(), Error> {
    let reciprocals = table(|m| 1.0 / m, frac_bits);
    let mut logarithms: Table = [0; 256];
    for (logarithm, c) in logarithms.iter_mut().zip(&reciprocals) {
        #[allow(clippy::cast_precision_loss)] // few bits
        let log2 = libm::log2(*c as f64) - f64::from(frac_bits);
        *logarithm = units(log2 * octave, frac_bits);
    }
    look_up(party, (mantissa, frac_bits), &[&reciprocals, &logarithms], out)
}

/// Seeds of each cell, to a few bits.
fn table(g: impl Fn(f64) -> f64, frac_bits: u32) -> Table {
    let mut table: Table = [0; 256];
    for (i, entry) in (0u16..).zip(&mut table) {
        let m = libm::fmin(libm::fmax(ORIGIN + f64::from(i) / 256.0, LEAST), 1.0);
        *entry = units(g(m), SEED_BITS + 2) << (frac_bits - SEED_BITS - 2);
    }
    table
}

/// Looks mantissas up: two rounds.
fn look_up<W: Word>(
    party: &mut Party<'_, W>,
    (mantissa, frac_bits): (&[W], u32),
    tables: &[&[i64]],
    out: &mut [W],
) -> Result<(), Error> {
    let domain = Domain { shift: frac_bits - SEED_BITS, bits: SEED_BITS, signed: false };
    let mapping = Mapping { domain, tables, one_hot: None, beyond: None };
    let ([z], mut party) = party.scratch([mantissa.len()])?;
    z.copy_from_slice(mantissa);
    party.kernels.add_constant(z, party.role.first(W::from_i64(-units(ORIGIN, frac_bits))));
    map(&mut party, &mapping, z, out)
}

/// `y (1 + 2^-halving - t 2^-halving)`: the end of a step, from the opened `t`. One round.
fn correct<W: Word>(
    party: &mut Party<'_, W>,
    (t, draw): (Opened<'_, W>, &mut Draw),
    factor: Masked<'_, W>,
    (frac_bits, halving): (u32, u32),
    (y, c): (&mut [W], &mut [W]),
) -> Result<MaskedCut<W>, Error> {
    let ([z], mut party) = party.scratch([y.len()])?;
    truncated(&mut party, draw, &t, z)?;
    times_masked(&mut party, draw, &t, factor, z)?;
    party.kernels.scale(z, W::from_i64(-1));
    party.kernels.add_scaled(z, y, W::from_u64((1 << halving) + 1).shl(frac_bits));
    let mut draw = party.draw()?;
    let (name, _) = open_beside(&mut party, &mut draw, (z, frac_bits + halving), c, &mut [])?;
    truncated(&mut party, &mut draw, &name.word(c), y)?;
    Ok(name)
}

/// `y = 1 / mu` on `[3/16, 1]`, both with `frac_bits` fraction bits, in one step or more. The
/// mantissa and what is beside it are masked, in place.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
pub(super) fn reciprocal<W: Word>(
    party: &mut Party<'_, W>,
    mut iterate: Iterate<'_, W>,
    (frac_bits, steps): (u32, u32),
) -> Result<Masks<W>, Error> {
    let ([z, ct, factor], mut party) = party.scratch([iterate.y.len(); 3])?;
    let mut masks = seed(&mut party, |m| 1.0 / m, &mut iterate, frac_bits, factor)?;
    let Iterate { mantissa, y, c: cy, .. } = iterate;
    let mu = Masked { words: mantissa, mask: masks.mantissa };
    for _ in 0..steps {
        z.copy_from_slice(y);
        let t = match masks.word {
            None => {
                multiply(&mut party, mu, Masked { words: factor, mask: masks.iterate }, z)?; // mu y
                let mut draw = party.draw()?;
                (open_beside(&mut party, &mut draw, (z, frac_bits), ct, &mut [])?.0, draw)
            }
            Some(word) => {
                let mut draw = party.draw()?;
                times_masked(&mut party, &mut draw, &word.word(cy), mu, z)?; // mu y
                factor.copy_from_slice(y);
                let mut draw = party.draw()?;
                let (t, mask) = open_beside(&mut party, &mut draw, (z, frac_bits), ct, factor)?;
                masks.iterate = mask;
                (t, draw)
            }
        };
        let factor = Masked { words: factor, mask: masks.iterate };
        let (t, mut draw) = t;
        masks.word = Some(correct(&mut party, (t.word(ct), &mut draw), factor, (frac_bits, 0), (y, cy))?);
    }
    Ok(masks)
}

/// `y = mu^(-1/2)` on `[3/16, 1]`, both with `frac_bits` fraction bits, in one step or more. The
/// mantissa and what is beside it are masked, in place.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
pub(super) fn inverse_root<W: Word>(
    party: &mut Party<'_, W>,
    mut iterate: Iterate<'_, W>,
    (frac_bits, steps): (u32, u32),
) -> Result<Masks<W>, Error> {
    let ([z, ct, factor], mut party) = party.scratch([iterate.y.len(); 3])?;
    let root = |m| 1.0 / libm::sqrt(m);
    let mut masks = seed(&mut party, root, &mut iterate, frac_bits, factor)?;
    let Iterate { mantissa, y, c: cy, .. } = iterate;
    let mu = Masked { words: mantissa, mask: masks.mantissa };
    for _ in 0..steps {
        let q = match masks.word {
            None => {
                let factor = Masked { words: factor, mask: masks.iterate };
                multiply(&mut party, factor, factor, z)?;
                let mut draw = party.draw()?;
                (open_beside(&mut party, &mut draw, (z, frac_bits), ct, &mut [])?.0, draw)
            }
            Some(word) => {
                let mut draw = party.draw()?;
                square(&mut party, &mut draw, &word.word(cy), y, z)?;
                factor.copy_from_slice(y);
                let mut draw = party.draw()?;
                let (q, mask) = open_beside(&mut party, &mut draw, (z, frac_bits), ct, factor)?;
                masks.iterate = mask;
                (q, draw)
            }
        };
        let (q, mut draw) = q;
        truncated(&mut party, &mut draw, &q.word(ct), z)?;
        times_masked(&mut party, &mut draw, &q.word(ct), mu, z)?; // mu y^2
        let mut draw = party.draw()?;
        let (t, _) = open_beside(&mut party, &mut draw, (z, frac_bits), ct, &mut [])?;
        let factor = Masked { words: factor, mask: masks.iterate };
        masks.word = Some(correct(&mut party, (t.word(ct), &mut draw), factor, (frac_bits, 1), (y, cy))?);
    }
    Ok(masks)
}
