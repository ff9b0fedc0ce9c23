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

    /// Date and time in UTC, as RFC 3339 has it.
    pub fn utc(self) -> String {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        // Eras of 400 years and years from a March on, so that leap days come last (the proleptic
        // Gregorian calendar).
        let day = days + 719_468;
        let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, in_next) = (day - (153 * month + 2) / 5 + 1, month >= 10);
        let (year, month) = (year + 400 * era + i64::from(in_next), if in_next { month - 9 } else { month + 3 });
        let (hour, minute) = (second / 3600, second / 60 % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
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
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_moment_has_an_offset() {
        let of = |text: &str| UnixSeconds::of(&text.parse::<Datetime>().ok()?).map(|t| t.0);
        assert_eq!(of("2026-11-20T14:00:00+01:00"), Some(1_795_179_600));
        assert_eq!(of("2026-11-20T14:00:00"), None);
        assert_eq!(of("14:00:00"), None);
    }

    #[test]
    fn seconds_are_dates() {
        for text in ["1970-01-01T00:00:00Z", "2000-02-29T12:00:59Z", "2026-12-31T23:59:59Z", "2100-03-01T00:00:00Z"] {
            assert_eq!(UnixSeconds::of(&text.parse::<Datetime>().unwrap()).unwrap().utc(), text);
        }
        assert_eq!(UnixSeconds(-1).utc(), "1969-12-31T23:59:59Z");
    }
}
