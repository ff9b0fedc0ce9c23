//! 1 where `x >= 0`, else -1.

use super::{RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// 1 where `x >= 0`, else -1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Sign {}

impl Scalar for Sign {
    fn value(&self, x: f64) -> f64 {
        if x < 0.0 { -1.0 } else { 1.0 }
    }

    fn derivative(&self, _: f64) -> f64 {
        0.0
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::BySign
    }
}
