//! Direct: dedicated protocols, by comparisons, normalisation, Newton's steps and one polynomial.
//!
//! | function | how | rounds |
//! | --- | --- | --- |
//! | absolute, sign | one comparison | 3 or 4 |
//! | power, `n > 0` | products with the clamped argument | 4 and `n` |
//! | reciprocal | leading one; Newton on the mantissa | 9 and 2 a step |
//! | inverse root, root | leading one; Newton on the mantissa | 9 and 3 a step; 1 more |
//! | logarithm | leading one; `log(mu c) - log c` of a seed `c` | 11 and the degree |
//! | exponential | `x log2 e = i + t`; `2^i` mapped, `2^t` by a polynomial | 9 and the degree; `2^x` one fewer |
//! | sigmoid, tanh | `1 / (1 + e^-|x|)` by both | 12, the degree, and 2 a step |
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Result:** see the table of errors that `symbolon functions` prints. All saturate: arguments
//!   are clamped first. Where they are, a slope is the one at the end.
//! - **Source:** Catrina, Saxena, "Secure computation with fixed-point numbers" (FC 2010), for the
//!   normalisation; Aly, Smart, "Benchmarking privacy preserving scientific operations" (ACNS
//!   2019), for the exponential and logarithm by a polynomial and a shift.

use super::{
    FunctionError,
    mapping::{LEAST, Mapping, bits_of, units},
    newton::{self, Iterate},
    octaves::OctaveFunction,
    pieces::open_place,
    polynomial::Horner,
};
use crate::{
    function::{
        Numbers, fit,
        leading_one::Normalised,
        pow2,
        scalar::{AnyScalar, Octaves, RangeReduction, Scalar},
    },
    link::Error,
    mapping::{self, Domain, mapped},
    party::Party,
    protocol::{
        clamp::clamp,
        knots::above,
        masked::{Masked, mask_and_open},
        narrow::open_narrow,
        product::{multiply, multiply_halves},
        times::times_masked,
        truncate::{Cut, Opened, blind_cut, open, truncate, truncated},
    },
    word::Word,
};
use core::f64::consts::{LN_2, LOG2_E};

/// Fraction bits within, degree and steps, for a ring and a job's fraction bits.
#[derive(Clone, Copy, Debug)]
struct Precision {
    /// Bits of exponentials.
    frac_bits: u32,
    /// Degree of `2^t`.
    exponential: usize,
    /// Degree of the logarithm.
    logarithm: usize,
    /// Newton's steps.
    steps: u32,
    /// Newton's steps of a reciprocal of a mantissa, whose seeds are coarser.
    reciprocal: u32,
}

impl Precision {
    fn new(numbers: &Numbers) -> Self {
        let of = |frac_bits, exponential, logarithm, [steps, reciprocal]: [u32; 2]| Self {
            frac_bits,
            exponential,
            logarithm,
            steps,
            reciprocal,
        };
        match (numbers.ring_bits, numbers.frac_bits) {
            (32, _) => of(14, 4, 2, [1, 2]),
            (_, ..=12) => of(20, 5, 2, [2, 2]),
            (_, ..=16) => of(24, 6, 3, [2, 2]),
            (_, ..=20) => of(26, 7, 3, [2, 2]),
            _ => of(28, 8, 3, [2, 3]),
        }
    }
}

/// Fraction bits of exponentials, and of what is made of them.
pub(super) fn precision_bits(numbers: &Numbers) -> u32 {
    Precision::new(numbers).frac_bits.min((numbers.ring_bits - 4) / 2)
}

/// Relative error of a seed of a reciprocal, at most: half of two cells at the least mantissa, and
/// its rounding.
const SEED_ERROR: f64 = 1.0 / 256.0 / LEAST + 1.0 / 1024.0;

