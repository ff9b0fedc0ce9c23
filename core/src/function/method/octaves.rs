//! Functions of octaves: the scale of each octave, and what becomes of the mantissa's function.
//!
//! An octave is a factor of four here ([`leading_one`]), so that the weight of an octave is a power
//! of two, for roots too, once the fraction of its exponent is a factor of the mantissa's function.
//!
//! [`leading_one`]: crate::function::leading_one

use super::{
    FunctionError,
    mapping::{LEAST, bits_of, units},
};
use crate::{
    correlation::Draw,
    function::{
        Numbers,
        leading_one::{Normalised, normalise},
        pow2,
        scalar::Octaves,
    },
    link::Error,
    party::Party,
    protocol::{
        masked::Masked,
        times::times_masked,
        truncate::{Cut, Opened, open, truncated},
    },
    word::Word,
};
use core::f64::consts::LOG2_E;

/// A function of octaves, or its derivative, and its scale.
#[derive(Clone, Copy, Debug)]
pub struct OctaveFunction {
    octaves: Octaves,
    /// Factor of the power: 1, or the exponent in a derivative.
    factor: f64,
    /// Whether the mantissa's function takes what keeps weights from being powers of two.
    folded: bool,
    numbers: Numbers,
}

impl OctaveFunction {
    /// The function, or its derivative.
    pub fn new(octaves: Octaves, is_slope: bool, numbers: &Numbers) -> Self {
        let (octaves, factor) = match (octaves, is_slope) {
            (octaves, false) => (octaves, 1.0),
            (Octaves::Power { halves }, true) => (Octaves::Power { halves: halves - 2 }, f64::from(halves) / 2.0),
            (Octaves::Logarithm { octave }, true) => (Octaves::Power { halves: -2 }, octave * LOG2_E),
        };
        Self { octaves, factor, folded: false, numbers: *numbers }
    }

    /// The same, with weights that are powers of two.
    pub fn folded(self) -> Self {
        Self { folded: true, ..self }
    }

    /// The relation between octaves.
    pub(super) fn octaves(&self) -> Octaves {
        self.octaves
    }

    /// Bounds the error of rounded weights, in units of the result.
    pub(super) fn weight_error(&self) -> f64 {
        let shift = f64::from(self.shift());
        let is_whole = |j: u32| {
            let log2 = self.exponent(j) + shift;
            log2 >= 0.0 && libm::trunc(log2).to_bits() == log2.to_bits()
        };
        match self.octaves {
            Octaves::Power { .. } if !(is_whole(self.lowest()) && is_whole(self.count() - 1)) => {
                0.5 * self.largest() * libm::exp2(-shift)
            }
            _ => 0.0,
        }
    }

    /// The ring and the fraction bits.
    pub(super) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Octaves of arguments.
    pub(super) fn count(&self) -> u32 {
        self.numbers.octaves() / 2
    }

    /// The function of a mantissa.
    pub fn mantissa(&self, m: f64) -> f64 {
        match self.octaves {
            Octaves::Power { halves } => libm::pow(m, f64::from(halves) / 2.0) * libm::exp2(self.fold()),
            Octaves::Logarithm { octave } => libm::log2(m) * octave,
        }
    }

    /// Its largest magnitude.
    pub(super) fn largest(&self) -> f64 {
        libm::fmax(libm::fabs(self.mantissa(LEAST)), libm::fabs(self.mantissa(1.0)))
    }

    /// The largest magnitude of what is truncated: of a logarithm, that of the whole.
    pub(super) fn largest_sum(&self) -> f64 {
        match self.octaves {
            Octaves::Power { .. } => self.largest(),
            Octaves::Logarithm { octave } => {
                f64::from(self.numbers.octaves().max(self.numbers.frac_bits)) * libm::fabs(octave) + self.largest()
            }
        }
    }

    /// `log2` of the power's magnitude, in units of the result, for the mantissa 1 of octave `j`.
    fn whole_exponent(&self, j: u32) -> f64 {
        let Octaves::Power { halves } = self.octaves else { return 0.0 };
        let f = f64::from(self.numbers.frac_bits);
        f + f64::from(halves) / 2.0 * (f64::from(2 * j + 2) - f) + libm::log2(libm::fabs(self.factor))
    }

    /// The part of this exponent that is a factor of the mantissa's function.
    fn fold(&self) -> f64 {
        let first = self.whole_exponent(0);
        if self.folded { first - libm::floor(first) } else { 0.0 }
    }

    /// The part of this exponent that is the weight's.
    fn exponent(&self, j: u32) -> f64 {
        self.whole_exponent(j) - self.fold()
    }

    /// Bits that a weight may have.
    fn weight_bits(&self) -> u32 {
        (self.numbers.ring_bits - 2).saturating_sub(bits_of(self.largest()) + self.numbers.mantissa_bits())
    }

    /// The lowest octave that the ring has room for, beside the highest.
    fn lowest(&self) -> u32 {
        let (room, top) = (self.room(), self.count() - 1);
        // Weights below a unit of the result count, times the largest mantissa.
        let least = libm::fmax(self.exponent(top), -f64::from(bits_of(self.largest())));
        let beside = f64::from(self.weight_bits()) + least;
        (0..=top).find(|j| self.exponent(*j) <= libm::fmin(room, beside)).unwrap_or(self.count())
    }

