//! `1 / (1 + e^-x)`.

use super::{Ends, Numbers, Scalar};
use serde::{Deserialize, Serialize};

/// `1 / (1 + e^-x)`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Sigmoid {}

impl Scalar for Sigmoid {
    fn value(&self, x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }

    fn derivative(&self, x: f64) -> f64 {
        self.value(x) * self.value(-x)
    }

    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        if numbers.frac_bits <= 12 { [-8.0, 8.0] } else { [-16.0, 16.0] }
    }

    fn ends(&self, _: [f64; 2]) -> Ends {
        Ends { values: [0.0, 1.0], grows: false }
    }
}
