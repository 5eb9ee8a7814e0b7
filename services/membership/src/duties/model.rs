use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use parta_ids::{DutyId, MemberId, OrgId};
use parta_roster::{DutyKind, DutyScope};

/// The order on which an act rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: String,
    pub(crate) date: NaiveDate,
    pub(crate) text: String,
}

/// A duty of a member of the staff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duty {
    pub(crate) org_id: OrgId,
    pub(crate) id: DutyId,
    pub(crate) member_id: MemberId,
    pub(crate) kind: DutyKind,
    pub(crate) scope: DutyScope,
    pub(crate) order: Order,
    pub(crate) create_time: DateTime<Utc>,
    /// The last day in the time zone of the organization.
    pub(crate) until: NaiveDate,
    /// When the last day is over.
    pub(crate) due_time: DateTime<Utc>,
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// The cause that the deciding person wrote; `None` if nobody decided.
    pub(crate) end_cause: Option<String>,
}

impl Duty {
    pub(crate) fn has_ended(&self) -> bool {
        self.end_time.is_some()
    }
}

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
