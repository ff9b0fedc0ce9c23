//! The public scale of features: what becomes of a raw value before it is shared.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::borrow::Cow;

/// `scaled = (raw - offset) / divide`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Subtracted first.
    #[serde(default)]
    pub offset: f64,
    /// Divides the difference; not zero.
    pub divide: f64,
}

impl Affine {
    /// The scaled value.
    pub fn apply(self, raw: f64) -> f64 {
        (raw - self.offset) / self.divide
    }
}

/// Public scale of the features. It stands in the job because constants computed from private
/// records would reveal something about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Divide all features by one number.
    Divide(f64),
    /// One offset and divisor a feature, or a threshold.
    Columns(Vec<ColumnScale>),
    /// `[least, greatest]` a feature, mapped to 0 to 1. Values outside are refused in files;
    /// readings, which are shared at their devices, go on beyond.
    Ranges(Vec<(f64, f64)>),
    /// One offset and divisor a channel of an image: features are channel by channel, equally many
    /// each.
    Channels(Vec<Affine>),
}

impl Scale {
    /// That of feature `column` of `features`, if the scale has it and it is no threshold.
    pub fn affine(&self, column: usize, features: usize) -> Option<Affine> {
        match self {
            Self::Divide(by) => Some(Affine { offset: 0.0, divide: *by }),
            Self::Columns(columns) => columns.get(column)?.affine(),
            Self::Ranges(ranges) => {
                ranges.get(column).map(|&(least, greatest)| Affine { offset: least, divide: greatest - least })
            }
            Self::Channels(channels) => {
                let each = features.checked_div(channels.len()).filter(|each| *each > 0)?;
                channels.get(column / each).copied()
            }
        }
    }

    /// The scaled value of feature `column` of `features`; not a number where the scale has no such
    /// feature.
    pub fn apply(&self, column: usize, features: usize, raw: f64) -> f64 {
        match self {
            Self::Columns(columns) => columns.get(column).map_or(f64::NAN, |own| own.apply(raw)),
            _ => self.affine(column, features).map_or(f64::NAN, |affine| affine.apply(raw)),
        }
    }
}

/// The scale of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColumnScale {
    /// An offset and a divisor.
    Affine(Affine),
    /// 1 for a raw value above this, else 0.
    Above(f64),
}

impl ColumnScale {
    /// The offset and the divisor; `None` of a threshold.
    pub fn affine(self) -> Option<Affine> {
        match self {
            Self::Affine(affine) => Some(affine),
            Self::Above(_) => None,
        }
    }

    /// The scaled value; not a number for a raw value that is infinite or not a number.
    pub fn apply(self, raw: f64) -> f64 {
        match self {
            Self::Affine(affine) => affine.apply(raw),
            Self::Above(_) if !raw.is_finite() => f64::NAN,
            Self::Above(threshold) => f64::from(u8::from(raw > threshold)),
        }
    }
}

impl From<Affine> for ColumnScale {
    fn from(affine: Affine) -> Self {
        Self::Affine(affine)
    }
}

/// [`ColumnScale`] in a file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ColumnFile {
    /// Subtracted first; 0, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<f64>,
    /// Divides the difference; not zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    divide: Option<f64>,
    /// In place of `offset` and `divide`: the feature is 1 where the raw value is above this
    /// number, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
}

impl Serialize for ColumnScale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            // No scale has the divisor 0, so it stands for a threshold.
            let affine = match *self {
                Self::Affine(affine) => affine,
                Self::Above(threshold) => Affine { offset: threshold, divide: 0.0 },
            };
            return affine.serialize(serializer);
        }
        let file = match *self {
            Self::Affine(Affine { offset, divide }) => {
                ColumnFile { offset: Some(offset), divide: Some(divide), above: None }
            }
            Self::Above(threshold) => ColumnFile { offset: None, divide: None, above: Some(threshold) },
        };
        file.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ColumnScale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let affine = Affine::deserialize(deserializer)?;
            let is_threshold = affine.divide.to_bits() == 0;
            return Ok(if is_threshold { Self::Above(affine.offset) } else { Self::Affine(affine) });
        }
        match ColumnFile::deserialize(deserializer)? {
            ColumnFile { offset: None, divide: None, above: Some(threshold) } => Ok(Self::Above(threshold)),
            ColumnFile { offset, divide: Some(divide), above: None } => {
                Ok(Self::Affine(Affine { offset: offset.unwrap_or(0.0), divide }))
            }
            _ => Err(D::Error::custom("a column's scale needs either divide, with or without offset, or above alone")),
        }
    }
}

impl JsonSchema for ColumnScale {
    fn schema_name() -> Cow<'static, str> {
        "ColumnScale".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ColumnFile::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A threshold is told from a divisor in files and in bytes; bytes of divisors stay.
    #[test]
    fn thresholds_come_back() {
        let affine = Affine { offset: 1.5, divide: -2.0 };
        let columns = [affine.into(), ColumnScale::Above(0.25), ColumnScale::Above(0.0)];
        let scale = Scale::Columns(columns.to_vec());
        let text = serde_json::to_string(&scale).unwrap();
        assert_eq!(text, r#"{"columns":[{"offset":1.5,"divide":-2.0},{"above":0.25},{"above":0.0}]}"#);
        assert_eq!(serde_json::from_str::<Scale>(&text).unwrap(), scale);
        let bytes = postcard::to_stdvec(&scale).unwrap();
        assert_eq!(postcard::from_bytes::<Scale>(&bytes).unwrap(), scale);
        assert_eq!(postcard::to_stdvec(&columns[0]).unwrap(), postcard::to_stdvec(&affine).unwrap());
        assert!(serde_json::from_str::<ColumnScale>("{}").is_err());
    }

    #[test]
    fn thresholds_give_bits() {
        let above = ColumnScale::Above(2.5);
        assert_eq!([2.4, 2.5, 2.6, -1e9].map(|raw| above.apply(raw)), [0.0, 0.0, 1.0, 0.0]);
        assert!(above.apply(f64::INFINITY).is_nan() && above.apply(f64::NAN).is_nan());
    }
}
