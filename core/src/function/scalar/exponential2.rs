//! `2^x`.

use super::{Ends, Numbers, Scalar};
use serde::{Deserialize, Serialize};

/// `2^x`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Exponential2 {}

impl Scalar for Exponential2 {
    fn value(&self, x: f64) -> f64 {
        libm::exp2(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        libm::exp2(x) * core::f64::consts::LN_2
    }

    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        if numbers.ring_bits == 32 { [-14.0, 2.0] } else { [-28.0, 4.0] }
    }

    fn ends(&self, [_, high]: [f64; 2]) -> Ends {
        Ends { values: [0.0, self.value(high)], grows: false }
    }
}
