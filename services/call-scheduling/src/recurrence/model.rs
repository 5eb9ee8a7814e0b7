//! The times of a call, in wall-clock time of the organization (R51).
//!
//! A civil time is a date and a time of day without a time zone. The recurrence rule is expanded to civil
//! times, and each of them is converted with the time zone. If the zone skips a civil time, the occurrence
//! starts later by the length of the gap, as RFC 5545 requires. If a civil time occurs twice, the occurrence
//! starts at the first one.
use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use rrule::{Frequency, RRule, RRuleSet, Unvalidated};

/// The largest number of occurrences of a series.
pub(crate) const MAX_OCCURRENCES: u16 = 400;
/// The longest span of a series in days, two years.
const MAX_DAYS: i64 = 732;

/// The end of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The last date on which an occurrence may start.
    Until(NaiveDate),
    /// The number of occurrences.
    Count(u32),
}

/// A weekly repetition on the weekday of the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weekly {
    /// The number of weeks from one occurrence to the next, 1 to 8.
    pub(crate) interval: u16,
    pub(crate) end: End,
}

impl Weekly {
    fn rule(self) -> RRule<Unvalidated> {
        let rule = RRule::new(Frequency::Weekly).interval(self.interval);
        match self.end {
            End::Count(count) => rule.count(count),
            End::Until(date) => {
                rule.until(as_utc(date.and_time(NaiveTime::MIN) + TimeDelta::seconds(86_399)))
            }
        }
    }

    /// Returns the rule in the format of RFC 5545, with UNTIL as a date.
    pub(crate) fn text(self) -> String {
        match self.end {
            End::Count(count) => format!("FREQ=WEEKLY;INTERVAL={};COUNT={count}", self.interval),
            End::Until(d) => {
                format!(
                    "FREQ=WEEKLY;INTERVAL={};UNTIL={:04}{:02}{:02}",
                    self.interval,
                    d.year(),
                    d.month(),
                    d.day()
                )
            }
        }
    }
}

/// The schedule of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The first start, as civil time of the zone.
    pub(crate) start: NaiveDateTime,
    pub(crate) zone: Tz,
    /// The length of one occurrence.
    pub(crate) duration: TimeDelta,
    /// `None` if the call is held once.
    pub(crate) weekly: Option<Weekly>,
}

/// One occurrence of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    /// The start according to the rule, even if the time zone skips this civil time.
    pub(crate) civil: NaiveDateTime,
}

/// The rule has no occurrence, or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recurrence cannot be planned")]
pub(crate) struct NotPlannable;

impl Schedule {
    /// Returns all occurrences, ordered by start.
    pub(crate) fn slots(&self) -> Result<Vec<Slot>, NotPlannable> {
        let slot = |civil: NaiveDateTime| {
            let start = to_utc(civil, self.zone);
            Slot {
                start,
                end: start + self.duration,
                civil,
            }
        };
        let Some(weekly) = self.weekly else {
            return Ok(vec![slot(self.start)]);
        };
        if let End::Until(date) = weekly.end
            && (date < self.start.date() || date - self.start.date() > TimeDelta::days(MAX_DAYS))
        {
            return Err(NotPlannable);
        }
        let civil = expand(self.start, weekly.rule())?;
        let last = civil.last().ok_or(NotPlannable)?;
        if last.date() - self.start.date() > TimeDelta::days(MAX_DAYS) {
            return Err(NotPlannable);
        }
        Ok(civil.into_iter().map(slot).collect())
    }
}

fn as_utc(civil: NaiveDateTime) -> DateTime<rrule::Tz> {
    // Civil times are passed to the library as UTC, a zone without changes, in which its arithmetic is exact.
    rrule::Tz::UTC.from_utc_datetime(&civil)
}

/// Expands a rule over civil times.
fn expand(start: NaiveDateTime, rule: RRule<Unvalidated>) -> Result<Vec<NaiveDateTime>, NotPlannable> {
    let set: RRuleSet = rule.build(as_utc(start)).map_err(|_| NotPlannable)?;
    let found = set.all(MAX_OCCURRENCES + 1);
    if found.dates.is_empty() || found.dates.len() > usize::from(MAX_OCCURRENCES) {
        return Err(NotPlannable);
    }
    Ok(found.dates.into_iter().map(|d| d.naive_utc()).collect())
}

/// Converts a civil time of a time zone to UTC.
fn to_utc(civil: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    if let Some(found) = zone.from_local_datetime(&civil).earliest() {
        return found.with_timezone(&Utc);
    }
    // The zone skips this time: use the offset before the gap. A gap is at most a day long (Samoa, 2011).
    let before = (1..=104)
        .filter_map(|quarters| civil.checked_sub_signed(TimeDelta::minutes(15 * quarters)))
        .find_map(|earlier| zone.from_local_datetime(&earlier).latest())
        .map_or(0, |time| time.offset().fix().local_minus_utc());
    (civil - TimeDelta::seconds(before.into())).and_utc()
}

#[cfg(test)]
mod tests;
