//! The error function and GELU, by the eighth power of a polynomial `s`.
//!
//! `erfc(v)^(1/8)` falls slowly. A polynomial of degree 6 to 11 in `v` fits it over the whole
//! interval; `erf` itself would need one and a half to twice the degree. Three squares follow, each
//! of a word that is opened anyway.
//!
//! - **Source:** the power of a polynomial, from Abramowitz, Stegun, "Handbook of mathematical
//!   functions", 7.1.28, which takes the sixteenth of a reciprocal; fitting the root itself saves
//!   the reciprocal.

use super::{Precision, Sides, exponential::power_of_two, saturation_log2};
use crate::{
    correlation::Draw,
    function::{
        Numbers, fit,
        method::{mapping::units, polynomial::Horner},
        pow2,
    },
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
        square::square,
        times::times_masked,
        truncate::{Cut, Opened, open, truncate, truncated},
    },
    word::Word,
};
use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, SQRT_2};

/// Fraction bits of a slope's public factor.
const FACTOR_BITS: u32 = 12;

/// The direct protocol of erf or GELU.
pub(in super::super) struct NormalTail {
    numbers: Numbers,
    is_gelu: bool,
    precision: Precision,
    /// `L / 2` of the interval `[0, L]`, in units of the argument.
    half: i64,
    /// `m`, with `L / 2 <= 2^m`.
    shift: u32,
}

impl NormalTail {
    pub(in super::super) fn new(is_gelu: bool, numbers: &Numbers) -> Self {
        // Where e^(-v^2) is a quarter of a unit.
        let reach = libm::sqrt(f64::from(saturation_log2(numbers)) * LN_2) * if is_gelu { SQRT_2 } else { 1.0 };
        #[allow(clippy::cast_possible_truncation)] // a few units of one
        let half = libm::floor(reach / 2.0 * pow2(numbers.frac_bits)) as i64;
        let shift = u32::from(reach > 2.0) + u32::from(reach > 4.0);
        Self { numbers: *numbers, is_gelu, precision: Precision::new(numbers), half, shift }
    }

    /// Fraction bits of `s` and its powers.
    fn bits(&self) -> u32 {
        self.precision.frac_bits
    }

    /// Degree of `s`.
    #[allow(clippy::cast_possible_truncation)] // at most 15
    pub(in super::super) fn degree(&self) -> u8 {
        self.precision.normal as u8
    }

    #[allow(clippy::cast_precision_loss)] // few bits
    fn middle(&self) -> f64 {
        self.half as f64 / pow2(self.numbers.frac_bits)
    }

    /// `erfc(v)^(1/8)`, of `v = x` or, for GELU, `x / √2`.
    fn root(&self, x: f64) -> f64 {
        let v = if self.is_gelu { x * FRAC_1_SQRT_2 } else { x };
        libm::sqrt(libm::sqrt(libm::sqrt(libm::erfc(v))))
    }

    /// The polynomial `s` in `u = |x| - L / 2`.
    fn polynomial(&self) -> fit::Coefficients {
        let middle = self.middle();
        fit::interpolation(|u| self.root(u + middle), [-middle, middle], self.precision.normal)
    }

    /// The largest error of `s^8`, or that times `|x| / 2`, for an exact `s^8` and for one that
    /// errs by `rounding` before the powers.
    pub(in super::super) fn error(&self, rounding: f64) -> f64 {
        let (polynomial, middle) = (self.polynomial(), self.middle());
        let error = |i: i32| {
            let u = f64::from(i) / 128.0 * middle;
            let (s, exact) = (fit::evaluate(&polynomial, u), self.root(u + middle));
            let power = |s: f64| libm::pow(s, 8.0);
            let counts = if self.is_gelu { (u + middle) / 2.0 } else { 1.0 };
            counts * (libm::fabs(power(s) - power(exact)) + power(exact + rounding) - power(exact))
        };
        (-128..=128).map(error).fold(0.0, libm::fmax)
    }
}

/// The argument's parts, open under a mask.
struct OpenedArgument<'a, W> {
    /// `|x| - L / 2`.
    u: Masked<'a, W>,
    /// `2 [x >= 0] - 1`.
    sign: Masked<'a, W>,
}

