//! Moments as files write them.

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

#[cfg(test)]
mod tests {
    use super::*;

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
