//! Optimizers: how shared weights follow shared gradients.
//!
//! Each is a struct of public constants with a `step` over flat slices: the parameters of one tile, whatever layers they belong to. Gradients come untruncated, as
//! a matrix product gives them: with twice the fraction bits of values, summed over the batch. Weights stay shared; the caller opens them for the
//! next pass. State is flat, begins as zeros, and is all that a checkpoint needs.
//!
//! | | rounds | bytes each way: k = 64 | k = 32 | dealt, k = 64 / 32 | state, words |
//! | --- | --- | --- | --- | --- | --- |
//! | [`Sgd`], 205 / 4096, 30 bits in all | 1 | 5.5 | 1.5 | 11.9 / 7.9 | 0 |
//! | [`Momentum`], the same rate | 1 | 6.5 | 2.3 | 15.3 / 11.6 | 1 |
//! | [`Momentum`], narrow | 2 | 13.6 | 5.4 | 16.6 / 12.8 | 1 |
//! | [`Adam`], every `v` | 7 | 52.5 | 20.6 | 282 / 75 | 2 |
//! | [`Adam`], six thresholds | 7 | 40.8 | 19.1 | 110 / 58 | 2 |
//! | [`Adam`], cells kept | 3 | 26.6 | 10.8 | 31 / 23 | 2 |
//! | [`Adam`], cells kept, lazy | 3 | 19.9 | 8 | 18.6 / 14.4 | 2 |
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
