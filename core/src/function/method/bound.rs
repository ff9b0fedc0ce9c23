//! Error bounds of functions on shares, against the method's exact result.
//!
//! Each bound is the sum of what the parts add: the fit of the pieces, coefficients and weights to
//! the nearest, cut fractions, a unit a truncation, and what is cut off beyond an interval. Dithers
//! are at their worst in it.

use super::{
    Function, Method, direct,
    limit::Limit,
    mapping::Mapping,
    octaves::OctaveFunction,
    periodic::{self, Periodic},
    polynomial::Polynomial,
    segments::Segments,
};
use crate::function::{
    Numbers, pow2,
    scalar::{AnyScalar, Octaves, RangeReduction, Scalar},
};

/// Bounds the error of a result `y` by `units + relative |y|`, with `|y|` in units of the last
/// place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Units of the last place.
    pub units: f64,
    /// Relative part; dimensionless.
    pub relative: f64,
}

impl Function {
    /// How far results are from [`ideal`](Self::ideal), inside the domain and beyond.
    pub fn bound(&self, numbers: &Numbers) -> Bound {
        match &self.method {
            Method::Mapping(mapping) => match self.scalar.range_reduction() {
                RangeReduction::Octaves(octaves) => mapping.octaves_bound(octaves, numbers),
                _ => mapping.cells_bound(&self.scalar, numbers),
            },
            Method::Direct | Method::Auto => direct_bound(&self.scalar, numbers),
            Method::Polynomial(polynomial) => polynomial.bound(&self.scalar, numbers),
            Method::Segments(segments) => segments.bound(numbers),
            Method::Limit(limit) => limit.bound(numbers),
            Method::Periodic(periodic) => periodic.bound(&self.scalar, numbers),
        }
    }
}

/// The rounding error of Horner's rule in `degree` steps, in units of the coefficients' last place:
/// their roundings, a truncation a step but the last.
fn horner(degree: u8) -> f64 {
    0.5 * (f64::from(degree) + 1.0) + f64::from(degree.max(1)) - 1.0
}

impl Mapping {
    fn cells_bound(&self, scalar: &AnyScalar, numbers: &Numbers) -> Bound {
        let one = pow2(numbers.frac_bits);
        let fit = self.fit_error(scalar) * 1.05;
        let mut units = fit * one + 0.5;
        if self.degree > 0 {
            let [kept, guard] = self.room(scalar, numbers).unwrap_or_default();
            let coarse = kept < self.dropped(scalar, numbers);
            let cut = if coarse { self.steepest(scalar) * one / pow2(kept) } else { 0.0 };
            units += 0.5 + horner(self.degree) / pow2(guard) + cut;
        }
        if scalar.range_reduction() == RangeReduction::Periodic {
            units += periodic::turn_error(numbers);
        } else {
            // At the ends, what the limits cut off: a value there takes the limit or the last
            // piece.
            let ends = scalar.ends(self.interval);
            let [low, high] = self.interval;
            let cut = |x: f64, end: f64| libm::fabs(scalar.value(x) - end) * one + 1.5;
            // A value in the last cell may round up to the end.
            let last = if self.has_limits(scalar) { high - self.width() } else { high };
            let above = ends.values[1] + if ends.grows { last } else { 0.0 };
            units = libm::fmax(units, libm::fmax(cut(low, ends.values[0]), cut(last, above)));
        }
        Bound { units, relative: fit }
    }

    fn octaves_bound(&self, octaves: Octaves, numbers: &Numbers) -> Bound {
        let scaled = OctaveFunction::new(octaves, false, numbers).folded();
        finished(&scaled, self.mantissa_fit_error(&scaled) * 1.05, self.mantissa_rounding(&scaled))
    }

    /// Rounding error of a mantissa's function, in units of the mantissa.
    fn mantissa_rounding(&self, scaled: &OctaveFunction) -> f64 {
        let [_, guard] = self.mantissa_room(scaled, scaled.numbers().octaves());
        if self.degree == 0 { 0.5 } else { 1.5 + horner(self.degree) / pow2(guard) }
    }

    /// Relative error of the power of a mantissa.
    pub(crate) fn mantissa_error(&self, scaled: &OctaveFunction) -> f64 {
        finished(scaled, self.mantissa_fit_error(scaled) * 1.05, self.mantissa_rounding(scaled)).relative
    }
}

/// Takes the error of the mantissa's function through the weight, or the sum with one: that of its
/// fit, relative for a power, and that of its rounding, in units of the mantissa.
fn finished(scaled: &OctaveFunction, fit: f64, rounding: f64) -> Bound {
    let numbers = scaled.numbers();
    let (one, rounding) = (pow2(numbers.frac_bits), rounding / pow2(numbers.mantissa_bits()));
    match scaled.octaves() {
        Octaves::Logarithm { .. } => Bound { units: 1.5 + (fit + rounding) * one, relative: 0.0 },
        Octaves::Power { .. } => {
            let least = libm::fmin(scaled.mantissa(1.0), scaled.mantissa(super::mapping::LEAST));
            Bound { units: 1.0 + scaled.weight_error(), relative: fit + rounding / least }
        }
    }
}

