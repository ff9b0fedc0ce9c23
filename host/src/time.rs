//! Moments as files write them.

use std::time::{SystemTime, UNIX_EPOCH};
use toml::value::{Datetime, Offset};

/// Seconds from 1970 to a date and time, which are in UTC if they have no offset. A date alone is
/// its midnight. `None` for a time without a date.
pub(crate) fn unix_seconds(time: &Datetime) -> Option<i64> {
    let date = time.date?;
    let minutes = match time.offset {
        None | Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes),
    };
    // Days before the year, from a March on, so that leap days come last (the proleptic Gregorian
    // calendar).
    let (y, m) = (i64::from(date.year), i64::from(date.month));
    let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5;
    let days = days + i64::from(date.day) - 1 - 719_468;
    let clock = time.time.map_or([0; 3], |clock| [clock.hour, clock.minute, clock.second.unwrap_or(0)]);
    let [hour, minute, second] = clock.map(i64::from);
    Some(60 * (60 * (24 * days + hour) + minute - minutes) + second)
}

/// Milliseconds since 1970 of a time in a file of readings: whole seconds since 1970, or a date and
/// time as RFC 3339 has it, in UTC if it has no offset (`2026-11-28 14:05`,
/// `2026-11-28T14:05:30.25+01:00`).
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    let time = text.parse::<Datetime>().ok()?;
    let nanoseconds = time.time.and_then(|clock| clock.nanosecond).unwrap_or(0);
    let seconds = u64::try_from(unix_seconds(&time)?).ok()?;
    Some(seconds.checked_mul(1000)? + u64::from(nanoseconds / 1_000_000))
}

/// Returns the current time in UTC, in the form of logs: `2026-11-28T14:05:30Z`.
pub(crate) fn now() -> String {
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Formats a time, in seconds since 1970, by RFC 3339 in UTC.
fn rfc3339(seconds: u64) -> String {
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Counted from March 1 of the year 0, in eras of 400 years (proleptic Gregorian calendar).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (month, day) = (if march < 10 { march + 3 } else { march - 9 }, day - (153 * march + 2) / 5 + 1);
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_they_are_read() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_825_600), "2000-02-29T12:00:00Z");
        for day in 0..60_000_u64 {
            let seconds = 86_400 * day + day % 86_400;
            assert_eq!(unix_ms(&rfc3339(seconds)), Some(1000 * seconds));
        }
    }

    #[test]
    fn dates_are_seconds() {
        let of = |text: &str| unix_seconds(&text.parse::<Datetime>().ok()?);
        assert_eq!(of("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(of("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(of("2026-11-20T14:00:00+01:00"), Some(1_795_179_600));
        assert_eq!(of("2026-11-20T14:00:00"), Some(1_795_183_200));
        assert_eq!(of("14:00:00"), None);
    }

    #[test]
    fn times_of_readings_are_numbers_or_dates() {
        assert_eq!(unix_ms("1795183200"), Some(1_795_183_200_000));
        for same in ["2026-11-20T14:00:00Z", "2026-11-20 14:00:00", "2026-11-20 14:00", "2026-11-20t14:00:00z"] {
            assert_eq!(unix_ms(same), Some(1_795_183_200_000), "{same}");
        }
        assert_eq!(unix_ms("2026-11-20T14:00:00.2509+01:00"), Some(1_795_179_600_250));
        assert_eq!(unix_ms("2026-11-20"), Some(1_795_132_800_000));
        for wrong in ["", "soon", "1795183200.5", "-1", "20.11.2026 14:00", "2026-02-30", "1969-12-31 23:59", "14:00"] {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
        assert_eq!(unix_ms("18446744073709551615"), None);
    }
}