/// The relative error of Newton's steps, beside roundings.
pub(super) fn newton_error(halves: i32, numbers: &Numbers) -> f64 {
    let precision = Precision::new(numbers);
    let (steps, factor, seed) =
        if halves == -2 { (precision.reciprocal, 1.0, SEED_ERROR) } else { (precision.steps, 1.5, SEED_ERROR / 2.0) };
    // The slightly larger factor covers the next power.
    (0..steps).fold(seed, |error, _| 1.02 * factor * error * error)
}

/// The largest error of the polynomial of the logarithm.
pub(super) fn logarithm_error(octave: f64, numbers: &Numbers) -> f64 {
    let polynomial = near_one(octave, numbers);
    let error = |u: f64| libm::fabs(fit::evaluate(&polynomial, u) - libm::log2(1.0 + u) * octave);
    (-64..=64).map(|i| error(SEED_ERROR * f64::from(i) / 64.0)).fold(0.0, libm::fmax)
}

/// The polynomial of `octave log2(1 + u)`, for the error `u` of a seed.
fn near_one(octave: f64, numbers: &Numbers) -> fit::Coefficients {
    let reach = [-SEED_ERROR, SEED_ERROR];
    fit::interpolation(|u| libm::log2(1.0 + u) * octave, reach, Precision::new(numbers).logarithm)
}

/// The interval of the exponential, as powers of two: from half a unit to what the ring has room
/// for.
fn exponents(numbers: &Numbers) -> [i32; 2] {
    let low = -(numbers.frac_bits.cast_signed() + 1);
    let precision = Precision::new(numbers).frac_bits.cast_signed();
    [low, (numbers.ring_bits.cast_signed() - 5 - precision + low).clamp(0, 11)]
}

/// Where the function is not constant: arguments are clamped to this.
pub fn domain(scalar: &AnyScalar, numbers: &Numbers) -> [f64; 2] {
    let unit = 1.0 / pow2(numbers.frac_bits);
    match scalar {
        AnyScalar::Exponential(_) => exponents(numbers).map(|e| f64::from(e) * LN_2),
        AnyScalar::Exponential2(_) => exponents(numbers).map(f64::from),
        AnyScalar::Power(power) if power.exponent > 0 => {
            let reach = libm::exp2(f64::from(power_reach(power.exponent, numbers)));
            [-reach, reach]
        }
        _ => match scalar.range_reduction() {
            RangeReduction::Octaves(octaves) => {
                #[allow(clippy::cast_precision_loss)] // a power of two
                let low = OctaveFunction::new(octaves, false, numbers).folded().low() as f64;
                [low * unit, pow2(numbers.octaves()) * unit]
            }
            _ => [-pow2(numbers.ring_bits - 3) * unit, pow2(numbers.ring_bits - 3) * unit],
        },
    }
}

/// `log2` of the largest argument of a power.
fn power_reach(exponent: i8, numbers: &Numbers) -> i32 {
    let room = numbers.ring_bits.cast_signed() - 3 - 2 * numbers.frac_bits.cast_signed();
    room.div_euclid(i32::from(exponent).max(1))
}

/// Holds the function to the ring.
///
/// # Errors
///
/// The reason why it has no room, or a parameter that is invalid.
pub fn check(scalar: &AnyScalar, numbers: &Numbers) -> Result<(), FunctionError> {
    match scalar {
        AnyScalar::Exponential(_)
        | AnyScalar::Exponential2(_)
        | AnyScalar::Sigmoid(_)
        | AnyScalar::Tanh(_)
        | AnyScalar::Absolute(_)
        | AnyScalar::Sign(_) => Ok(()),
        AnyScalar::Reciprocal(_)
        | AnyScalar::Logarithm(_)
        | AnyScalar::Logarithm2(_)
        | AnyScalar::SquareRoot(_)
        | AnyScalar::InverseSquareRoot(_) => match scalar.range_reduction() {
            RangeReduction::Octaves(octaves) => OctaveFunction::new(octaves, false, numbers).check(),
            _ => Err(FunctionError::Method),
        },
        AnyScalar::Power(power) if power.exponent < 1 => Err(FunctionError::Method),
        AnyScalar::Power(power) if power_reach(power.exponent, numbers) < 0 => Err(FunctionError::Room),
        AnyScalar::Power(_) => Ok(()),
        _ => Err(FunctionError::Method),
    }
}

