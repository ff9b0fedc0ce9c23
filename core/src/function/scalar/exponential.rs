//! `e^x`.

use super::{Ends, Numbers, Scalar};
use serde::{Deserialize, Serialize};

/// `e^x`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Exponential {}

impl Scalar for Exponential {
    fn value(&self, x: f64) -> f64 {
        libm::exp(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        libm::exp(x)
    }

    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        match numbers {
            Numbers { ring_bits: 32, frac_bits: ..=10 } => [-10.0, 6.0],
            Numbers { ring_bits: 32, .. } => [-12.0, 4.0],
            _ => [-24.0, 8.0],
        }
    }

    fn ends(&self, [_, high]: [f64; 2]) -> Ends {
        Ends { values: [0.0, self.value(high)], grows: false }
    }
}
