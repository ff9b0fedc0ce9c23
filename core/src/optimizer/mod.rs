//! Optimizers: how shared weights follow shared gradients.
//!
//! Each is a struct of public constants in a file of its own, and implements [`Optimizer`]: a step
//! over flat slices, the parameters of one tile, whatever layers they belong to. Gradients come
//! untruncated, as a matrix product gives them: with twice the fraction bits of values, summed over
//! the batch. Weights stay shared; the caller opens them for the next pass. State is flat and
//! begins as zeros. A [`Recipe`] puts clipping, coupled weight decay and a public schedule before
//! the step.
//!
//! | | rounds | bytes each way: k = 64 | k = 32 | dealt, k = 64 / 32 | state, words |
//! | --- | --- | --- | --- | --- | --- |
//! | [`Sgd`], 205 / 4096, 30 bits in all | 1 | 5.5 | 1.5 | 11.9 / 7.9 | 0 |
//! | [`Momentum`], the same rate | 1 | 6.5 | 2.3 | 15.3 / 11.6 | 1 |
//! | [`Momentum`], narrow | 2 | 13.6 | 5.4 | 16.6 / 12.8 | 1 |
//! | [`Nesterov`], the same rate | 1 | 6.5 | 2.3 | 29 / 19.1 | 2 |
//! | [`Adam`], every `v` | 7 | 52.5 | 20.6 | 282 / 75 | 2 |
//! | [`Adam`], six thresholds | 7 | 40.8 | 19.1 | 110 / 58 | 2 |
//! | [`Adam`], buckets kept | 3 | 26.6 | 10.8 | 31 / 23 | 2 |
//! | [`Adam`], a mapped root | 16 (k = 32: 14) | 140.4 | 52.6 | 1073 / 267 | 2 |
//! | [`Adam`], buckets kept, lazily | 3 | 19.9 | 8 | 18.6 / 14.4 | 2 |
//! | [`AmsGrad`], `T` thresholds | 8 | + T/4 | + T/4 | + T/8 | 2 + `T` bits |
//! | [`AdamW`], 0.001 times 0.01 | 7 | + 6.25 | + 2.25 | + 10.8 / 6.8 | 2 |
//! | [`Newton`], direction given | 0 | 0 | | 0 | 0 |
//! | [`ClosedForm`], model given | 0 | 0 | | 0 | 0 |
//! | [`Coupled`] weight decay | 0 | 0 | 0 | 0 | 0 |
//! | [`NormClip`] | + 19 | + 6.5 | | + 22.4 | 0 |
//! | [`Clip`] | + 4 | + 18.75 | + 9.5 | + 106.5 / 42.5 | 0 |
//! | [`Schedule`] | 0 | up to + 1.25 | up to + 1.25 | a rate's ([`crate::protocol::scaled`]) | 0 |
//!
//! **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Constants, step numbers, rates
//! and which steps keep their buckets are public.

mod adam;
mod adamw;
mod amsgrad;
mod clip;
mod closed_form;
mod decay;
mod inverse_root;
mod momentum;
mod nesterov;
mod newton;
mod norm_clip;
mod schedule;
mod sgd;

pub use crate::protocol::scaled::Dyadic;
pub use adam::{Adam, Kept, Moments, Turn};
pub use adamw::AdamW;
pub use amsgrad::AmsGrad;
pub use clip::Clip;
pub use closed_form::{ClosedForm, FunctionOfCounts};
pub use decay::Coupled;
pub use momentum::Momentum;
pub use nesterov::Nesterov;
pub use newton::{Curvature, CurvatureInverse, Newton};
pub use norm_clip::{MAX_FRAC_BITS, NormClip, OpenedPart};
pub use schedule::{Decline, Schedule};
pub use sgd::Sgd;

use crate::{correlation::View, link::Error, party::Party, word::Word};
use core::ops::Range;

/// How shared gradients become steps of shared weights.
pub trait Optimizer<W: Word>: Sync {
    /// Words of state for `n` parameters: durable shares, which a checkpoint stores, and volatile
    /// openings, which it must not store.
    fn state(&self, n: usize) -> [usize; 2];

    /// Makes one step. `gradient` is overwritten.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ or a constant is out of range.
    fn step(
        &self,
        party: &mut Party<'_, W>,
        at: Moment,
        gradient: &mut [W],
        weights: &mut [W],
        state: State<'_, W>,
    ) -> Result<(), Error>;

