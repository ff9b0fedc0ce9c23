//! Sigmoid, tanh and softplus, of `e^-|x|`.

use super::{Precision, Sides, exponential::power_of_two, saturation_log2};
use crate::{
    function::{
        Numbers, fit,
        method::{
            newton::{self, Iterate},
            polynomial::Horner,
        },
    },
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
        times::times_masked,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};
use core::f64::consts::LN_2;

/// The sigmoid for `a = 1`; twice the sigmoid of `2 x` less 1, which is tanh, for `a = 2`.
pub(super) fn sigmoid<W: Word>(
    party: &mut Party<'_, W>,
    a: u64,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
    slope: Option<&mut [W]>,
) -> Result<(), Error> {
    let (n, f) = (x.len(), numbers.frac_bits);
    let ([sides, e], mut party) = party.scratch([Sides::<W>::length(n), n])?;
    // At most a quarter of the exponential's relative error enters.
    let precision = Precision::new(numbers);
    let rougher = Precision { exponential: precision.exponential - 1, ..precision };
    let sides = exponential_of_magnitude(&mut party, (a, &rougher), numbers, x, (sides, e))?;
    sigmoid_from_exponential(&mut party, numbers, (e, sides.step), out)?;
    let one = W::from_u64(1).shl(f);
    if let Some(slope) = slope {
        // s (1 - s), times a^2.
        let ([c], mut party) = party.scratch([n])?;
        c.copy_from_slice(out);
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(&mut party, c, mask)?;
        let s = Masked { words: c, mask };
        multiply(&mut party, s, s, slope)?;
        party.kernels.scale(slope, W::from_i64(-1));
        party.kernels.add_scaled(slope, out, one);
        party.kernels.scale(slope, W::from_u64(a * a));
        truncate(&mut party, slope, f)?;
    }
    if a == 2 {
        party.kernels.scale(out, W::from_u64(2));
        party.kernels.add_constant(out, party.role.first(W::default().sub(one)));
    }
    Ok(())
}

/// `max(0, x) + log(1 + e^-|x|)`; its slope is the sigmoid.
pub(super) fn softplus<W: Word>(
    party: &mut Party<'_, W>,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
    slope: Option<&mut [W]>,
) -> Result<(), Error> {
    let (n, f, precision) = (x.len(), numbers.frac_bits, Precision::new(numbers));
    let bits = precision.frac_bits;
    let ([sides, e, u], mut party) = party.scratch([Sides::<W>::length(n), n, n])?;
    let sides = exponential_of_magnitude(&mut party, (1, &precision), numbers, x, (sides, e))?;
    u.copy_from_slice(e);
    let mask = party.draw()?.mask(n);
    let mask = mask_and_open(&mut party, u, mask)?; // a round
    let horner = Horner { shift: 0, u_bits: bits - 1, frac_bits: f, guard: bits - f };
    horner.apply(&mut party, Masked { words: u, mask }, &[log1p_polynomial(numbers)], out)?;
    party.kernels.add(out, sides.positive_part);
    let Some(slope) = slope else { return Ok(()) };
    sigmoid_from_exponential(&mut party, numbers, (e, sides.step), slope)
}

/// The polynomial of `log(1 + u)` for `u` from 0 to 1.
fn log1p_polynomial(numbers: &Numbers) -> fit::Coefficients {
    fit::interpolation(libm::log1p, [0.0, 1.0], Precision::new(numbers).softplus)
}

/// The degree of the polynomial of softplus.
#[allow(clippy::cast_possible_truncation)] // at most 15
pub(in super::super) fn softplus_degree(numbers: &Numbers) -> u8 {
    Precision::new(numbers).softplus as u8
}

/// The largest error of the polynomial of softplus.
pub(in super::super) fn softplus_error(numbers: &Numbers) -> f64 {
    let polynomial = log1p_polynomial(numbers);
    let error = |u: f64| libm::fabs(fit::evaluate(&polynomial, u) - libm::log1p(u));
    (0..=128).map(|i| error(f64::from(i) / 128.0)).fold(0.0, libm::fmax)
}

/// `e = e^(-|a x|)` with a bit less than the precision's, and the sides of `x`.
fn exponential_of_magnitude<'a, W: Word>(
    party: &mut Party<'_, W>,
    (a, precision): (u64, &Precision),
    numbers: &Numbers,
    x: &[W],
    (sides, e): (&'a mut [W], &mut [W]),
) -> Result<Sides<'a, W>, Error> {
    let f = numbers.frac_bits;
    let ([z], mut party) = party.scratch([x.len()])?;
    #[allow(clippy::cast_possible_truncation)] // small
    let limit = libm::floor(f64::from(saturation_log2(numbers)) * LN_2) as i64;
    let sides = Sides::new(&mut party, x, (limit << f) / a.cast_signed(), sides)?;
    z.copy_from_slice(sides.magnitude);
    party.kernels.scale(z, W::from_i64(-a.cast_signed()));
    let low = -saturation_log2(numbers).cast_signed();
    power_of_two(&mut party, true, (z, f), ([low, 0], precision), (e, precision.frac_bits - 1))?;
    Ok(sides)
}

/// `1 / (1 + e)` where `x` is positive, `e / (1 + e)` where it is not. Overwrites `e` and
/// `step`.
fn sigmoid_from_exponential<W: Word>(
    party: &mut Party<'_, W>,
    numbers: &Numbers,
    (e, sign): (&mut [W], &mut [W]),
    out: &mut [W],
) -> Result<(), Error> {
    let (n, f, precision) = (e.len(), numbers.frac_bits, Precision::new(numbers));
    let bits = precision.frac_bits;
    let ([y, c, step], mut party) = party.scratch([n; 3])?;
    // The mantissa is (1 + e) / 2.
    party.kernels.add_constant(e, party.role.first(W::from_u64(1).shl(bits - 1)));
    let iterate = Iterate { mantissa: e, beside: &mut *sign, y, c };
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
    sign.share(&party, step);
    party.kernels.add_constant(out, party.role.first(one));
    party.kernels.add_scaled(out, step, W::default().sub(one));
    Ok(())
}
