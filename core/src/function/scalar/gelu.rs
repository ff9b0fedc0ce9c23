//! `x Φ(x)`, `Φ` the standard normal distribution (Hendrycks and Gimpel, 2016).

use super::{Ends, Numbers, Scalar};
use serde::{Deserialize, Serialize};

/// `x Φ(x)`, `Φ` the standard normal distribution (Hendrycks and Gimpel, 2016).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Gelu {}

impl Scalar for Gelu {
    fn value(&self, x: f64) -> f64 {
        x * distribution(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        distribution(x) + x * libm::exp(-x * x / 2.0) / libm::sqrt(2.0 * core::f64::consts::PI)
    }

    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        if numbers.frac_bits <= 12 { [-4.0, 4.0] } else { [-8.0, 8.0] }
    }

    fn ends(&self, _: [f64; 2]) -> Ends {
        Ends { values: [0.0, 0.0], grows: true }
    }
}

/// `Φ(x)`.
fn distribution(x: f64) -> f64 {
    0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}
