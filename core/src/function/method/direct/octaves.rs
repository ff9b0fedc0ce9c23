//! Reciprocal, roots and logarithms: the leading one, then Newton's steps or a polynomial on the
//! mantissa.

use super::{Precision, SEED_ERROR};
use crate::{
    function::{
        Numbers, fit,
        leading_one::Normalised,
        method::{
            newton::{self, Iterate},
            octaves::OctaveFunction,
            polynomial::Horner,
        },
        scalar::Octaves,
    },
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        narrow::open_narrow,
        product::multiply_halves,
        times::times_masked,
        truncate::{Cut, Opened, blind_cut, open, truncate, truncated},
    },
    word::Word,
};

/// The largest error of the polynomial of the logarithm.
pub(in super::super) fn logarithm_error(octave: f64, numbers: &Numbers) -> f64 {
    let polynomial = near_one(octave, numbers);
    let error = |u: f64| libm::fabs(fit::evaluate(&polynomial, u) - libm::log2(1.0 + u) * octave);
    (-64..=64).map(|i| error(SEED_ERROR * f64::from(i) / 64.0)).fold(0.0, libm::fmax)
}

/// The polynomial of `octave log2(1 + u)`, for the error `u` of a seed.
fn near_one(octave: f64, numbers: &Numbers) -> fit::Coefficients {
    let reach = [-SEED_ERROR, SEED_ERROR];
    fit::interpolation(|u| libm::log2(1.0 + u) * octave, reach, Precision::new(numbers).logarithm)
}

/// A function of octaves.
pub(super) fn octave<W: Word>(
    party: &mut Party<'_, W>,
    scaled: &OctaveFunction,
    octaves: Octaves,
    (x, out): (&[W], &mut [W]),
) -> Result<(), Error> {
    let (numbers, n) = (scaled.numbers(), x.len());
    let bits = numbers.mantissa_bits();
    let precision = Precision::new(&numbers);
    let (buffers, mut party) = party.scratch(Normalised::<W>::lengths(n, scaled.count()))?;
    let mut place = Normalised::new(buffers);
    let ([weights, y, c], mut party) = party.scratch([scaled.weights(n), n, n])?;
    scaled.normalise(&mut party, x, &mut place, weights)?; // four rounds
    narrow_mantissa(&mut party, &mut place, &numbers)?; // a round
    let halves = match octaves {
        Octaves::Power { halves } => halves,
        Octaves::Logarithm { octave } => {
            logarithm(&mut party, (octave, &numbers), place.mantissa, y)?;
            return scaled.added(&mut party, &place, (y, 0), out);
        }
    };
    let iterate = Iterate { mantissa: place.mantissa, beside: weights, y, c };
    let masks = if halves == -2 {
        newton::reciprocal(&mut party, iterate, (bits, precision.reciprocal))?
    } else {
        newton::inverse_root(&mut party, iterate, (bits, precision.steps))?
    };
    let mut draw = party.draw()?;
    let mut word = masks.word(c);
    let ([of_root], mut party) = party.scratch([n])?;
    if halves == 1 {
        // The root is the mantissa times its inverse root.
        let mantissa = Masked { words: place.mantissa, mask: masks.mantissa };
        times_masked(&mut party, &mut draw, &word, mantissa, y)?;
        draw = party.draw()?;
        word = open(&mut party, &mut draw, y, Cut::signed(bits), of_root)?; // a round
        truncated(&mut party, &mut draw, &word, y)?;
    }
    let weights = Masked { words: weights, mask: masks.beside };
    scaled.weighted(&mut party, &place, (&mut draw, &word, y), weights, out) // a round
}

/// Truncates the mantissa to its fraction bits; beyond the octaves it becomes 1.
fn narrow_mantissa<W: Word>(
    party: &mut Party<'_, W>,
    place: &mut Normalised<'_, W>,
    numbers: &Numbers,
) -> Result<(), Error> {
    let (whole, bits) = (numbers.octaves(), numbers.mantissa_bits());
    let ([c, z], mut party) = party.scratch([place.mantissa.len(); 2])?;
    let mut draw = party.draw()?;
    // Its upper bits, beyond the octaves anything, are not opened.
    let cut = Cut::within(whole, whole - bits);
    let mask = blind_cut(&mut party, &mut draw, cut, place.mantissa, c);
    open_narrow(&mut party, c, cut.bits())?;
    let word = Opened { c, mask, cut };
    truncated(&mut party, &mut draw, &word, z)?;
    let one = W::from_u64(1).shl(bits);
    place.within(&mut party, &mut draw, &word, [one; 2], z)?;
    place.mantissa.copy_from_slice(z);
    Ok(())
}

/// `octave log2 mu`: of a seed `c` near `1 / mu`, `octave (log2(mu c) - log2 c)`, the former by a
/// polynomial.
fn logarithm<W: Word>(
    party: &mut Party<'_, W>,
    (octave, numbers): (f64, &Numbers),
    mantissa: &mut [W],
    y: &mut [W],
) -> Result<(), Error> {
    let (n, bits) = (y.len(), numbers.mantissa_bits());
    let ([seeds, factors], mut party) = party.scratch([2 * n; 2])?;
    newton::seeds(&mut party, (mantissa, bits), octave, seeds)?; // two rounds
    factors[..n].copy_from_slice(mantissa);
    factors[n..].copy_from_slice(&seeds[..n]);
    multiply_halves(&mut party, factors, y)?; // a round
    truncate(&mut party, y, bits)?; // a round
    party.kernels.add_constant(y, party.role.first(W::default().sub(W::from_u64(1).shl(bits))));
    let mask = party.draw()?.mask(n);
    let mask = mask_and_open(&mut party, y, mask)?; // a round
    mantissa.copy_from_slice(y);
    let horner = Horner { shift: 0, u_bits: bits, frac_bits: bits, guard: 0 };
    horner.apply(&mut party, Masked { words: mantissa, mask }, &[near_one(octave, numbers)], y)?;
    party.kernels.sub(y, &seeds[n..]);
    Ok(())
}
