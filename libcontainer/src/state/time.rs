//! Points in time as Go writes them: RFC 3339 in UTC, with nanoseconds and without trailing zeros.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time now, such as `2026-11-21T06:30:52.123456789Z`.
#[must_use]
pub fn now() -> String {
    nanoseconds(since_epoch())
}

/// The time now to the second, as in log lines.
#[must_use]
pub fn now_seconds() -> String {
    seconds(since_epoch())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Go's `time.RFC3339`.
#[must_use]
pub fn seconds(since_epoch: Duration) -> String {
    let mut text = date_and_time(since_epoch.as_secs());
    text.push('Z');
    text
}

/// Go's `time.RFC3339Nano`.
#[must_use]
pub fn nanoseconds(since_epoch: Duration) -> String {
    let mut text = date_and_time(since_epoch.as_secs());
    if since_epoch.subsec_nanos() != 0 {
        let fraction = format!(".{:09}", since_epoch.subsec_nanos());
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

fn date_and_time(seconds: u64) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let second = seconds % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of the day that many days after 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from the first of March here, which puts the leap day at the end; 719,468 days lie between
/// 0000-03-01 and 1970-01-01, and an era of 400 years has 146,097.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // From date(1): date -u -d @N +%FT%TZ
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(seconds(Duration::from_secs(at)), text);
            assert_eq!(nanoseconds(Duration::from_secs(at)), text);
        }
    }

    #[test]
    fn fractions_lose_trailing_zeros_as_in_go() {
        let at = |nanos| nanoseconds(Duration::new(1, nanos));
        assert_eq!(at(123_456_789), "1970-01-01T00:00:01.123456789Z");
        assert_eq!(at(120_000_000), "1970-01-01T00:00:01.12Z");
        assert_eq!(at(1), "1970-01-01T00:00:01.000000001Z");
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut before = civil_date(0);
        for day in 1..200_000 {
            let date = civil_date(day);
            assert!(date > before && (1..=12).contains(&date.1) && (1..=31).contains(&date.2));
            before = date;
        }
    }
}