/// `out` becomes the function, and `slope` its derivative if asked.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or the function has no [direct protocol](check).
pub fn apply<W: Word>(
    party: &mut Party<'_, W>,
    scalar: &AnyScalar,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
    slope: Option<&mut [W]>,
) -> Result<(), Error> {
    match (scalar, scalar.range_reduction()) {
        (_, RangeReduction::Octaves(octaves)) => {
            octave(party, &OctaveFunction::new(octaves, false, numbers), octaves, (x, out))?;
            let Some(slope) = slope else { return Ok(()) };
            Mapping::of_octaves(numbers).octaves_slope(party, octaves, numbers, (x, out), slope)
        }
        (AnyScalar::Absolute(_) | AnyScalar::Sign(_), _) => {
            comparison(party, matches!(scalar, AnyScalar::Sign(_)), numbers, (x, out), slope)
        }
        (AnyScalar::Power(power), _) => positive_power(party, power.exponent, numbers, (x, out), slope),
        (AnyScalar::Exponential(_) | AnyScalar::Exponential2(_), _) => {
            let natural = matches!(scalar, AnyScalar::Exponential(_));
            exponential(party, natural, numbers, (x, out))?;
            if let Some(slope) = slope {
                slope.copy_from_slice(out);
                if !natural {
                    party.kernels.scale(slope, W::from_i64(units(LN_2, 8)));
                    truncate(party, slope, 8)?;
                }
            }
            Ok(())
        }
        (AnyScalar::Sigmoid(_), _) => sigmoid(party, 1, numbers, (x, out), slope),
        (AnyScalar::Tanh(_), _) => sigmoid(party, 2, numbers, (x, out), slope),
        _ => panic!("the function was checked"),
    }
}

/// `|x|` or the sign of `x`.
fn comparison<W: Word>(
    party: &mut Party<'_, W>,
    is_sign: bool,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
    slope: Option<&mut [W]>,
) -> Result<(), Error> {
    let n = x.len();
    let ([z, over, steps], mut party) = party.scratch([n; 3])?;
    z.copy_from_slice(x);
    above(&mut party, (z, 0), &[W::default()], over, steps)?;
    // 2 [x >= 0] - 1
    let one = W::from_u64(1).shl(numbers.frac_bits);
    party.kernels.scale(steps, one.shl(1));
    party.kernels.add_constant(steps, party.role.first(W::default().sub(one)));
    if is_sign {
        out.copy_from_slice(steps);
        if let Some(slope) = slope {
            slope.fill(W::default());
        }
        return Ok(());
    }
    out.copy_from_slice(over);
    party.kernels.scale(out, W::from_u64(2));
    party.kernels.sub(out, x);
    if let Some(slope) = slope {
        slope.copy_from_slice(steps);
    }
    Ok(())
}

/// `x^n` for `n >= 1`, and `n x^(n - 1)`.
fn positive_power<W: Word>(
    party: &mut Party<'_, W>,
    exponent: i8,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
    mut slope: Option<&mut [W]>,
) -> Result<(), Error> {
    let (n, f) = (x.len(), numbers.frac_bits);
    let ([u, c], mut party) = party.scratch([n; 2])?;
    let reach = units(libm::exp2(f64::from(power_reach(exponent, numbers))), f);
    u.copy_from_slice(x);
    clamp(&mut party, u, W::from_i64(-reach), W::from_i64(reach))?;
    out.copy_from_slice(u);
    match (&mut slope, exponent) {
        (Some(slope), 1) => slope.fill(party.role.first(W::from_u64(1).shl(f))),
        (Some(slope), 2) => {
            slope.copy_from_slice(u);
            party.kernels.scale(slope, W::from_u64(2));
        }
        _ => {}
    }
    let mask = party.draw()?.mask(n);
    let mask = mask_and_open(&mut party, u, mask)?;
    let u = Masked { words: u, mask };
    for i in 2..=exponent {
        if i == 2 {
            multiply(&mut party, u, u, out)?;
        }
        if i == exponent {
            return truncate(&mut party, out, f);
        }
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, out, Cut::signed(f), c)?;
        truncated(&mut party, &mut draw, &word, out)?;
        if let (true, Some(slope)) = (i + 1 == exponent, &mut slope) {
            slope.copy_from_slice(out);
            party.kernels.scale(slope, W::from_i64(exponent.into()));
        }
        times_masked(&mut party, &mut draw, &word, u, out)?;
    }
    Ok(())
}

