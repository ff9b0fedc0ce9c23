//! Fixed point: a real `v` is the ring word `round(v * 2^frac_bits)`, two's complement.

use crate::word::Word;

/// A value that a word cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RangeError {
    /// Not a number.
    NotANumber,
    /// `value` is outside of `[-limit, limit)`.
    OutOfRange {
        /// The value that was to be encoded.
        value: f64,
        /// Magnitude that `BITS` and `frac_bits` leave: `2^(k - 2 - frac_bits)`, so that an opened word never wraps.
        limit: f64,
    },
}

impl core::fmt::Display for RangeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotANumber => f.write_str("not a number; clean the data"),
            Self::OutOfRange { value, limit } => {
                write!(f, "{value} is outside of [-{limit}, {limit}); scale the data or take fewer fraction bits")
            }
        }
    }
}

impl core::error::Error for RangeError {}

/// `2^n` as a float.
fn pow2(n: u32) -> f64 {
    (0..n).fold(1.0, |p, _| p * 2.0)
}

/// `round(value * 2^frac_bits)`, ties away from zero.
///
/// # Errors
///
/// [`RangeError`] if `value` is not finite or not in `[-2^(k-2-frac_bits), 2^(k-2-frac_bits))`; never a wrap.
pub fn encode<W: Word>(value: f64, frac_bits: u32) -> Result<W, RangeError> {
    if value.is_nan() {
        return Err(RangeError::NotANumber);
    }
    let limit = pow2(W::BITS - 2) / pow2(frac_bits);
    let scaled = value * pow2(frac_bits);
    let rounded = if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 };
    if !(value >= -limit && value < limit && rounded < pow2(W::BITS - 2)) {
        return Err(RangeError::OutOfRange { value, limit });
    }
    #[allow(clippy::cast_possible_truncation)] // in range: checked above; a cast truncates towards zero
    Ok(W::from_i64(rounded as i64))
}

/// The real that a 64-bit word stands for.
#[allow(clippy::cast_precision_loss)]
pub fn decode(word: i64, frac_bits: u32) -> f64 {
    word as f64 / pow2(frac_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_and_errors() {
        assert_eq!(encode::<u32>(-0.5, 11), Ok((-1024i32).cast_unsigned()));
        assert_eq!(encode::<u32>(2f64.powi(-12), 11), Ok(1));
        assert_eq!(encode::<u32>(-(2f64.powi(19)), 11), Ok((-(1i32 << 30)).cast_unsigned()));
        assert_eq!(encode::<u32>(f64::NAN, 11), Err(RangeError::NotANumber));
        for bad in [2f64.powi(19), 2f64.powi(19) - 1e-5, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(encode::<u32>(bad, 11), Err(RangeError::OutOfRange { .. })), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decodes_within_half_a_unit(v in -1e6f64..1e6, f in 0u32..24) {
            let word: u64 = encode(v, f).unwrap();
            proptest::prop_assert!((decode(word.cast_signed(), f) - v).abs() <= 0.5 / pow2(f) * (1.0 + 1e-9));
        }
    }
}
