//! From when to when a key is valid, as files write it.

use crate::time::unix_seconds;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{fmt, time::SystemTime};
use toml::value::Datetime;

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixSeconds(pub i64);

impl UnixSeconds {
    /// The system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// A date and time with an offset from UTC, as RFC 3339 has it.
    fn of(time: &Datetime) -> Option<Self> {
        time.offset.and(unix_seconds(time)).map(Self)
    }
}

impl<'de> Deserialize<'de> for UnixSeconds {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(input)?;
        let wanted = "a time is written as 2026-12-31T23:59:59Z, or as seconds since 1970";
        match value {
            toml::Value::Integer(seconds) => Some(Self(seconds)),
            toml::Value::Datetime(time) => Self::of(&time),
            toml::Value::String(text) => text.parse().ok().and_then(|time| Self::of(&time)),
            _ => None,
        }
        .ok_or_else(|| D::Error::custom(wanted))
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From when to when. A missing end is open.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validity {
    /// The first second.
    pub not_before: Option<UnixSeconds>,
    /// The last second.
    pub not_after: Option<UnixSeconds>,
}

impl Validity {
    /// Whether `now` is in it.
    pub fn has(&self, now: UnixSeconds) -> bool {
        self.not_before.is_none_or(|first| first <= now) && self.not_after.is_none_or(|last| now <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_an_offset() {
        let of = |text: &str| UnixSeconds::of(&text.parse::<Datetime>().ok()?).map(|t| t.0);
        assert_eq!(of("2026-11-20T14:00:00+01:00"), Some(1_795_179_600));
        assert_eq!(of("2026-11-20T14:00:00"), None);
        assert_eq!(of("14:00:00"), None);
    }
}
