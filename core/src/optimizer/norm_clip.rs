//! Clips the whole gradient by its norm (Pascanu, Mikolov, Bengio, ICML 2013).
//!
//! 1. [`Self::squares`](NormClip::squares), of each part of the gradient: open it, which gives its
//!    squares and, later, its products for nothing.
//! 2. [`Self::scale`](NormClip::scale), of the sum over all parts: `min(1, bound / sqrt(sum))`, one
//!    word.
//! 3. [`Self::apply`](NormClip::apply), of each part: the product with the scale.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Neither the norm nor whether
//!   it is above the bound is opened.
//! - **Cost:** 19 rounds, fewer where the sum or the scale loses no bits. A parameter: `k - s` bits
//!   each way; two words and `4 s + 3` bits dealt, where `s` are the fraction bits of the scale
//!   ([`NormClip::scale_bits`]).
//! - **Result:** gradients of the same format, scaled by `min(1, bound / norm)` to within 2^-8 of
//!   it and `2^-s`; a norm above 2,000 bounds counts
//!   as about 2,000, so that the result exceeds the bound. What is below
//!   `2^s` units is rounded.
//! - **Needs:** `k = 64`; a gradient of at most [`MAX_FRAC_BITS`] fraction bits, within `2^(k-2)`,
//!   whose norm is below `2^12`, or `2^39` units of a coarser gradient than that of 27 fraction
//!   bits. The sum of squares of a longer one wraps, and the scale is arbitrary.

use crate::{
    correlation::{Draw, View},
    function::{
        Numbers,
        method::{Function, Method, mapping::Mapping},
        scalar::{AnyScalar, InverseSquareRoot},
    },
    link::Error,
    party::Party,
    protocol::{
        clamp::clamp,
        masked::{Masked, mask_and_open},
        narrow::open_narrow,
        square::square,
        times::times_rows,
        truncate::{Cut, Opened, blind, truncate, truncate_unsigned},
    },
    word::Word,
};

/// The numbers of the inverse root.
const NUMBERS: Numbers = Numbers { ring_bits: 64, frac_bits: 16 };
/// Fraction bits of the elements that are squared.
const SQUARED_BITS: u32 = 19;
/// Fraction bits of a gradient, at most: a square needs 33 bits of a word.
pub const MAX_FRAC_BITS: u32 = 50;
/// Fraction bits of the scale, at least.
const LEAST_SCALE_BITS: u32 = 8;
/// `log2` of the sum of squares at the bound, in units of the root's argument: precise there, and
/// room for a norm two thousand times as large.
const AT_BOUND_LOG2: i32 = 10;
/// Bits of the constant that the root is multiplied by.
const CONSTANT_BITS: i32 = 12;

/// A bound on the norm of a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormClip {
    /// Fraction bits of the gradient.
    pub frac_bits: u32,
    /// The largest norm.
    pub bound: f64,
}

/// A part of the gradient, opened. Its sum is a share, so it has no `Debug`.
pub struct OpenedPart<W> {
    mask: View<'static>,
    /// The sum of its squares.
    pub sum: W,
}

impl NormClip {
    /// Fraction bits of the scale: those that elements lose before they are squared.
    pub fn scale_bits(&self) -> u32 {
        self.frac_bits.saturating_sub(SQUARED_BITS).max(LEAST_SCALE_BITS)
    }

    /// The bound in units of squared elements.
    fn units(&self) -> f64 {
        self.bound * libm::exp2(f64::from(self.frac_bits) - f64::from(self.scale_bits()))
    }

    /// The smallest and the largest bound of gradients of this format.
    pub fn limits(&self) -> [f64; 2] {
        let unit = self.bound / self.units();
        [32.0 * unit, libm::exp2(24.0) * unit]
    }

    /// Whether the ring and the gradient's format have room.
    pub fn fits(&self, ring_bits: u32) -> bool {
        let [least, most] = self.limits();
        ring_bits == 64 && (least..=most).contains(&self.bound) && self.frac_bits <= MAX_FRAC_BITS
    }

    /// Low bits that the sum of squares loses; even.
    fn dropped(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // small
        let dropped = libm::floor(2.0 * libm::log2(self.units())) as i32 - AT_BOUND_LOG2;
        dropped.max(0).cast_unsigned() & !1
    }

    /// The constant that takes the root to the scale, and the bits that its product loses.
    fn constant(&self) -> (u64, u32) {
        let own = 3 * NUMBERS.frac_bits / 2 + self.dropped() / 2;
        let exact = self.units() * libm::exp2(f64::from(self.scale_bits()) - f64::from(own));
        #[allow(clippy::cast_possible_truncation)] // small
        let bits = (CONSTANT_BITS - 1 - libm::floor(libm::log2(exact)) as i32).max(0).cast_unsigned();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive, of few bits
        let constant = libm::round(exact * libm::exp2(f64::from(bits))) as u64;
        (constant, bits)
    }

    /// Opens a part of the gradient into `c`; `gradient` becomes its truncated value.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn squares<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        gradient: &mut [W],
        c: &mut [W],
    ) -> Result<OpenedPart<W>, Error> {
        let ([squares], mut party) = party.scratch([gradient.len()])?;
        let mut draw = party.draw()?;
        let cut = Cut::signed(self.scale_bits());
        let mask = blind(&mut party, &mut draw, gradient, cut, c);
        open_narrow(&mut party, c, cut.bits())?; // a round
        square(&mut party, &mut draw, &Opened { c, mask, cut }, gradient, squares)?;
        let sum = squares.iter().fold(W::default(), |sum, square| sum.add(*square));
        Ok(OpenedPart { mask, sum })
    }

    /// The scale of a gradient with this sum of squares.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn scale<W: Word>(&self, party: &mut Party<'_, W>, sum: W) -> Result<W, Error> {
        let ([argument, scale], mut party) = party.scratch([1; 2])?;
        argument[0] = sum;
        if self.dropped() > 0 {
            truncate_unsigned(&mut party, argument, self.dropped())?; // a round
        }
        let scalar = AnyScalar::InverseSquareRoot(InverseSquareRoot {});
        let function = Function { scalar, method: Method::Mapping(Mapping::of_octaves(&NUMBERS)) };
        function.apply(&mut party, &NUMBERS, (argument, scale), None)?;
        let (constant, bits) = self.constant();
        party.kernels.scale(scale, W::from_u64(constant));
        if bits > 0 {
            truncate(&mut party, scale, bits)?; // a round
        }
        clamp(&mut party, scale, W::default(), W::from_u64(1).shl(self.scale_bits()))?;
        Ok(scale[0])
    }

    /// Scales the part that was opened as `c`: `gradient` has its first format again. One round,
    /// for the scale alone.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (opened, c): (&OpenedPart<W>, &[W]),
        scale: W,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        let mut scale = [scale];
        let mask = party.draw()?.mask(1);
        let mask = mask_and_open(party, &mut scale, mask)?;
        let mut draw: Draw = party.draw()?;
        let word = Opened { c, mask: opened.mask, cut: Cut::signed(self.scale_bits()) };
        times_rows(party, &mut draw, &word, Masked { words: &scale, mask }, gradient)
    }
}
