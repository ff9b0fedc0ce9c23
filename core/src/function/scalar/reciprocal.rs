//! `1 / x` for `x > 0`; for `x <= 0` its largest value.

use super::{Family, Octaves, Scalar};
use serde::{Deserialize, Serialize};

/// `1 / x` for `x > 0`; for `x <= 0` its largest value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reciprocal {}

impl Scalar for Reciprocal {
    fn value(&self, x: f64) -> f64 {
        if x > 0.0 { 1.0 / x } else { f64::INFINITY }
    }

    fn derivative(&self, x: f64) -> f64 {
        if x > 0.0 { -1.0 / (x * x) } else { 0.0 }
    }

    fn family(&self) -> Family {
        Family::Octaves(Octaves::Power { halves: -2 })
    }
}
