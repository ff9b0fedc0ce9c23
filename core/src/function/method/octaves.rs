//! Functions of octaves: the scale of each octave, and what becomes of the mantissa's function.

use super::{
    FunctionError,
    mapping::{LEAST, bits_of, units},
};
use crate::{
    function::{
        Numbers,
        leading_one::{normalise, weigh},
        pow2,
        scalar::Octaves,
    },
    link::Error,
    party::Party,
    protocol::{clamp::clamp, product::multiply_halves, truncate::truncate},
    word::Word,
};

/// A function of octaves, or its derivative, and its scale.
#[derive(Clone, Copy, Debug)]
pub struct OctaveFunction {
    octaves: Octaves,
    /// Factor of the power: 1, or the exponent in a derivative.
    factor: f64,
    numbers: Numbers,
}

impl OctaveFunction {
    /// The function, or its derivative.
    pub fn new(octaves: Octaves, is_slope: bool, numbers: &Numbers) -> Self {
        let (octaves, factor) = match (octaves, is_slope) {
            (octaves, false) => (octaves, 1.0),
            (Octaves::Power { halves }, true) => (Octaves::Power { halves: halves - 2 }, f64::from(halves) / 2.0),
            (Octaves::Logarithm { octave }, true) => {
                (Octaves::Power { halves: -2 }, octave * core::f64::consts::LOG2_E)
            }
        };
        Self { octaves, factor, numbers: *numbers }
    }

    /// The relation between octaves.
    pub(super) fn octaves(&self) -> Octaves {
        self.octaves
    }

    /// Bounds the error of rounded weights, in units of the result.
    pub(super) fn weight_error(&self) -> f64 {
        match self.octaves {
            Octaves::Power { halves } if halves % 2 != 0 => 0.5 * self.largest() * libm::exp2(-f64::from(self.shift())),
            _ => 0.0,
        }
    }

    /// The ring and the fraction bits.
    pub(super) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// The function of a mantissa.
    pub fn mantissa(&self, m: f64) -> f64 {
        match self.octaves {
            Octaves::Power { halves } => libm::pow(m, f64::from(halves) / 2.0),
            Octaves::Logarithm { octave } => libm::log2(m) * octave,
        }
    }

    /// Its largest magnitude.
    pub(super) fn largest(&self) -> f64 {
        libm::fmax(libm::fabs(self.mantissa(LEAST)), libm::fabs(self.mantissa(1.0)))
    }

    /// `log2` of the power, in units of the result, for the mantissa 1 of octave `j`.
    fn exponent(&self, j: u32) -> f64 {
        let Octaves::Power { halves } = self.octaves else { return 0.0 };
        let f = f64::from(self.numbers.frac_bits);
        f + f64::from(halves) / 2.0 * (f64::from(j) - f)
    }

    /// Bits that a weight may have.
    fn weight_bits(&self) -> u32 {
        (self.numbers.ring_bits - 2).saturating_sub(bits_of(self.largest()) + self.numbers.mantissa_bits())
    }

    /// The lowest octave that the ring has room for, beside the highest: arguments are clamped to
    /// its lower end.
    pub fn lowest(&self) -> u32 {
        let room = f64::from(self.numbers.ring_bits - 4) - libm::log2(libm::fmax(self.largest(), 1.0));
        // Weights below a unit of the result count, times the largest mantissa.
        let least = libm::fmax(self.exponent(self.numbers.octaves()), -f64::from(bits_of(self.largest())));
        let beside = f64::from(self.weight_bits()) + least;
        let fits = |j: &u32| self.exponent(*j) <= libm::fmin(room, beside);
        (1..self.numbers.octaves()).find(fits).unwrap_or(self.numbers.octaves())
    }

    /// Holds the function to the ring.
    ///
    /// # Errors
    ///
    /// [`FunctionError::Room`], also if no result is above three units.
    pub fn check(&self) -> Result<(), FunctionError> {
        let Octaves::Power { .. } = self.octaves else { return Ok(()) };
        let dropped = self.numbers.mantissa_bits().cast_signed() + self.shift();
        let largest = libm::fmax(self.exponent(self.lowest()), self.exponent(self.numbers.octaves()));
        let fits = (0..=self.numbers.ring_bits.cast_signed() - 2).contains(&dropped)
            && self.lowest() < self.numbers.octaves()
            && largest >= 2.0;
        if fits { Ok(()) } else { Err(FunctionError::Room) }
    }

    /// Bits that weights have beyond the result's scale; may be negative.
    fn shift(&self) -> i32 {
        let (low, high) = (self.exponent(self.lowest()), self.exponent(self.numbers.octaves()));
        #[allow(clippy::cast_possible_truncation)] // small
        let largest = libm::ceil(libm::fmax(low, high)) as i32;
        self.weight_bits().cast_signed() - largest
    }

    /// The weight of octave `j`.
    fn weight(&self, j: u32) -> i64 {
        match self.octaves {
            Octaves::Power { halves } if j == 0 && halves > 0 => 0,
            Octaves::Power { .. } => {
                let exact = self.factor * libm::exp2(self.exponent(j) + f64::from(self.shift()));
                let most = pow2(self.weight_bits() + 1);
                units(libm::fmax(-most, libm::fmin(exact, most)), 0)
            }
            Octaves::Logarithm { octave } => {
                units((f64::from(j) - f64::from(self.numbers.frac_bits)) * octave, self.numbers.frac_bits)
            }
        }
    }

    /// Clamps `x` and finds its octave and mantissa.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn normalise<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        x: &[W],
        hot: &mut [W],
        mantissa: &mut [W],
    ) -> Result<(), Error> {
        let n = self.numbers.octaves();
        let low = match self.octaves {
            Octaves::Power { halves: 1.. } => 0,
            _ => 1 << (self.lowest() - 1),
        };
        let ([held], mut party) = party.scratch([x.len()])?;
        held.copy_from_slice(x);
        clamp(&mut party, held, W::from_u64(low), W::from_u64((1 << n) - 1))?;
        normalise(&mut party, held, n, hot, mantissa)
    }

    /// From the mantissa's function `y` to that of `x`.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn finish<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        hot: &[W],
        y: &mut [W],
        out: &mut [W],
    ) -> Result<(), Error> {
        let mantissa_bits = self.numbers.mantissa_bits();
        let Octaves::Power { .. } = self.octaves else {
            truncate(party, y, mantissa_bits - self.numbers.frac_bits)?;
            weigh(party, hot, |j| self.weight(j), out);
            party.kernels.add(out, y);
            return Ok(());
        };
        let len = y.len();
        let ([factors], mut party) = party.scratch([2 * len])?;
        let (weights, values) = factors.split_at_mut(len);
        weigh(&party, hot, |j| self.weight(j), weights);
        values.copy_from_slice(y);
        multiply_halves(&mut party, factors, out)?; // a round
        truncate(&mut party, out, mantissa_bits.saturating_add_signed(self.shift())) // a round
    }
}
