//! Limits of sign-in, as pure code.
use chrono::{DateTime, TimeDelta, Utc};

/// How many attempts one code has.
pub(super) const ATTEMPTS_MAX: i32 = 5;
/// How long a code is valid.
pub(super) const CODE_LIFE: TimeDelta = TimeDelta::minutes(5);
/// How long a proved address may be used to start a session.
pub(super) const PROOF_LIFE: TimeDelta = TimeDelta::minutes(10);
/// How long a flow is kept after its code has expired.
pub(super) const FLOW_RETENTION: TimeDelta = TimeDelta::days(1);
/// How long the counter of an address is kept after the latest code. No limit counts further back.
pub(super) const COUNTER_RETENTION: TimeDelta = TimeDelta::days(2);
/// How long wrong codes are counted after the latest code, so that waiting gives no more attempts.
pub(super) const FAILURES_RETENTION: TimeDelta = TimeDelta::days(365);
/// The shortest time between two codes.
pub(super) const RESEND: TimeDelta = TimeDelta::seconds(60);

/// The codes that were sent to an address and the attempts on them. A new code resets nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Counter {
    /// When the latest code was sent.
    pub(super) send_time: Option<DateTime<Utc>>,
    /// The beginning of the counted hour.
    pub(super) hour: DateTime<Utc>,
    /// Codes sent in it.
    pub(super) hour_sends: i32,
    /// The beginning of the counted day.
    pub(super) day: DateTime<Utc>,
    /// Codes sent in it.
    pub(super) day_sends: i32,
    /// Wrong codes since the latest right one.
    pub(super) failures: i32,
    /// Until when the address is refused.
    pub(super) block_time: Option<DateTime<Utc>>,
}

impl Counter {
    /// Counts a code to be sent, or returns the limit that is reached and when it ends.
    pub(super) fn send(&mut self, now: DateTime<Utc>) -> Result<(), (&'static str, DateTime<Utc>)> {
        if let Some(until) = self.block_time.filter(|until| *until > now) {
            return Err(("failures", until));
        }
        if let Some(next) = self
            .send_time
            .map(|sent| sent + RESEND)
            .filter(|next| *next > now)
        {
            return Err(("resend", next));
        }
        if now >= self.hour + TimeDelta::hours(1) {
            (self.hour, self.hour_sends) = (now, 0);
        }
        if now >= self.day + TimeDelta::days(1) {
            (self.day, self.day_sends) = (now, 0);
        }
        if self.hour_sends >= 5 {
            return Err(("codes_per_hour", self.hour + TimeDelta::hours(1)));
        }
        if self.day_sends >= 10 {
            return Err(("codes_per_day", self.day + TimeDelta::days(1)));
        }
        self.send_time = Some(now);
        self.hour_sends += 1;
        self.day_sends += 1;
        Ok(())
    }

    /// Counts a wrong code. After ten the address is refused for 30 s, doubling up to an hour; after a
    /// hundred for a year.
    pub(super) fn fail(&mut self, now: DateTime<Utc>) {
        self.failures += 1;
        if self.failures >= 100 {
            self.block_time = Some(now + TimeDelta::days(365));
        } else if self.failures >= 10 {
            let doubled = 30_i64 << (self.failures - 10).min(7);
            self.block_time = Some(now + TimeDelta::seconds(doubled.min(3_600)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_limited_per_minute_hour_and_day() {
        let mut now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let (start, mut counter) = (now, Counter::default());
        counter.send(now).unwrap();
        assert_eq!(
            counter.send(now + TimeDelta::seconds(59)),
            Err(("resend", now + RESEND))
        );
        for _ in 0..4 {
            now += RESEND;
            counter.send(now).unwrap();
        }
        now += RESEND;
        assert_eq!(
            counter.send(now),
            Err(("codes_per_hour", start + TimeDelta::hours(1)))
        );
        now = start + TimeDelta::hours(1);
        for _ in 0..5 {
            counter.send(now).unwrap();
            now += RESEND;
        }
        now = start + TimeDelta::hours(3);
        assert_eq!(
            counter.send(now),
            Err(("codes_per_day", start + TimeDelta::days(1)))
        );
    }

    #[test]
    fn wrong_codes_block_the_address() {
        let (now, mut counter) = (DateTime::UNIX_EPOCH, Counter::default());
        (0..9).for_each(|_| counter.fail(now));
        assert_eq!(counter.block_time, None);
        counter.fail(now);
        assert_eq!(counter.block_time, Some(now + TimeDelta::seconds(30)));
        (0..20).for_each(|_| counter.fail(now));
        assert_eq!(counter.block_time, Some(now + TimeDelta::seconds(3_600)));
    }
}
