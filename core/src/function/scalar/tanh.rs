//! `tanh x`.

use super::{Ends, Numbers, Scalar};
use serde::{Deserialize, Serialize};

/// `tanh x`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Tanh {}

impl Scalar for Tanh {
    fn value(&self, x: f64) -> f64 {
        libm::tanh(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        let y = libm::tanh(x);
        1.0 - y * y
    }

    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        if numbers.frac_bits <= 12 { [-4.0, 4.0] } else { [-8.0, 8.0] }
    }

    fn ends(&self, _: [f64; 2]) -> Ends {
        Ends { values: [-1.0, 1.0], grows: false }
    }
}
