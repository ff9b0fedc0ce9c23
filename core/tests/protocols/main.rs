//! Every protocol on every engine, against its oracle.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod alarm;
mod batch_norm;
mod bits;
mod clamp;
mod closed_form;
mod compare;
mod division;
mod fold;
mod functions;
mod harness;
mod layers;
mod lift;
mod linear;
mod loss;
mod loss_limits;
mod mapping;
mod maximum;
mod metrics;
mod narrow;
mod newton;
mod norm_clip;
mod optimizer;
mod peers;
mod precise;
mod recipe;
mod recurrent;
mod relu;
mod resnet;
mod reuse;
mod scalars;
mod softmax;
mod sums;
mod uniform;
mod vectors;
