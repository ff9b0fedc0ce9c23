//! `1 / x` for `x > 0`, else infinity: on shares, the value at the domain's lower end.

use super::{Octaves, RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `1 / x` for `x > 0`, else infinity: on shares, the value at the domain's lower end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reciprocal {}

impl Scalar for Reciprocal {
    fn value(&self, x: f64) -> f64 {
        if x > 0.0 { 1.0 / x } else { f64::INFINITY }
    }

    fn derivative(&self, x: f64) -> f64 {
        if x > 0.0 { -1.0 / (x * x) } else { 0.0 }
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Octaves(Octaves::Power { halves: -2 })
    }
}
