//! Days in the time zone of an organization.
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Returns the end of a day in a time zone. Where the clock is moved at midnight, the day ends at the
/// first time that the next day has.
pub(crate) fn end_of_day(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    let midnight = next.and_time(NaiveTime::MIN);
    let local = |time| zone.from_local_datetime(&time).earliest();
    let found = local(midnight).or_else(|| local(midnight + TimeDelta::hours(1)));
    found.map_or_else(|| midnight.and_utc(), |time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_ends_at_midnight_of_its_time_zone() {
        let end = |day: &str, zone: &str| end_of_day(day.parse().unwrap(), zone.parse().unwrap());
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(end("2027-05-31", "Europe/Moscow"), time("2027-05-31T21:00:00Z"));
        assert_eq!(end("2027-05-31", "Asia/Kamchatka"), time("2027-05-31T12:00:00Z"));
        // The clock of Beirut skips midnight.
        assert_eq!(end("2027-03-27", "Asia/Beirut"), time("2027-03-27T22:00:00Z"));
    }
}
