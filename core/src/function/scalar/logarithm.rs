//! `ln x` for `x > 0`, else -infinity: on shares, the value at the domain's lower end.

use super::{Octaves, RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `ln x` for `x > 0`, else -infinity: on shares, the value at the domain's lower end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Logarithm {}

impl Scalar for Logarithm {
    fn value(&self, x: f64) -> f64 {
        if x > 0.0 { libm::log(x) } else { f64::NEG_INFINITY }
    }

    fn derivative(&self, x: f64) -> f64 {
        if x > 0.0 { 1.0 / x } else { 0.0 }
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Octaves(Octaves::Logarithm { octave: core::f64::consts::LN_2 })
    }
}
