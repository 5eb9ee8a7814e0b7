//! The first organization with its administrator. The tests of a feature add its calls.
use std::ops::Deref;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use parta_testkit::TestDatabase;

use super::test_env::{MemberSession, TestEnv};

/// The first organization with the classes 1А and 2А and its administrator, Анна Петрова.
pub(crate) struct School {
    pub(crate) test_env: TestEnv,
    pub(crate) administrator: MemberSession,
}

impl School {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        Self {
            test_env,
            administrator,
        }
    }

    /// The day in Moscow after this number of days.
    pub(crate) fn day(&self, after: u64) -> NaiveDate {
        let now = self.test_env.env.now().with_timezone(&chrono_tz::Europe::Moscow);
        now.date_naive() + Days::new(after)
    }
}

/// The end of a day in Moscow.
pub(crate) fn end_of(day: NaiveDate) -> DateTime<Utc> {
    (day + Days::new(1)).and_time(NaiveTime::MIN).and_utc() - TimeDelta::hours(3)
}

/// The school with the people of one test.
pub(crate) struct With<P> {
    pub(crate) school: School,
    pub(crate) people: P,
}

impl<P> Deref for With<P> {
    type Target = School;

    fn deref(&self) -> &School {
        &self.school
    }
}
