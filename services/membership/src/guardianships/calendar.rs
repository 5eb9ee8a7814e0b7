//! The days on which guardianships change.
use chrono::{Months, NaiveDate, TimeDelta};

pub(crate) use parta_roster::school_year_end;

pub(crate) use crate::endings::local_date;

/// A student may choose from this time before the 18th birthday.
const CHOICE_OPENS: TimeDelta = TimeDelta::days(60);

/// Returns the 18th birthday. Someone born on 29 February has it on 28 February.
pub(crate) fn majority(birth_date: NaiveDate) -> NaiveDate {
    birth_date
        .checked_add_months(Months::new(18 * 12))
        .unwrap_or(NaiveDate::MAX)
}

/// Returns whether the student is of age: from the day after the 18th birthday.
pub(crate) fn is_of_age(birth_date: NaiveDate, today: NaiveDate) -> bool {
    majority(birth_date) < today
}

/// Returns the latest birth date of those who are of age.
pub(crate) fn latest_birth_date_of_age(today: NaiveDate) -> NaiveDate {
    // A day later than exact for those born at the end of February; `is_of_age` decides.
    today
        .checked_sub_months(Months::new(18 * 12))
        .unwrap_or(NaiveDate::MIN)
}

/// Returns whether the student may choose what stays after the 18th birthday.
pub(crate) fn may_choose(birth_date: NaiveDate, today: NaiveDate) -> bool {
    majority(birth_date) - CHOICE_OPENS <= today
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn student_is_of_age_on_the_day_after_the_birthday() {
        let born = date("2008-11-27");
        assert!(!is_of_age(born, date("2026-11-27")) && is_of_age(born, date("2026-11-28")));
        assert!(!may_choose(born, date("2026-09-27")) && may_choose(born, date("2026-09-28")));
        let leap = date("2008-02-29");
        assert!(!is_of_age(leap, date("2026-02-28")) && is_of_age(leap, date("2026-03-01")));
    }
}
