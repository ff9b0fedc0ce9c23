//! The list of metrics. A metric's number is in the bytes of a job: append, never reorder.

use super::{
    Describe, Metric, absolute_error::AbsoluteError, accuracy::Accuracy, auc::Auc, confusion::Confusion,
    log_loss::LogLoss, perplexity::Perplexity, r2::R2, squared_error::SquaredError, top_k::TopK,
};
use crate::word::Word;
use core::fmt;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
    ser::SerializeTuple,
};

/// Defines [`AnyMetric`] and [`Kind`] of `number "kind" Type` lines.
macro_rules! metrics {
    ($($number:literal $name:literal $metric:ident,)*) => {
        /// Any metric. Its bytes are its number in the list and its own numbers.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum AnyMetric {
            $(#[doc = concat!("`", $name, "`")] $metric($metric),)*
        }

        /// The form of job files, for their schema: `kind` beside the metric's own keys.
        #[cfg(feature = "files")]
        #[derive(schemars::JsonSchema)]
        #[serde(tag = "kind")]
        #[expect(dead_code, reason = "files are read by `Kind::read`")]
        enum Tagged {
            $(#[serde(rename = $name)] $metric($metric)),*
        }

        /// The kind of a metric, which job files and policies name.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`")] $metric,)*
        }

        impl Kind {
            /// All kinds, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$metric),*];

            /// Returns the kind's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$metric => $name),* }
            }

            /// Reads the numbers of a metric of this kind, a map.
            ///
            /// # Errors
            ///
            /// The deserializer's.
            pub fn read<'de, D: Deserializer<'de>>(self, from: D) -> Result<AnyMetric, D::Error> {
                match self { $(Self::$metric => $metric::deserialize(from).map(AnyMetric::$metric)),* }
            }
        }

        impl AnyMetric {
            /// Returns the metric's kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$metric(_) => Kind::$metric),* }
            }

            /// Returns the metric's description.
            pub const fn describe(&self) -> &dyn Describe {
                match self { $(Self::$metric(metric) => metric),* }
            }

            /// Returns the metric's protocol, for words `W`.
            pub const fn protocol<W: Word>(&self) -> &dyn Metric<W> {
                match self { $(Self::$metric(metric) => metric),* }
            }
        }

        impl Serialize for AnyMetric {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut pair = serializer.serialize_tuple(2)?;
                match self {
                    $(Self::$metric(metric) => {
                        pair.serialize_element::<u16>(&$number)?;
                        pair.serialize_element(metric)?;
                    })*
                }
                pair.end()
            }
        }

        impl<'de> Visitor<'de> for Pair {
            type Value = AnyMetric;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a metric, and its own numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<AnyMetric, A::Error> {
                let short = |len| de::Error::invalid_length(len, &Self);
                match pair.next_element::<u16>()?.ok_or_else(|| short(0))? {
                    $($number => pair.next_element().map(|metric| metric.map(AnyMetric::$metric)),)*
                    number => {
                        Err(de::Error::invalid_value(de::Unexpected::Unsigned(number.into()), &"the number of a metric"))
                    }
                }?.ok_or_else(|| short(1))
            }
        }
    };
}

/// Reads a number and a metric.
struct Pair;

metrics! {
    0 "accuracy" Accuracy,
    1 "top-k" TopK,
    2 "confusion" Confusion,
    3 "mean-squared-error" SquaredError,
    4 "mean-absolute-error" AbsoluteError,
    5 "r2" R2,
    6 "log-loss" LogLoss,
    7 "auc" Auc,
    8 "perplexity" Perplexity,
}

impl<'de> Deserialize<'de> for AnyMetric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, Pair)
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for AnyMetric {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metric".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Tagged::json_schema(generator)
    }
}

impl fmt::Display for AnyMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe().fmt(f)
    }
}

impl Kind {
    /// Returns the kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
