//! Optimizers: how shared weights follow shared gradients.
//!
//! Each is a struct of public constants with a `step` over flat slices: the parameters of one tile, whatever layers they belong to. Gradients come untruncated, as
//! a matrix product gives them: with twice the fraction bits of values, summed over the batch. Weights stay shared; the caller opens them for the
//! next pass. State is flat, begins as zeros, and is all that a checkpoint needs.
//!
//! | | rounds | bytes each way: k = 64 | k = 32 | dealt, k = 64 / 32 | state, words |
//! | --- | --- | --- | --- | --- | --- |
//! | [`Sgd`] | 1 | 8 | 4 | 8 / 4 and bits | 0 |
//! | [`Momentum`] | 1 | 8 | 4 | 16 / 8 and bits | 1 |
//! | [`Momentum`], narrow | 2 | 16 | 8 | 24 / 12 and bits | 1 |
//! | [`Adam`], every `v` | 7 | 59.8 | 26.3 | 347 / 90 | 2 |
//! | [`Adam`], six thresholds | 7 | 46.1 | 24.4 | 138 / 71 | 2 |
//! | [`Adam`], cells kept | 3 | 32 | 16 | 57 / 33 | 2 |
//! | [`Adam`], cells kept, lazy | 3 | 24 | 12 | 38 / 22 | 2 |
//! | [`AmsGrad`], `T` thresholds | 8 | + T/4 | + T/4 | + T/8 | 2 + `T` bits |
//!
//! **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Constants, step numbers and which steps keep their cells are public.

mod adam;
mod amsgrad;
pub mod cells;
mod momentum;
mod sgd;

pub use crate::protocol::scaled::Dyadic;
pub use adam::{Adam, Kept, Moments, Turn};
pub use amsgrad::AmsGrad;
pub use momentum::Momentum;
pub use sgd::Sgd;
