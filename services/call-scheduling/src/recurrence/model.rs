//! When a call is held: a promise in wall-clock time, kept across changes of daylight saving (R51).
//!
//! The rule is expanded over civil times, which know no zone, and each civil time is then placed on the time line.
//! A civil time that the zone skips is held later by the length of the gap, as RFC 5545 has it (offset before the gap);
//! one that comes twice is held the first time.
use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use rrule::{Frequency, RRule, RRuleSet, Unvalidated};

/// How many occurrences a series has at most.
pub const MOST_OCCURRENCES: u16 = 400;
/// For how many days a series runs at most: two years.
pub const MOST_DAYS: i64 = 732;

/// When a series ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last civil date on which it may start.
    Until(NaiveDate),
    /// The number of occurrences.
    Count(u32),
}

/// Every so many weeks on the weekday of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekly {
    /// Every how many weeks, 1 to 8.
    pub interval: u16,
    /// When it ends.
    pub end: End,
}

impl Weekly {
    fn rule(self) -> RRule<Unvalidated> {
        let rule = RRule::new(Frequency::Weekly).interval(self.interval);
        match self.end {
            End::Count(count) => rule.count(count),
            End::Until(date) => rule.until(floating(
                date.and_time(NaiveTime::MIN) + TimeDelta::seconds(86_399),
            )),
        }
    }

    /// As an RFC 5545 rule; UNTIL is written as the civil date that it is.
    pub fn text(self) -> String {
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

/// When a call is held: start, length, place of the clock, repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The first start on the clock of the place.
    pub start: NaiveDateTime,
    /// Whose clock it is.
    pub zone: Tz,
    /// How long each lasts.
    pub duration: TimeDelta,
    /// How it repeats.
    pub weekly: Option<Weekly>,
}

/// One time at which a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// When it starts.
    pub start: DateTime<Utc>,
    /// When it ends.
    pub end: DateTime<Utc>,
    /// The start as promised, on the clock of the place.
    pub civil: NaiveDateTime,
}

/// The rule has no occurrence, too many, or cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recurrence cannot be planned")]
pub struct NotPlannable;

impl Schedule {
    /// All occurrences, by start.
    pub fn slots(&self) -> Result<Vec<Slot>, NotPlannable> {
        let slot = |civil: NaiveDateTime| {
            let start = place(civil, self.zone);
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
            && (date < self.start.date() || date - self.start.date() > TimeDelta::days(MOST_DAYS))
        {
            return Err(NotPlannable);
        }
        let civil = expand(self.start, weekly.rule())?;
        let last = civil.last().ok_or(NotPlannable)?;
        if last.date() - self.start.date() > TimeDelta::days(MOST_DAYS) {
            return Err(NotPlannable);
        }
        Ok(civil.into_iter().map(slot).collect())
    }
}

fn floating(civil: NaiveDateTime) -> DateTime<rrule::Tz> {
    // Civil times are carried as if they were UTC: a zone without changes, in which the rule's arithmetic is exact.
    rrule::Tz::UTC.from_utc_datetime(&civil)
}

/// Expands a rule over civil times.
pub(crate) fn expand(
    start: NaiveDateTime,
    rule: RRule<Unvalidated>,
) -> Result<Vec<NaiveDateTime>, NotPlannable> {
    let set: RRuleSet = rule.build(floating(start)).map_err(|_| NotPlannable)?;
    let found = set.all(MOST_OCCURRENCES + 1);
    if found.dates.is_empty() || found.dates.len() > usize::from(MOST_OCCURRENCES) {
        return Err(NotPlannable);
    }
    Ok(found.dates.into_iter().map(|d| d.naive_utc()).collect())
}

/// Places a civil time on the time line.
pub fn place(civil: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    if let Some(found) = zone.from_local_datetime(&civil).earliest() {
        return found.with_timezone(&Utc);
    }
    // Skipped by the zone: the offset that was in force before the gap. Gaps are at most a day long (Samoa, 2011).
    let before = (1..=104)
        .filter_map(|quarters| civil.checked_sub_signed(TimeDelta::minutes(15 * quarters)))
        .find_map(|earlier| zone.from_local_datetime(&earlier).latest())
        .map_or(0, |time| time.offset().fix().local_minus_utc());
    (civil - TimeDelta::seconds(before.into())).and_utc()
}

#[cfg(test)]
mod tests;
