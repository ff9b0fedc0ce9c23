//! `cos x`, for `x` in radians.

use super::{RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `cos x`, for `x` in radians.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cosine {}

impl Scalar for Cosine {
    fn value(&self, x: f64) -> f64 {
        libm::cos(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        -libm::sin(x)
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Periodic
    }
}
