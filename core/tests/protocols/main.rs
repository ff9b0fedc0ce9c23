//! Every protocol on every engine, against its oracle.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod bits;
mod clamp;
mod compare;
mod harness;
mod lift;
mod linear;
mod functions;
mod softmax;
mod mapping;
mod maximum;
mod relu;
mod narrow;
mod reuse;
mod uniform;
mod optimizer;
