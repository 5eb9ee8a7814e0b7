use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{Env, ManualClock, SystemIds};

/// The hand on the clock of [`env()`].
#[derive(Clone)]
pub struct Time(Arc<ManualClock>);

impl Time {
    /// Moves the clock on by `span`.
    pub fn advance(&self, span: TimeDelta) {
        self.0.advance(span);
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, time: DateTime<Utc>) {
        self.0.set(time);
    }
}

/// A clock that stands still at a school morning until the test moves it, and real chance: ids of tests
/// that share a server must differ.
pub fn env() -> (Env, Time) {
    let morning = DateTime::from_timestamp(1_788_249_600, 0).expect("2026-09-01T08:00:00Z");
    let clock = Arc::new(ManualClock::new(morning));
    let env = Env {
        clock: clock.clone(),
        ids: Arc::new(SystemIds),
    };
    (env, Time(clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_until_it_is_moved() {
        let (env, time) = env();
        assert_eq!(env.now().to_rfc3339(), "2026-09-01T08:00:00+00:00");
        time.advance(TimeDelta::minutes(5));
        assert_eq!(env.now().to_rfc3339(), "2026-09-01T08:05:00+00:00");
        assert_ne!(env.ids.uuid(), env.ids.uuid());
    }
}