    /// `[first, period]`: after `first` steps of one rate, each `period` steps cost the same. So a
    /// plan runs no more.
    fn period(&self) -> [u64; 2] {
        [0, 1]
    }

    /// The place of second moments in the durable state of `n` parameters, for range audits; empty
    /// where an optimizer has none.
    fn second_moments(&self, _n: usize) -> Range<usize> {
        0..0
    }
}

/// The public inputs of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// The step's number in its job, from 0.
    pub step: u64,
    /// The schedule's factor on the learning rate.
    pub rate: Dyadic,
    /// That of the next step.
    pub next: Dyadic,
}

impl Moment {
    /// Step `step` of a constant learning rate.
    pub fn constant(step: u64) -> Self {
        Self { step, rate: Dyadic::ONE, next: Dyadic::ONE }
    }
}

/// The state of a tile of parameters; it begins as zeros and `None`.
#[derive(Debug)]
pub struct State<'a, W> {
    /// Shares that later steps need.
    pub durable: &'a mut [W],
    /// Words that are masked and open. Without their mask, a step computes them afresh.
    pub volatile: &'a mut [W],
    /// Names the mask of `volatile`.
    pub mask: &'a mut Option<View<'static>>,
}

/// Lists all optimizers.
macro_rules! optimizers {
    ($($name:ident)*) => {
        /// Any of the optimizers.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum AnyOptimizer {
            $(#[doc = concat!("[`", stringify!($name), "`].")] $name($name),)*
        }

        $(impl From<$name> for AnyOptimizer {
            fn from(optimizer: $name) -> Self {
                Self::$name(optimizer)
            }
        })*

        impl<W: Word> Optimizer<W> for AnyOptimizer {
            fn state(&self, n: usize) -> [usize; 2] {
                match self { $(Self::$name(own) => Optimizer::<W>::state(own, n),)* }
            }

            fn step(
                &self,
                party: &mut Party<'_, W>,
                at: Moment,
                gradient: &mut [W],
                weights: &mut [W],
                state: State<'_, W>,
            ) -> Result<(), Error> {
                match self { $(Self::$name(own) => own.step(party, at, gradient, weights, state),)* }
            }

            fn period(&self) -> [u64; 2] {
                match self { $(Self::$name(own) => Optimizer::<W>::period(own),)* }
            }

            fn second_moments(&self, n: usize) -> Range<usize> {
                match self { $(Self::$name(own) => Optimizer::<W>::second_moments(own, n),)* }
            }
        }
    };
}

optimizers! { Sgd Momentum Nesterov Adam AmsGrad AdamW Newton ClosedForm }

/// An optimizer, and all that goes before its step: clipping, then coupled weight decay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recipe {
    /// The optimizer.
    pub optimizer: AnyOptimizer,
    /// Factors on its learning rate.
    pub schedule: Schedule,
    /// The bound of gradients, if they are clipped.
    pub clip: Option<Clip>,
    /// The weight decay that is added to gradients, if any.
    pub decay: Option<Coupled>,
}

impl Recipe {
    /// `optimizer` alone.
    pub fn new(optimizer: impl Into<AnyOptimizer>) -> Self {
        Self { optimizer: optimizer.into(), schedule: Schedule::CONSTANT, clip: None, decay: None }
    }

    /// Makes step `step`, counted from 0. `gradient` is overwritten.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::step`].
    ///
    /// # Panics
    ///
    /// As [`Optimizer::step`].
    pub fn step<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        step: u64,
        gradient: &mut [W],
        weights: &mut [W],
        state: State<'_, W>,
    ) -> Result<(), Error> {
        if let Some(clip) = self.clip {
            clip.apply(party, gradient)?;
        }
        if let Some(decay) = self.decay {
            decay.apply(party, weights, gradient);
        }
        let at = Moment { step, rate: self.schedule.rate(step), next: self.schedule.rate(step + 1) };
        self.optimizer.step(party, at, gradient, weights, state)
    }

    /// As [`Optimizer::period`], the schedule included. Where no steps repeat, `first` is
    /// `u64::MAX`.
    pub fn period<W: Word>(&self) -> [u64; 2] {
        let [first, period] = Optimizer::<W>::period(&self.optimizer);
        [first.max(self.schedule.changes()), period]
    }
}
