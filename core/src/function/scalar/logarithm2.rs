//! `log2 x` for `x > 0`, else -infinity: on shares, the value at the domain's lower end.

use super::{Octaves, RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `log2 x` for `x > 0`, else -infinity: on shares, the value at the domain's lower end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Logarithm2 {}

impl Scalar for Logarithm2 {
    fn value(&self, x: f64) -> f64 {
        if x > 0.0 { libm::log2(x) } else { f64::NEG_INFINITY }
    }

    fn derivative(&self, x: f64) -> f64 {
        if x > 0.0 { core::f64::consts::LOG2_E / x } else { 0.0 }
    }

    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Octaves(Octaves::Logarithm { octave: 1.0 })
    }
}
