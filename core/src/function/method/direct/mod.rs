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
//! | softplus | `max(0, x) + log(1 + u)` of `u = e^-|x|`, by two polynomials | 10 and both degrees |
//! | erf, GELU | `1 - s^8` of a polynomial `s` | 8 and the degree; GELU 1 more |
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Result:** see the table of errors that `symbolon functions` prints. All saturate: arguments
//!   are clamped first. Where they are, a slope is the one at the end.
//! - **Source:** Catrina, Saxena, "Secure computation with fixed-point numbers" (FC 2010), for the
//!   normalisation; Aly, Smart, "Benchmarking privacy preserving scientific operations" (ACNS
//!   2019), for the exponential and logarithm by a polynomial and a shift.

mod exponential;
mod normal;
mod octaves;
mod sigmoid;

use super::{
    FunctionError,
    mapping::{LEAST, Mapping, units},
    octaves::OctaveFunction,
};
use crate::{
    function::{
        Numbers, pow2,
        scalar::{AnyScalar, RangeReduction, Scalar},
    },
    link::Error,
    party::Party,
    protocol::{
        clamp::clamp,
        knots::above,
        masked::{Masked, mask_and_open},
        product::multiply,
        times::times_masked,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};
use core::f64::consts::LN_2;
pub(super) use {
    normal::NormalTail,
    octaves::logarithm_error,
    sigmoid::{softplus_degree, softplus_error},
};

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
    /// Degree of softplus's logarithm.
    softplus: usize,
    /// Degree of the root of the normal distribution's tail.
    normal: usize,
}

impl Precision {
    fn new(numbers: &Numbers) -> Self {
        let of = |frac_bits, [exponential, logarithm, softplus, normal]: [usize; 4], [steps, reciprocal]: [u32; 2]| {
            Self { frac_bits, exponential, logarithm, steps, reciprocal, softplus, normal }
        };
        match (numbers.ring_bits, numbers.frac_bits) {
            (32, _) => of(14, [4, 2, 5, 6], [1, 2]),
            (_, ..=12) => of(20, [5, 2, 5, 6], [2, 2]),
            (_, ..=16) => of(24, [6, 3, 6, 8], [2, 2]),
            (_, ..=20) => of(26, [7, 3, 7, 8], [2, 2]),
            _ => of(28, [8, 3, 8, 11], [2, 3]),
        }
    }
}

/// Fraction bits of exponentials, and of what is made of them.
pub(super) fn precision_bits(numbers: &Numbers) -> u32 {
    Precision::new(numbers).frac_bits
}

/// Returns `s`: functions of `e^-|x|` saturate at `2^-s`, a quarter of a unit, or a half where the
/// ring lacks the room.
fn saturation_log2(numbers: &Numbers) -> u32 {
    numbers.frac_bits + if numbers.ring_bits == 32 && numbers.frac_bits > 12 { 1 } else { 2 }
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

/// Where the function is not constant: arguments are clamped to this.
pub fn domain(scalar: &AnyScalar, numbers: &Numbers) -> [f64; 2] {
    let unit = 1.0 / pow2(numbers.frac_bits);
    match scalar {
        AnyScalar::Exponential(_) => exponential::exponents(numbers).map(|e| f64::from(e) * LN_2),
        AnyScalar::Exponential2(_) => exponential::exponents(numbers).map(f64::from),
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
        | AnyScalar::Softplus(_)
        | AnyScalar::Erf(_)
        | AnyScalar::Gelu(_)
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
            octaves::octave(party, &OctaveFunction::new(octaves, false, numbers), octaves, (x, out))?;
            let Some(slope) = slope else { return Ok(()) };
            Mapping::of_octaves(numbers).octaves_slope(party, octaves, numbers, (x, out), slope)
        }
        (AnyScalar::Absolute(_) | AnyScalar::Sign(_), _) => {
            comparison(party, matches!(scalar, AnyScalar::Sign(_)), numbers, (x, out), slope)
        }
        (AnyScalar::Power(power), _) => positive_power(party, power.exponent, numbers, (x, out), slope),
        (AnyScalar::Exponential(_) | AnyScalar::Exponential2(_), _) => {
            let natural = matches!(scalar, AnyScalar::Exponential(_));
            exponential::exponential(party, natural, numbers, (x, out))?;
            if let Some(slope) = slope {
                slope.copy_from_slice(out);
                if !natural {
                    party.kernels.scale(slope, W::from_i64(units(LN_2, 8)));
                    truncate(party, slope, 8)?;
                }
            }
            Ok(())
        }
        (AnyScalar::Sigmoid(_), _) => sigmoid::sigmoid(party, 1, numbers, (x, out), slope),
        (AnyScalar::Tanh(_), _) => sigmoid::sigmoid(party, 2, numbers, (x, out), slope),
        (AnyScalar::Softplus(_), _) => sigmoid::softplus(party, numbers, (x, out), slope),
        (AnyScalar::Erf(_), _) => NormalTail::new(false, numbers).apply(party, (x, out), slope),
        (AnyScalar::Gelu(_), _) => NormalTail::new(true, numbers).apply(party, (x, out), slope),
        _ => panic!("the function was checked"),
    }
}

/// An argument by its sign, from one comparison with each of `-L`, 0 and `L`.
struct Sides<'a, W> {
    /// `max(0, x)`.
    positive_part: &'a [W],
    /// The words `[x >= 0]`.
    step: &'a mut [W],
    /// `min(|x|, L)`.
    magnitude: &'a [W],
}

impl<'a, W: Word> Sides<'a, W> {
    /// Words of scratch that [`Self::new`] takes for `n` arguments.
    fn length(n: usize) -> usize {
        7 * n
    }

    /// The sides of `x`, for a limit of `reach` units: three rounds; four above 22 opened
    /// bits.
    fn new(party: &mut Party<'_, W>, x: &[W], reach: i64, buffer: &'a mut [W]) -> Result<Self, Error> {
        let n = x.len();
        let (size, rest) = buffer.split_at_mut(n);
        let (over, steps) = rest.split_at_mut(3 * n);
        size.copy_from_slice(x);
        above(party, (size, 0), &[W::from_i64(-reach), W::default(), W::from_i64(reach)], over, steps)?;
        // reach - over_0 + 2 over_1 - over_2
        size.fill(party.role.first(W::from_i64(reach)));
        party.kernels.sub(size, &over[..n]);
        party.kernels.add_scaled(size, &over[n..2 * n], W::from_u64(2));
        party.kernels.sub(size, &over[2 * n..]);
        Ok(Self { positive_part: &over[n..2 * n], step: &mut steps[n..2 * n], magnitude: size })
    }

    /// `sign` becomes the words `2 [x >= 0] - 1`.
    fn sign<'s>(&self, party: &Party<'_, W>, sign: &'s mut [W]) -> &'s [W] {
        sign.copy_from_slice(self.step);
        party.kernels.scale(sign, W::from_u64(2));
        party.kernels.add_constant(sign, party.role.first(W::from_i64(-1)));
        sign
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
