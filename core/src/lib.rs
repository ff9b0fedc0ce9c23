//! Two-server secure computation on additive shares, for microcontrollers and servers alike.
//!
//! Two servers that do not collude hold one additive share of each value; a dealer that sees no data hands them correlated randomness. This
//! crate has everything that both a Cortex-M and a training server run: words and shares, masks, protocols, functions. It has no heap, no
//! `std`, no unsafe code, no IO: callers pass slices, a [`link::Link`], [`correlation::Correlations`], and an arena.
//!
//! Lower never imports higher:
//!
//! | module | what |
//! | --- | --- |
//! | [`word`], [`fixed`] | ring words, dry words; fixed point |
//! | [`prg`], [`share`] | seeds, streams with random access; splitting and joining |
//! | [`kernel`] | the heavy loops, portable; bit planes and packing |
//! | [`turns`] | sines and cosines in integers |
//! | [`link`], [`correlation`] | the connection of the servers; masks, views, requests, sources |
//! | [`party`] | what a protocol is given |
//! | [`protocol`] | a file a protocol: opening, products, truncation, comparison, … |
//! | [`mapping`], [`function`] | public tables at a secret index; the functions made of them |
//! | [`layer`] | a file a layer; graphs of layers, inference and training over them |
//! | [`loss`] | losses and their gradients, from outputs and masked labels |
//! | [`metric`] | figures of a model on test records: sums over rows |
//! | [`optimizer`] | SGD, momentum, Adam, AMSGrad on shared weights |
//! | [`report`] | readings shared at their source: schemas, sealed reports, outbox; needs only streams |
//!
//! **Adversary:** semi-honest and static, at most one of {server 0, server 1, dealer}. Shapes and parameters are public.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(all(feature = "files", not(test)))]
extern crate std;

pub mod correlation;
pub mod dyadic;
pub mod fixed;
pub mod function;
pub mod kernel;
pub mod layer;
pub mod link;
pub mod loss;
pub mod mapping;
pub mod metric;
pub mod optimizer;
pub mod party;
pub mod prg;
pub mod protocol;
pub mod report;
pub mod share;
pub mod turns;
pub mod wipe;
pub mod word;
