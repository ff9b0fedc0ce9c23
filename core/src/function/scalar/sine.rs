//! `sin x`, for `x` in radians.

use super::{RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `sin x`, for `x` in radians.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Sine {}

impl Scalar for Sine {
    fn value(&self, x: f64) -> f64 {
        libm::sin(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        libm::cos(x)
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Periodic
    }
}
