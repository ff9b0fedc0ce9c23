//! Every set of kernels that this processor runs against the portable one, bit for bit.
#![allow(clippy::unwrap_used)]

mod products;
mod streams;
