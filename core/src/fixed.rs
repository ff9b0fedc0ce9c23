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
/// [`RangeError`] if `value` is not finite or not in `[-2^(k-2-frac_bits), 2^(k-2-frac_bits))`, or rounds to that end; never a wrap.
pub fn encode<W: Word>(value: f64, frac_bits: u32) -> Result<W, RangeError> {
    if value.is_nan() {
        return Err(RangeError::NotANumber);
    }
    let limit = pow2(W::BITS - 2) / pow2(frac_bits);
    let scaled = value * pow2(frac_bits);
    if !(value >= -limit && value < limit) {
        return Err(RangeError::OutOfRange { value, limit });
    }
    let rounded = round(scaled);
    // What is less than half a unit below the limit rounds to it.
    if rounded == 1 << (W::BITS - 2) { Err(RangeError::OutOfRange { value, limit }) } else { Ok(W::from_i64(rounded)) }
}

/// The nearest integer, ties away from zero, of a `v` of magnitude below `2^63`. Adding a half and cutting off would round twice: the sum is rounded too.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // a cast cuts off; from 2^52 on, `v` has no fraction
fn round(v: f64) -> i64 {
    let whole = v as i64;
    let fraction = v - whole as f64; // exact
    whole + i64::from(fraction >= 0.5) - i64::from(fraction <= -0.5)
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
        // Of these, a sum with a half is rounded before it is cut off.
        assert_eq!(encode::<u64>(0.5f64.next_down(), 0), Ok(0));
        assert_eq!(encode::<u64>(2f64.powi(52) + 1.0, 0), Ok((1 << 52) + 1));
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
