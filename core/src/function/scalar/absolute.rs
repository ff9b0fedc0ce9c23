//! `|x|`.

use super::{RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `|x|`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Absolute {}

impl Scalar for Absolute {
    fn value(&self, x: f64) -> f64 {
        libm::fabs(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        if x < 0.0 { -1.0 } else { 1.0 }
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::BySign
    }
}
