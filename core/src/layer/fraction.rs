//! Public fractions between 0 and 1, as integers over a power of two.

use super::Misfit;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `factor / 2^shift`, below 1: in files a decimal number, rounded to 8 significant bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fraction {
    /// Odd, or 0 for nothing; below 2^8.
    pub factor: u16,
    /// At most [`Fraction::MAX_SHIFT`].
    pub shift: u8,
}

impl Fraction {
    /// No fraction is finer.
    pub const MAX_SHIFT: u8 = 16;

    /// Returns the nearest fraction of 8 significant bits; `None` if `value` is outside `[0, 1)` or
    /// rounds to 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range
    pub fn nearest(value: f64) -> Option<Self> {
        if !(0.0..1.0).contains(&value) {
            return None;
        }
        let rounded = |shift: u8| (value * f64::from(1u32 << shift) + 0.5) as u16;
        let mut shift = Self::MAX_SHIFT;
        while shift > 0 && rounded(shift) > 0xff {
            shift -= 1;
        }
        let (mut factor, mut shift) = (rounded(shift), shift);
        while shift > 0 && factor.is_multiple_of(2) {
            (factor, shift) = (factor / 2, shift - 1);
        }
        (u32::from(factor) < 1 << shift || factor == 0).then_some(Self { factor, shift })
    }

    /// The number that it stands for.
    pub fn value(self) -> f64 {
        f64::from(self.factor) / f64::from(1u32 << self.shift.min(31))
    }

    /// Holds it to its form, which a peer's may lack.
    pub(super) fn check(self, key: &'static str) -> Result<(), Misfit> {
        let reduced = self.shift == 0 || self.factor % 2 == 1;
        if self.shift <= Self::MAX_SHIFT && self.factor < 1 << 8 && u32::from(self.factor) < 1 << self.shift && reduced
        {
            return Ok(());
        }
        Err(Misfit::Number { key, got: self.factor.into(), min: 0, max: (1u32 << self.shift.min(16)) - 1 })
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.value().serialize(serializer);
        }
        (self.factor, self.shift).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_f64(Decimal);
        }
        <(u16, u8)>::deserialize(deserializer).map(|(factor, shift)| Self { factor, shift })
    }
}

/// Reads a decimal number.
struct Decimal;

impl de::Visitor<'_> for Decimal {
    type Value = Fraction;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to below 1")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Fraction, E> {
        Fraction::nearest(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Fraction, E> {
        if number == 0 {
            Ok(Fraction { factor: 0, shift: 0 })
        } else {
            Err(E::invalid_value(de::Unexpected::Signed(number), &self))
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Fraction, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for Fraction {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fraction".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<f64>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn decimals_are_rounded_to_eight_bits() {
        let of = |value| Fraction::nearest(value).map(|f| (f.factor, f.shift));
        assert_eq!((of(0.5), of(0.25), of(0.0)), (Some((1, 1)), Some((1, 2)), Some((0, 0))));
        assert_eq!(of(0.01), Some((164 / 4, 14 - 2)));
        assert_eq!((of(1.0), of(-0.1), of(f64::NAN), of(0.9999)), (None, None, None, None));
        for i in 1..=998 {
            let value = f64::from(i) / 1000.0;
            let Some(near) = Fraction::nearest(value) else { panic!("{value}") };
            let error = (near.value() - value).abs();
            let finest = 0.5 / f64::from(1u32 << Fraction::MAX_SHIFT);
            assert!(error <= (value / 256.0).max(finest) && near.check("x").is_ok(), "{value} {near:?}");
        }
    }
}
