//! The kinds of grounds of members in units, and the school year, by which chats decide since when a member
//! reads (F22).
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// The ground of a member in a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitGround {
    /// The enrollment of a pupil.
    Pupil,
    /// The relation to a pupil of the unit.
    Parent,
    /// The assignment of a teacher, of the class teacher too.
    Teacher,
    /// The assignment of the class teacher.
    ClassTeacher,
    /// The assignment of a substitute, of one for the class teacher too.
    Substitute,
    /// The assignment of a substitute for the class teacher.
    SubstituteClassTeacher,
}

/// Returns the last day of the school year of a day: 31 August. The calendar of the organization will replace
/// this function.
pub fn school_year_end(day: NaiveDate) -> NaiveDate {
    let year = if day.month() <= 8 {
        day.year()
    } else {
        day.year() + 1
    };
    NaiveDate::from_ymd_opt(year, 8, 31).unwrap_or(NaiveDate::MAX)
}

/// Returns the beginning of the school year of a time in a time zone: the first time that 1 September has.
pub fn school_year_begin(time: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let end = school_year_end(time.with_timezone(&zone).date_naive());
    let first = NaiveDate::from_ymd_opt(end.year() - 1, 9, 1).unwrap_or(NaiveDate::MIN);
    let midnight = first.and_time(NaiveTime::MIN);
    let local = |time| zone.from_local_datetime(&time).earliest();
    // If the clock is moved at midnight, the day begins an hour later.
    let found = local(midnight).or_else(|| local(midnight + TimeDelta::hours(1)));
    found.map_or_else(|| midnight.and_utc(), |time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn school_year_ends_on_31_august() {
        let end = |day: &str| school_year_end(day.parse().unwrap()).to_string();
        assert_eq!(end("2026-08-31"), "2026-08-31");
        assert_eq!(end("2026-09-01"), "2027-08-31");
        assert_eq!(end("2027-01-10"), "2027-08-31");
    }

    #[test]
    fn school_year_begins_at_midnight_of_the_time_zone() {
        let begin = |time: &str| {
            let time = time.parse().unwrap();
            school_year_begin(time, chrono_tz::Europe::Moscow).to_rfc3339()
        };
        assert_eq!(begin("2026-08-31T20:59:59Z"), "2025-08-31T21:00:00+00:00");
        assert_eq!(begin("2026-08-31T21:00:00Z"), "2026-08-31T21:00:00+00:00");
        assert_eq!(begin("2027-01-10T00:00:00Z"), "2026-08-31T21:00:00+00:00");
    }
}
