//! `e^x`.

use super::{Ends, Scalar};
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

    fn interval(&self, frac_bits: u32) -> [f64; 2] {
        if frac_bits <= 10 { [-10.0, 6.0] } else { [-11.0, 5.0] }
    }

    fn ends(&self, [_, high]: [f64; 2]) -> Ends {
        Ends { values: [0.0, self.value(high)], grows: false }
    }
}