    /// `log2` of the largest weight.
    fn room(&self) -> f64 {
        f64::from(self.numbers.ring_bits - 4) - libm::log2(libm::fmax(self.largest(), 1.0))
    }

    /// The smallest argument, in units; smaller ones have its result, or a root's 0.
    pub fn low(&self) -> u64 {
        1 << (2 * self.lowest())
    }

    /// Holds the function to the ring.
    ///
    /// # Errors
    ///
    /// [`FunctionError::Room`], also if no result is above three units.
    pub fn check(&self) -> Result<(), FunctionError> {
        let Octaves::Power { .. } = self.octaves else { return Ok(()) };
        let dropped = self.numbers.mantissa_bits().cast_signed() + self.shift();
        let largest = libm::fmax(self.exponent(self.lowest()), self.exponent(self.count() - 1));
        let fits = (0..=self.numbers.ring_bits.cast_signed() - 2).contains(&dropped)
            && self.lowest() < self.count()
            && largest >= 2.0;
        if fits { Ok(()) } else { Err(FunctionError::Room) }
    }

    /// Bits that weights have beyond the result's scale; may be negative.
    fn shift(&self) -> i32 {
        let (low, high) = (self.exponent(self.lowest()), self.exponent(self.count() - 1));
        #[allow(clippy::cast_possible_truncation)] // small
        let largest = libm::ceil(libm::fmax(low, high)) as i32;
        self.weight_bits().cast_signed() - largest
    }

    /// The weight of octave `j`.
    fn weight(&self, j: u32) -> i64 {
        let exact = libm::exp2(self.exponent(j) + f64::from(self.shift()));
        // Octaves below the lowest have its weight, so that no product leaves the ring.
        let most = pow2(self.weight_bits());
        units(libm::copysign(libm::fmin(exact, most), self.factor), 0)
    }

    /// The results below and above all octaves, in units.
    fn ends<W: Word>(&self) -> [W; 2] {
        let f = f64::from(self.numbers.frac_bits);
        let of = |log2: f64| match self.octaves {
            Octaves::Power { halves } => units(self.factor * libm::exp2(f + f64::from(halves) / 2.0 * (log2 - f)), 0),
            Octaves::Logarithm { octave } => units((log2 - f) * octave, self.numbers.frac_bits),
        };
        let low =
            if matches!(self.octaves, Octaves::Power { halves: 1.. }) { 0 } else { of((2 * self.lowest()).into()) };
        [low, of(self.numbers.octaves().into())].map(W::from_i64)
    }

    /// Finds the octaves and mantissas of `x`; the weights of the octaves, of a power, become
    /// `weights`.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn normalise<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        x: &[W],
        place: &mut Normalised<'_, W>,
        weights: &mut [W],
    ) -> Result<(), Error> {
        normalise(party, x, (self.count(), self.low()), place)?;
        if !weights.is_empty() {
            place.weigh(party, |j| self.weight(j), weights);
        }
        Ok(())
    }

    /// Words of weights for `len` values.
    pub(super) fn weights(&self, len: usize) -> usize {
        if matches!(self.octaves, Octaves::Power { .. }) { len } else { 0 }
    }

    /// From the mantissa's function `y`, shares of the truncated value of `word`, to the power of
    /// `x`: one round.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub(super) fn weighted<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        place: &Normalised<'_, W>,
        (draw, word, y): (&mut Draw, &Opened<'_, W>, &mut [W]),
        weights: Masked<'_, W>,
        out: &mut [W],
    ) -> Result<(), Error> {
        times_masked(party, draw, word, weights, y)?;
        self.close(party, place, (y, self.numbers.mantissa_bits().saturating_add_signed(self.shift())), out)
    }

    /// From the mantissa's function `y`, with `surplus` fraction bits beyond the mantissa's, to the
    /// logarithm of `x`: one round.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub(super) fn added<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        place: &Normalised<'_, W>,
        (y, surplus): (&mut [W], u32),
        out: &mut [W],
    ) -> Result<(), Error> {
        let (f, bits) = (self.numbers.frac_bits, self.numbers.mantissa_bits() + surplus);
        let Octaves::Logarithm { octave } = self.octaves else { panic!("a power is weighted") };
        let ([sum], mut party) = party.scratch([y.len()])?;
        place.weigh(&party, |j| units((f64::from(2 * j + 2) - f64::from(f)) * octave, bits), sum);
        party.kernels.add(sum, y);
        self.close(&mut party, place, (sum, bits - f), out)
    }

    /// Truncates the result; beyond the octaves it is the one at the end.
    fn close<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        place: &Normalised<'_, W>,
        (z, dropped): (&[W], u32),
        out: &mut [W],
    ) -> Result<(), Error> {
        let ([c], mut party) = party.scratch([z.len()])?;
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, z, Cut::signed(dropped), c)?; // the one round
        truncated(&mut party, &mut draw, &word, out)?;
        place.within(&mut party, &mut draw, &word, self.ends(), out)
    }
}
