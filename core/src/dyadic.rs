//! Public constants as integers over a power of two.

use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A public constant `factor / 2^shift`, as shares are multiplied by: an integer product, then a
/// truncation.
///
/// In files it is a decimal number, which is rounded to eight significant bits (relative error at
/// most 2^-8; a momentum in a 64-bit ring: up to 16 bits) and reduced. So 0.05 becomes `205 /
/// 2^12`, 0.9 becomes `115 / 2^7`. Small factors leave headroom in a 32-bit ring.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dyadic {
    /// Below 2^16.
    pub factor: u32,
    /// Bits to divide by.
    pub shift: u32,
}

impl Dyadic {
    /// 0.
    pub const ZERO: Self = Self { factor: 0, shift: 0 };
    /// 1.
    pub const ONE: Self = Self { factor: 1, shift: 0 };
    /// Factors are below `2^FACTOR_BITS`.
    pub const FACTOR_BITS: u32 = 16;
    /// Greatest shift of a constant in a file.
    pub const MAX_SHIFT: u32 = 32;
    /// Greatest value of a constant in a file, and greatest factor, but of a momentum in a 64-bit
    /// ring.
    pub const MAX_FACTOR: u32 = 255;

    /// The nearest constant of a file; `None` outside of `(0, 255]` or where it would round to 0.
    pub fn nearest(value: f64) -> Option<Self> {
        if !(value > 0.0 && value <= f64::from(Self::MAX_FACTOR)) {
            return None;
        }
        let shifts = (0..=Self::MAX_SHIFT).rev();
        let best = shifts.map(|shift| Self::rounded(value, shift)).find(|best| best.factor <= Self::MAX_FACTOR)?;
        (best.factor > 0).then(|| best.reduced(0))
    }

    /// A positive `value` in units of `2^-shift`, to the nearest; saturates.
    pub fn rounded(value: f64, shift: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let factor = (value * power(shift) + 0.5) as u32;
        Self { factor, shift }
    }

    /// The number that it stands for.
    pub fn value(self) -> f64 {
        f64::from(self.factor) / power(self.shift)
    }

    /// The product, its factor rounded to [`Self::FACTOR_BITS`] bits (and no more than they hold).
    ///
    /// # Panics
    ///
    /// If a factor has more bits.
    pub fn times(self, other: Self) -> Self {
        assert!((self.factor | other.factor) >> Self::FACTOR_BITS == 0, "a factor has at most 16 bits");
        let (factor, shift) = (u64::from(self.factor) * u64::from(other.factor), self.shift + other.shift);
        let bits = u64::BITS - factor.leading_zeros();
        let drop = bits.saturating_sub(Self::FACTOR_BITS).min(shift);
        Self { factor: quotient(factor, drop), shift: shift - drop }
    }

    /// This constant with its factor rounded to `bits` bits, as far as the shift allows; unchanged
    /// if it has no more.
    pub fn to_bits(self, bits: u32) -> Self {
        let drop = (u32::BITS - self.factor.leading_zeros()).saturating_sub(bits).min(self.shift);
        if drop == 0 {
            return self;
        }
        Self { factor: quotient(u64::from(self.factor), drop), shift: self.shift - drop }.reduced(0)
    }

    /// The same constant with the least factor that leaves `least` bits to divide by.
    pub fn reduced(self, least: u32) -> Self {
        let drop = if self.factor == 0 { 0 } else { self.factor.trailing_zeros() };
        let drop = drop.min(self.shift.saturating_sub(least));
        Self { factor: self.factor >> drop, shift: self.shift - drop }
    }

    /// This constant divided by `2^bits`, with at most `most` bits to divide by: where there are
    /// more, the factor is rounded to fewer, and is 0 where none are left.
    pub fn divided(self, bits: u32, most: u32) -> Self {
        let shift = self.shift + bits;
        let drop = shift.saturating_sub(most);
        Self { factor: quotient(u64::from(self.factor), drop), shift: shift - drop }
    }
}

/// `2^shift`; infinite from 1024 on.
fn power(shift: u32) -> f64 {
    if shift < 1024 { f64::from_bits(u64::from(shift + 1023) << 52) } else { f64::INFINITY }
}

/// `x / 2^drop`, to the nearest that a factor holds.
fn quotient(x: u64, drop: u32) -> u32 {
    let nearest = ((x << 1).checked_shr(drop).unwrap_or(0) + 1) >> 1;
    u32::try_from(nearest.min(u64::from(u16::MAX))).unwrap_or(0)
}

impl Serialize for Dyadic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.value().serialize(serializer);
        }
        (self.factor, self.shift).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Dyadic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_f64(Decimal);
        }
        <(u32, u32)>::deserialize(deserializer).map(|(factor, shift)| Self { factor, shift })
    }
}

/// Reads a decimal number.
struct Decimal;

impl de::Visitor<'_> for Decimal {
    type Value = Dyadic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0, or a number from 2^-32 (2.4e-10) to 255")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Dyadic, E> {
        if number == 0.0 {
            return Ok(Dyadic::ZERO);
        }
        Dyadic::nearest(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Dyadic, E> {
        let whole = u8::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
        self.visit_f64(whole.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Dyadic, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for Dyadic {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dyadic".into()
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
        let constant = |factor, shift| Some(Dyadic { factor, shift });
        assert_eq!(Dyadic::nearest(0.05), constant(205, 12));
        assert_eq!(Dyadic::nearest(0.9), constant(115, 7));
        assert_eq!(Dyadic::nearest(255.0), constant(255, 0));
        assert_eq!(Dyadic::nearest((-32f64).exp2()), constant(1, 32));
        for out in [0.0, -1.0, 255.1, (-34f64).exp2(), f64::NAN, f64::INFINITY] {
            assert_eq!(Dyadic::nearest(out), None, "{out}");
        }
        for value in [1e-6, 0.3, 0.999, 1.5, 77.7] {
            let near = Dyadic::nearest(value).unwrap();
            assert!((near.value() - value).abs() <= value / 256.0, "{near:?} for {value}");
            assert!(near.factor < 256 && (near.shift == 0 || near.factor % 2 == 1), "{near:?}");
        }
    }

    #[test]
    fn compact_forms_are_the_numbers() {
        let constant = Dyadic { factor: 205, shift: 12 };
        let mut buffer = [0; 8];
        let bytes = postcard::to_slice(&constant, &mut buffer).unwrap();
        assert_eq!(bytes, [0xcd, 1, 12]);
        assert_eq!(postcard::from_bytes::<Dyadic>(bytes).unwrap(), constant);
    }
}
