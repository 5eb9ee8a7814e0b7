use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{Env, ManualClock, SystemIds};

/// Controls the clock of [`env()`].
#[derive(Clone)]
pub struct Time(Arc<ManualClock>);

impl Time {
    /// Advances the clock by `span`.
    pub fn advance(&self, span: TimeDelta) {
        self.0.advance(span);
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, time: DateTime<Utc>) {
        self.0.set(time);
    }

    /// Sets by how much the clock of the process is ahead of that of the database server.
    pub fn set_ahead(&self, span: TimeDelta) {
        self.0.set_ahead(span);
    }
}

/// Returns a manual clock, set to 2026-09-01 08:00 UTC, and the system's id source. The ids are random,
/// because tests share servers.
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
    fn clock_changes_only_when_it_is_set() {
        let (env, time) = env();
        assert_eq!(env.now().to_rfc3339(), "2026-09-01T08:00:00+00:00");
        time.advance(TimeDelta::minutes(5));
        assert_eq!(env.now().to_rfc3339(), "2026-09-01T08:05:00+00:00");
        assert_ne!(env.ids.uuid(), env.ids.uuid());
    }
}
