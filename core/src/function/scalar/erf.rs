//! The error function, `2 / √π ∫ e^(-t²) dt` from 0 to `x`.

use super::{Ends, Numbers, Scalar};
use serde::{Deserialize, Serialize};

/// The error function, `2 / √π ∫ e^(-t²) dt` from 0 to `x`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Erf {}

impl Scalar for Erf {
    fn value(&self, x: f64) -> f64 {
        libm::erf(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        core::f64::consts::FRAC_2_SQRT_PI * libm::exp(-x * x)
    }

    fn interval(&self, _: &Numbers) -> [f64; 2] {
        [-4.0, 4.0]
    }

    fn ends(&self, _: [f64; 2]) -> Ends {
        Ends { values: [-1.0, 1.0], grows: false }
    }
}
