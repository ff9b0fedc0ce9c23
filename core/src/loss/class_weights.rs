//! Public weights of classes.

use core::fmt;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess},
};

/// Most classes that may have weights.
pub const MOST_WEIGHTS: usize = 64;
/// Weights of a file are rounded to as many fraction bits.
const FRAC_BITS: u32 = 8;

/// A weight a class, in files a list of decimal numbers; empty where all weigh 1.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClassWeights {
    /// The weights in units of `2^-bits`.
    pub units: heapless::Vec<u16, MOST_WEIGHTS>,
    /// Their fraction bits.
    pub bits: u32,
}

impl ClassWeights {
    /// The nearest weights in as few bits as they need; `None` if there are too many, or one is not
    /// from 0 to 255.
    pub fn nearest(weights: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut all = Self { units: heapless::Vec::new(), bits: FRAC_BITS };
        for weight in weights {
            if !(0.0..=255.0).contains(&weight) {
                return None;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^16")]
            let units = (weight * f64::from(1u32 << FRAC_BITS) + 0.5) as u16;
            all.units.push(units).ok()?;
        }
        while all.bits > 0 && all.units.iter().all(|units| units.is_multiple_of(2)) {
            all.units.iter_mut().for_each(|units| *units /= 2);
            all.bits -= 1;
        }
        Some(all)
    }

    /// The weights.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let unit = f64::from(1u32 << self.bits.min(31));
        self.units.iter().map(move |units| f64::from(*units) / unit)
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_seq(self.values());
        }
        (&self.units, self.bits).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_seq(Decimals);
        }
        let (units, bits): (heapless::Vec<u16, MOST_WEIGHTS>, u32) = Deserialize::deserialize(deserializer)?;
        // One list has one form.
        let reduced = bits == 0 || units.iter().any(|units| !units.is_multiple_of(2));
        if bits > FRAC_BITS || !reduced {
            return Err(de::Error::custom("class weights have another form"));
        }
        Ok(Self { units, bits })
    }
}

/// Reads decimal numbers.
struct Decimals;

impl<'de> de::Visitor<'de> for Decimals {
    type Value = ClassWeights;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST_WEIGHTS} numbers from 0 to 255")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ClassWeights, A::Error> {
        let mut weights = heapless::Vec::<f64, MOST_WEIGHTS>::new();
        while let Some(weight) = list.next_element()? {
            weights.push(weight).map_err(|_| de::Error::invalid_length(MOST_WEIGHTS + 1, &self))?;
        }
        ClassWeights::nearest(weights).ok_or_else(|| de::Error::custom("class weights are numbers from 0 to 255"))
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for ClassWeights {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClassWeights".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<[f64; 1]>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn weights_take_as_few_bits_as_they_need() {
        let of = |weights: &[f64]| ClassWeights::nearest(weights.iter().copied());
        let some = of(&[1.0, 0.5, 3.25]).unwrap();
        assert_eq!((&some.units[..], some.bits), (&[4, 2, 13][..], 2));
        assert_eq!(some.values().collect::<heapless::Vec<_, 3>>()[..], [1.0, 0.5, 3.25]);
        assert_eq!(of(&[]), Some(ClassWeights::default()));
        assert_eq!(of(&[2.0, 0.0]).unwrap().bits, 0);
        for out in [-0.1, 255.1, f64::NAN] {
            assert_eq!(of(&[1.0, out]), None);
        }
        assert_eq!(of(&[1.0; MOST_WEIGHTS + 1]), None);
        let read = |units: &[u16], bits: u32| {
            let mut buffer = [0; 32];
            let bytes = postcard::to_slice(&(units, bits), &mut buffer).unwrap();
            postcard::from_bytes::<ClassWeights>(bytes).is_ok()
        };
        assert!(read(&[4, 2, 13], 2) && read(&[], 0));
        assert!(!read(&[], 200) && !read(&[4, 2], 1) && !read(&[1], 9));
    }
}