impl NormalTail {
    /// `erf x = sign (1 - s^8)`, or `x Φ(x) = max(0, x) - |x| s^8 / 2`.
    pub(super) fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let (n, f, bits) = (x.len(), self.numbers.frac_bits, self.bits());
        let ([sides, both, y, c], mut party) = party.scratch([Sides::<W>::length(n), 2 * n, n, n])?;
        let sides = Sides::new(&mut party, x, 2 * self.half, sides)?;
        let opens = self.open(&mut party, &sides, both)?; // a round
        self.power(&mut party, opens.u, (y, c))?;
        let mut draw = party.draw()?;
        let kept = if self.is_gelu { bits } else { f };
        let word = open(&mut party, &mut draw, y, Cut::signed(2 * bits - kept), c)?; // a round
        truncated(&mut party, &mut draw, &word, y)?;
        out.copy_from_slice(y);
        if self.is_gelu {
            self.times_magnitude(&mut party, (&mut draw, &word), opens.u, (y, out))?;
            truncate(&mut party, out, bits + 1)?; // the last round
            party.kernels.scale(out, W::from_i64(-1));
            party.kernels.add(out, sides.positive_part);
        } else {
            times_masked(&mut party, &mut draw, &word, opens.sign, out)?;
            party.kernels.scale(out, W::from_i64(-1));
            party.kernels.add_scaled(out, sides.sign(&party, c), W::from_u64(1).shl(f));
        }
        let Some(slope) = slope else { return Ok(()) };
        self.slope(&mut party, (&sides, &opens), y, slope)
    }

    /// OpenedArgument `u` and the sign under one mask.
    fn open<'a, W: Word>(
        &self,
        party: &mut Party<'_, W>,
        sides: &Sides<'_, W>,
        both: &'a mut [W],
    ) -> Result<OpenedArgument<'a, W>, Error> {
        let n = both.len() / 2;
        let (u, sign) = both.split_at_mut(n);
        u.copy_from_slice(sides.magnitude);
        party.kernels.add_constant(u, party.role.first(W::from_i64(-self.half)));
        sides.sign(party, sign);
        let mask = party.draw()?.mask(2 * n);
        let mask = mask_and_open(party, both, mask)?; // a round
        let (u, sign) = both.split_at(n);
        Ok(OpenedArgument {
            u: Masked { words: u, mask: mask.slice(0, n) },
            sign: Masked { words: sign, mask: mask.slice(n, n) },
        })
    }

    /// `y = s^8`, with twice the bits; `c` is room for a word.
    fn power<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        u: Masked<'_, W>,
        (y, c): (&mut [W], &mut [W]),
    ) -> Result<(), Error> {
        let (bits, u_bits) = (self.bits(), self.numbers.frac_bits + self.shift);
        let horner = Horner { shift: self.shift, u_bits, frac_bits: bits, guard: 0 };
        horner.untruncated(party, u, &[self.polynomial()], y)?;
        let ([squared], mut party) = party.scratch([y.len()])?;
        for dropped in [u_bits, bits, bits] {
            let mut draw = party.draw()?;
            let word = open(&mut party, &mut draw, y, Cut::signed(dropped), c)?; // a round
            square(&mut party, &mut draw, &word, y, squared)?;
            y.copy_from_slice(squared);
        }
        Ok(())
    }

    /// Multiplies `y`, the truncated value of `word`, by `|x|`. `out` holds `y` on entry and the
    /// product on return.
    fn times_magnitude<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (draw, word): (&mut Draw, &Opened<'_, W>),
        u: Masked<'_, W>,
        (y, out): (&[W], &mut [W]),
    ) -> Result<(), Error> {
        times_masked(party, draw, word, u, out)?;
        party.kernels.add_scaled(out, y, W::from_i64(self.half));
        Ok(())
    }

    /// `2 / √π e^(-x^2)`, or `Φ(x) + x φ(x) = [x >= 0] + sign (|x| φ(x) - s^8 / 2)`; `y` is `s^8`.
    fn slope<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (sides, opens): (&Sides<'_, W>, &OpenedArgument<'_, W>),
        y: &[W],
        slope: &mut [W],
    ) -> Result<(), Error> {
        let (n, f, bits) = (y.len(), self.numbers.frac_bits, self.bits());
        let ([e, c], mut party) = party.scratch([n; 2])?;
        self.bell(&mut party, (sides, opens.u), e)?;
        let factor = if self.is_gelu { FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0 } else { FRAC_2_SQRT_PI };
        party.kernels.scale(e, W::from_i64(units(factor, FACTOR_BITS)));
        if !self.is_gelu {
            slope.copy_from_slice(e);
            return truncate(&mut party, slope, bits + FACTOR_BITS - f);
        }
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, e, Cut::signed(FACTOR_BITS), c)?; // a round
        truncated(&mut party, &mut draw, &word, e)?;
        slope.copy_from_slice(e);
        self.times_magnitude(&mut party, (&mut draw, &word), opens.u, (e, slope))?;
        party.kernels.add_scaled(slope, y, W::default().sub(W::from_u64(1).shl(f - 1)));
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, slope, Cut::signed(bits), c)?; // the last round
        truncated(&mut party, &mut draw, &word, slope)?;
        times_masked(&mut party, &mut draw, &word, opens.sign, slope)?;
        party.kernels.add_scaled(slope, sides.step, W::from_u64(1).shl(f));
        Ok(())
    }

    /// `e = e^(-x^2)`, or `e^(-x^2 / 2)`, with the precision's bits.
    fn bell<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (sides, u): (&Sides<'_, W>, Masked<'_, W>),
        e: &mut [W],
    ) -> Result<(), Error> {
        let (f, bits) = (self.numbers.frac_bits, self.bits());
        let ([z], mut party) = party.scratch([e.len()])?;
        // -|x|^2 = -u^2 - L |x| + (L / 2)^2, and 8, which keeps it within a quarter of the ring.
        multiply(&mut party, u, u, z)?;
        party.kernels.scale(z, W::from_i64(-1));
        party.kernels.add_scaled(z, sides.magnitude, W::from_i64(-2 * self.half));
        let middle = W::from_i64(self.half * self.half).add(W::from_u64(8).shl(2 * f));
        party.kernels.add_constant(z, party.role.first(middle));
        let halved = u32::from(self.is_gelu);
        truncate(&mut party, z, f + halved)?; // a round
        party.kernels.add_constant(z, party.role.first(W::default().sub(W::from_u64(8).shl(f - halved))));
        let low = -saturation_log2(&self.numbers).cast_signed();
        power_of_two(&mut party, true, (z, f), ([low, 0], &self.precision), (e, bits))
    }
}
