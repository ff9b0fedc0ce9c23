//! `x^n` for a public integer `n`, not 0.

use super::{Ends, Numbers, Octaves, RangeReduction, Scalar};
use serde::{Deserialize, Serialize};

/// `x^exponent`; for a negative exponent and `x <= 0`, infinity: on shares, the value at the
/// domain's lower end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Power {
    /// From -8 to 8, not 0.
    pub exponent: i8,
}

impl Default for Power {
    fn default() -> Self {
        Self { exponent: 2 }
    }
}

impl Scalar for Power {
    fn value(&self, x: f64) -> f64 {
        if self.exponent < 0 && x <= 0.0 { f64::INFINITY } else { libm::pow(x, self.exponent.into()) }
    }

    fn derivative(&self, x: f64) -> f64 {
        if self.exponent < 0 && x <= 0.0 {
            return 0.0;
        }
        f64::from(self.exponent) * libm::pow(x, f64::from(self.exponent) - 1.0)
    }

    fn range_reduction(&self) -> RangeReduction {
        match self.exponent {
            ..0 => RangeReduction::Octaves(Octaves::Power { halves: 2 * i32::from(self.exponent) }),
            _ => RangeReduction::Interval,
        }
    }

    fn interval(&self, _: &Numbers) -> [f64; 2] {
        [-2.0, 2.0]
    }

    fn ends(&self, interval: [f64; 2]) -> Ends {
        Ends { values: interval.map(|x| self.value(x)), grows: false }
    }
}