impl Polynomial {
    fn bound(&self, scalar: &AnyScalar, numbers: &Numbers) -> Bound {
        let c = self.coefficients(scalar);
        let [dropped, guard, steepest] = self.precision(&c, numbers);
        let cut = if dropped > 0.0 { steepest * libm::exp2(dropped) } else { 0.0 };
        Bound { units: 1.0 + horner(self.degree) / libm::exp2(guard) + cut, relative: 0.0 }
    }
}

impl Segments {
    fn bound(&self, numbers: &Numbers) -> Bound {
        let [low, high] = self.interval();
        // Slopes are rounded, and so are the knots' places and values.
        let coarse = pow2(numbers.frac_bits - self.slope_bits(numbers));
        let steepest = self.knots().windows(2).map(|pair| (pair[1][1] - pair[0][1]) / (pair[1][0] - pair[0][0]));
        let steepest = steepest.fold(0.0, |most, slope| libm::fmax(most, libm::fabs(slope)));
        Bound { units: 1.5 + 0.5 * (high - low) * coarse + steepest, relative: 0.0 }
    }
}

impl Limit {
    fn bound(self, numbers: &Numbers) -> Bound {
        // An error of y doubles with each square, where y is near 1; and each truncates.
        let steps = pow2(self.squarings.into());
        let finest = pow2(numbers.frac_bits) / pow2(self.bits(numbers));
        Bound { units: 1.0 + 2.0 * steps * finest, relative: 0.0 }
    }
}

impl Periodic {
    fn bound(&self, scalar: &AnyScalar, numbers: &Numbers) -> Bound {
        let Some(series) = self.series(scalar) else { return Bound { units: 0.0, relative: 0.0 } };
        let (scale, turn) = (periodic::scale(&series, numbers).unwrap_or_default(), self.turn(scalar, numbers));
        let one = pow2(numbers.frac_bits);
        // Half a last place of each sine and cosine, which count |cos| + |sin| at most; the same of
        // the factors. Their products, the integer sines' own error and that of coefficients are
        // below a hundredth of these.
        let of = |frac_bits: u32| core::f64::consts::FRAC_1_SQRT_2 * one / pow2(frac_bits);
        let [factor_bits, _] = scale.factor_bits;
        let mut units = 1.0 + 1.01 * (series.sum() * of(scale.sine_bits) + f64::from(self.terms) * of(factor_bits));
        if turn.dropped > 0 {
            // Less than one step of the phase, for slopes up to 1, and the turn as an integer.
            units += 2.0 * core::f64::consts::PI * one / pow2(turn.bits) + periodic::turn_error(numbers);
        }
        Bound { units, relative: 0.0 }
    }
}

/// The bounds of the dedicated protocols.
fn direct_bound(scalar: &AnyScalar, numbers: &Numbers) -> Bound {
    let of = |units: f64, relative_bits: f64| Bound { units, relative: libm::exp2(-relative_bits) };
    let precision = direct::precision_bits(numbers);
    match scalar {
        AnyScalar::Absolute(_) | AnyScalar::Sign(_) => of(0.0, 1000.0),
        AnyScalar::Power(power) => {
            let n = f64::from(power.exponent);
            // Each product's rounding is multiplied by what is left of the power.
            Bound {
                units: 1.0 + libm::fmax(n - 2.0, 0.0),
                relative: libm::fmax(n - 2.0, 0.0) / pow2(numbers.frac_bits),
            }
        }
        _ => match scalar.range_reduction() {
            RangeReduction::Octaves(octaves) => {
                let scaled = OctaveFunction::new(octaves, false, numbers);
                let fit = match octaves {
                    Octaves::Logarithm { octave } => direct::logarithm_error(octave, numbers),
                    Octaves::Power { halves } => direct::newton_error(halves, numbers),
                };
                finished(&scaled, fit, 8.0)
            }
            _ => match scalar {
                AnyScalar::Tanh(_) => of(2.4 + 14.0 * pow2(numbers.frac_bits) / pow2(precision), 1000.0),
                AnyScalar::Softplus(_) => {
                    let fit = direct::softplus_error(numbers) * pow2(numbers.frac_bits);
                    // Of the exponential, which counts at most half, and the coefficients.
                    let rounding = 11.0 + horner(direct::softplus_degree(numbers));
                    of(1.1 + fit + rounding * pow2(numbers.frac_bits) / pow2(precision), 1000.0)
                }
                AnyScalar::Erf(_) | AnyScalar::Gelu(_) => {
                    let is_gelu = matches!(scalar, AnyScalar::Gelu(_));
                    let tail = direct::NormalTail::new(is_gelu, numbers);
                    // Truncations of s, its square and its fourth power.
                    let rounding = (1.0 + horner(tail.degree())) / pow2(precision);
                    let squares = 6.0 * pow2(numbers.frac_bits) / pow2(precision);
                    of(1.1 + tail.error(rounding) * pow2(numbers.frac_bits) + squares, 1000.0)
                }
                AnyScalar::Sigmoid(_) => of(1.2 + 6.0 * pow2(numbers.frac_bits) / pow2(precision), 1000.0),
                _ => of(1.1 + 4.0 * pow2(numbers.frac_bits) / pow2(precision), f64::from(precision) - 4.0),
            },
        },
    }
}
