//! The Euclidean (L2) norm of rows.
//!
//! A row is opened under a mask and multiplied with itself; only the sum of the masks' squares is
//! dealt. The sum has twice the fraction bits, is truncated once, and its root is a
//! [function of one number](super::method), by its default method.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** two rounds and the root's. Each way: a word for each word of a row and `k - t` bits
//!   and the root's a row; dealt a word, `2 (t + 1)` bits and the root's a row, where `t` bits are
//!   truncated.
//! - **Result:** [`Norm::bound`]. The norm of a zero row is zero.
//! - **Needs:** a sum of squares below `2^(k - 1 - 2f)`; beyond, it wraps and the result is
//!   arbitrary. Norms beyond [`Norm::largest`] whose sum is below that saturate there.
//! - **Alarms:** of words that are squared, and of sums, of a sample
//!   ([`crate::protocol::alarm`]).
//! - **Memory:** six words of scratch for each word of a row and the root's a row; no heap.

use super::{
    Numbers,
    method::Function,
    pow2,
    scalar::{AnyScalar, SquareRoot},
};
use crate::{
    link::Error,
    party::Party,
    protocol::{
        alarm,
        dots::dots,
        masked::{Masked, mask_and_open},
        truncate::truncate_unsigned,
    },
    word::Word,
};

/// The norm of rows of fixed-point values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    numbers: Numbers,
    doublings: u32,
    root: Function,
}

impl Norm {
    /// The norm in `numbers`. Each doubling doubles both the largest norm and the error.
    ///
    /// # Panics
    ///
    /// If a word has too few bits for the doublings, or the ring has no room for the root.
    pub fn new(numbers: Numbers, doublings: u32) -> Self {
        let root = Function::by_default(AnyScalar::SquareRoot(SquareRoot {}), &numbers);
        let norm = Self { numbers, doublings, root };
        assert!(norm.truncated_bits() <= numbers.ring_bits - 2, "norm: too many doublings");
        assert!(root.check(&numbers).is_ok(), "norm: the ring has no room for the root");
        norm
    }

    /// Low bits of the sum that are dropped.
    fn truncated_bits(&self) -> u32 {
        self.numbers.frac_bits + 2 * self.doublings
    }

    /// The norm from which on results stay the same.
    pub fn largest(&self) -> f64 {
        let [_, most] = self.root.domain(&self.numbers);
        libm::sqrt(most) * pow2(self.doublings)
    }

    /// How far the result is at most from `norm`, up to [`Self::largest`], in units of the last
    /// place.
    ///
    /// The sum's rounding by a unit counts at most the inverse of the norm there, and no more than
    /// the root of a unit; the rest is the root's own [bound](Function::bound).
    pub fn bound(&self, norm: f64) -> f64 {
        let (one, doubled) = (pow2(self.numbers.frac_bits), pow2(self.doublings));
        let norm = norm / doubled;
        let rounding = libm::fmin(1.0 / norm, libm::sqrt(one));
        let own = self.root.bound(&self.numbers);
        // The root is computed of the rounded sum.
        let computed = norm * one + rounding;
        doubled * (rounding + own.units + own.relative * computed)
    }

    /// Shares of the norm of each row of `cols` words of `x`.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (x, cols): (&[W], usize),
        out: &mut [W],
    ) -> Result<(), Error> {
        assert!(out.len() * cols == x.len(), "norm: not whole rows");
        alarm::squared(party, x)?;
        let ([open, sums], mut party) = party.scratch([x.len(), out.len()])?;
        open.copy_from_slice(x);
        let mask = party.draw()?.mask(x.len());
        let mask = mask_and_open(&mut party, open, mask)?; // round 1
        let x = Masked { words: open, mask };
        dots(&mut party, x, x, cols, sums)?;
        truncate_unsigned(&mut party, sums, self.truncated_bits())?; // round 2
        self.root.apply(&mut party, &self.numbers, (sums, out), None)?;
        party.kernels.scale(out, W::from_u64(1 << self.doublings));
        Ok(())
    }
}