/// A function of octaves.
fn octave<W: Word>(
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

/// `e^x`, or `2^x`, clamped to its domain.
fn exponential<W: Word>(
    party: &mut Party<'_, W>,
    natural: bool,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
) -> Result<(), Error> {
    let f = numbers.frac_bits;
    let ([z], mut party) = party.scratch([x.len()])?;
    z.copy_from_slice(x);
    let factor = if natural { LN_2 } else { 1.0 };
    let exponents = exponents(numbers);
    let [low, high] = exponents.map(|e| W::from_i64(units(f64::from(e) * factor, f)));
    clamp(&mut party, z, low, high)?;
    power_of_two(&mut party, natural, (z, f), (exponents, &Precision::new(numbers)), (out, f))
}

/// `e^z`, or `2^z`, of `z` between the exponents, with `out_bits` fraction bits.
fn power_of_two<W: Word>(
    party: &mut Party<'_, W>,
    natural: bool,
    (z, in_bits): (&mut [W], u32),
    ([low, high], precision): ([i32; 2], &Precision),
    (out, out_bits): (&mut [W], u32),
) -> Result<(), Error> {
    let (n, bits) = (z.len(), precision.frac_bits);
    // t, with the precision's fraction bits.
    let reach = bits_of(f64::from((-low).max(high)) * pow2(in_bits));
    let factor_bits = if natural { 28.min(W::BITS - 4 - reach) } else { 0 };
    if natural {
        party.kernels.scale(z, W::from_i64(units(LOG2_E, factor_bits)));
    }
    match (in_bits + factor_bits).checked_sub(bits) {
        Some(0) => {}
        Some(surplus) => truncate(party, z, surplus)?, // a round
        None => party.kernels.scale(z, W::from_u64(1).shl(bits - in_bits - factor_bits)),
    }
    // Its whole part, from one below the least on, and what is left.
    party.kernels.add_constant(z, party.role.first(W::from_i64(i64::from(1 - low) << bits)));
    let index_bits = bits_of(f64::from(high - low + 3));
    let domain = Domain { shift: bits, bits: index_bits, signed: false };
    let mut powers = [0; 64];
    for (i, power) in powers.iter_mut().enumerate() {
        *power = 1i64 << i.min(usize::try_from(high - low + 2).unwrap_or(0));
    }
    let tables = [&powers[..domain.cells()]];
    let mapping = mapping::Mapping { domain, tables: &tables, one_hot: None, beyond: None };
    let ([c, u, factors], mut party) = party.scratch([n, n, 2 * n])?;
    let mut draw = party.draw()?;
    let place = open_place(&mut party, &mut draw, (mapping.cut(), bits), z, (c, u, &mut []))?; // a round
    let (p, e) = factors.split_at_mut(n);
    mapped(&mut party, &mut draw, &mapping, &place.word, e)?; // a round
    let polynomial = fit::interpolation(libm::exp2, [-1.0, 1.0], precision.exponential);
    let horner = Horner { shift: 0, u_bits: bits, frac_bits: bits, guard: 0 };
    horner.apply(&mut party, place.fraction, &[polynomial], p)?;
    multiply_halves(&mut party, factors, out)?; // a round
    truncate(&mut party, out, (bits + 1 - out_bits).saturating_add_signed(-low)) // a round
}

/// `1 / (1 + e^(-|a x|))`, turned by the sign: the sigmoid for `a = 1`, twice it less 1, which is
/// tanh, for `a = 2`.
fn sigmoid<W: Word>(
    party: &mut Party<'_, W>,
    a: u64,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
    slope: Option<&mut [W]>,
) -> Result<(), Error> {
    let (n, f, precision) = (x.len(), numbers.frac_bits, Precision::new(numbers));
    // Newton's products have a bit less room than the exponential.
    let bits = precision.frac_bits.min((numbers.ring_bits - 4) / 2);
    #[allow(clippy::cast_possible_truncation)] // small
    let limit = libm::floor(f64::from(f + 2) * LN_2) as i64;
    let ([z, over, steps, y, mantissa, c], mut party) = party.scratch([n, 3 * n, 3 * n, n, n, n])?;
    z.copy_from_slice(x);
    let reach = (limit << f) / a.cast_signed();
    above(&mut party, (z, 0), &[W::from_i64(-reach), W::default(), W::from_i64(reach)], over, steps)?;
    // -|x|, clamped: over_0 - 2 over_1 + over_2 - limit.
    z.copy_from_slice(&over[..n]);
    party.kernels.add_scaled(z, &over[n..2 * n], W::from_i64(-2));
    party.kernels.add(z, &over[2 * n..]);
    party.kernels.add_constant(z, party.role.first(W::from_i64(-reach)));
    party.kernels.scale(z, W::from_u64(a));
    let low = -(f.cast_signed() + 2);
    // (1 + e) / 2
    // Its error counts a quarter.
    let rougher = Precision { exponential: precision.exponential - 1, ..precision };
    power_of_two(&mut party, true, (z, f), ([low, 0], &rougher), (mantissa, bits - 1))?;
    party.kernels.add_constant(mantissa, party.role.first(W::from_u64(1).shl(bits - 1)));
    let sign = &mut steps[n..2 * n];
    let iterate = Iterate { mantissa, beside: &mut *sign, y, c };
    let mask = newton::reciprocal(&mut party, iterate, (bits, precision.steps))?.beside;
    // s = y / 2; s (2 [x >= 0] - 1) + 1 - [x >= 0]
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, y, Cut::signed(1 + bits - f), c)?; // the last round
    truncated(&mut party, &mut draw, &word, y)?;
    out.copy_from_slice(y);
    let sign = Masked { words: sign, mask };
    times_masked(&mut party, &mut draw, &word, sign, out)?;
    party.kernels.scale(out, W::from_u64(2));
    party.kernels.sub(out, y);
    let one = W::from_u64(1).shl(f);
    sign.share(&party, z);
    party.kernels.add_constant(out, party.role.first(one));
    party.kernels.add_scaled(out, z, W::default().sub(one));
    let Some(slope) = slope else { return scaled_output(&party, a, one, out) };
    // s (1 - s), times a^2.
    c.copy_from_slice(out);
    let mask = party.draw()?.mask(n);
    let mask = mask_and_open(&mut party, c, mask)?;
    let s = Masked { words: c, mask };
    multiply(&mut party, s, s, slope)?;
    party.kernels.scale(slope, W::from_i64(-1));
    party.kernels.add_scaled(slope, out, one);
    party.kernels.scale(slope, W::from_u64(a * a));
    truncate(&mut party, slope, f)?;
    scaled_output(&party, a, one, out)
}

/// Twice a sigmoid less 1, if that is asked.
fn scaled_output<W: Word>(party: &Party<'_, W>, a: u64, one: W, out: &mut [W]) -> Result<(), Error> {
    if a == 2 {
        party.kernels.scale(out, W::from_u64(2));
        party.kernels.add_constant(out, party.role.first(W::default().sub(one)));
    }
    Ok(())
}
