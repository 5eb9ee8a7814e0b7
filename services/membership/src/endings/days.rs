//! Days in the time zone of an organization.
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use parta_database::Tx;
use parta_ids::OrgId;
use parta_roster::Roster;
use parta_status::{RpcError, invalid};

use crate::error::Error;

/// Returns the time zone of the organization.
pub(crate) async fn time_zone(roster: &Roster, tx: &Tx, org: OrgId) -> Result<Tz, Error> {
    let organization = roster.organization(tx, org).await?;
    let organization = organization.ok_or_else(|| Error::unknown("organization", org))?;
    Ok(organization.time_zone.parse().map_err(RpcError::internal)?)
}

/// Returns the day of the transaction in the time zone of the organization.
pub(crate) async fn today(roster: &Roster, tx: &Tx, org: OrgId) -> Result<NaiveDate, Error> {
    Ok(local_date(tx.now(), time_zone(roster, tx, org).await?))
}

/// Returns the day of a time in a time zone.
pub(crate) fn local_date(time: DateTime<Utc>, zone: Tz) -> NaiveDate {
    time.with_timezone(&zone).date_naive()
}

/// Returns the end of a day in a time zone. If the clock is moved at midnight, the day ends at the
/// first time that the next day has.
pub(crate) fn end_of_day(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    let midnight = next.and_time(NaiveTime::MIN);
    let local = |time| zone.from_local_datetime(&time).earliest();
    let found = local(midnight).or_else(|| local(midnight + TimeDelta::hours(1)));
    found.map_or_else(|| midnight.and_utc(), |time| time.with_timezone(&Utc))
}

/// Returns when the last day of a fact is over in the time zone of the organization. Refuses a day that is
/// over.
pub(crate) async fn due_time(
    roster: &Roster,
    tx: &Tx,
    org: OrgId,
    until: NaiveDate,
) -> Result<DateTime<Utc>, Error> {
    let due = end_of_day(until, time_zone(roster, tx, org).await?);
    if due <= tx.now() {
        return Err(invalid("until_date", "must not be in the past").into());
    }
    Ok(due)
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

    #[test]
    fn day_depends_on_the_time_zone() {
        let time = "2026-11-27T22:00:00Z".parse().unwrap();
        let day = |zone| local_date(time, zone).to_string();
        assert_eq!(day(chrono_tz::Europe::Moscow), "2026-11-28");
        assert_eq!(day(chrono_tz::UTC), "2026-11-27");
    }
}
