//! `x^(1/2)`; 0 for `x < 0`.

use super::{Octaves, RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `x^(1/2)`; 0 for `x < 0`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct SquareRoot {}

impl Scalar for SquareRoot {
    fn value(&self, x: f64) -> f64 {
        if x > 0.0 { libm::sqrt(x) } else { 0.0 }
    }

    fn derivative(&self, x: f64) -> f64 {
        if x > 0.0 { 0.5 / libm::sqrt(x) } else { 0.0 }
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Octaves(Octaves::Power { halves: 1 })
    }
}
