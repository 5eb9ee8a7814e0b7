//! Addresses and the limits of sign-in, as pure code.
use chrono::{DateTime, TimeDelta, Utc};
use parta_contacts::{EmailAddress, PhoneNumber};

/// A phone number or an e-mail address to which codes are sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A phone number.
    Phone(PhoneNumber),
    /// An e-mail address.
    Email(EmailAddress),
}

impl Address {
    /// The text that is stored. A phone number starts with "+" and holds no "@", so the two kinds never collide.
    pub fn text(&self) -> &str {
        match self {
            Self::Phone(number) => number.as_str(),
            Self::Email(address) => address.as_str(),
        }
    }
}

/// Wrong tries of one code.
pub const TRIES: i32 = 5;
/// How long a code lives.
pub const CODE_LIFE: TimeDelta = TimeDelta::minutes(5);
/// How long a proven address may be used to sign in.
pub const PROOF_LIFE: TimeDelta = TimeDelta::minutes(10);
/// The shortest time between two codes.
pub const RESEND: TimeDelta = TimeDelta::seconds(60);
/// How long a lost answer of a refresh is answered again.
pub const REPLAY: TimeDelta = TimeDelta::seconds(60);
/// A session that was not renewed for so long has ended.
pub const SESSION_IDLE: TimeDelta = TimeDelta::days(60);

/// What was sent to an address and what was tried on it. A new code resets nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counter {
    /// Latest code.
    pub send_time: Option<DateTime<Utc>>,
    /// Begin of the counted hour.
    pub hour: DateTime<Utc>,
    /// Codes in it.
    pub hour_sends: i32,
    /// Begin of the counted day.
    pub day: DateTime<Utc>,
    /// Codes in it.
    pub day_sends: i32,
    /// Wrong tries since the last right one.
    pub failures: i32,
    /// Until when the address is refused.
    pub block_time: Option<DateTime<Utc>>,
}

impl Counter {
    /// Counts a code to be sent; otherwise says which limit and when it ends.
    pub fn send(&mut self, now: DateTime<Utc>) -> Result<(), (&'static str, DateTime<Utc>)> {
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

    /// Counts a wrong try: after ten the address is refused for 30 s, doubling to an hour; after a hundred for a year.
    pub fn fail(&mut self, now: DateTime<Utc>) {
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
    fn five_codes_an_hour_ten_a_day_and_sixty_seconds_between() {
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
    fn wrong_tries_slow_the_address_down() {
        let (now, mut counter) = (DateTime::UNIX_EPOCH, Counter::default());
        (0..9).for_each(|_| counter.fail(now));
        assert_eq!(counter.block_time, None);
        counter.fail(now);
        assert_eq!(counter.block_time, Some(now + TimeDelta::seconds(30)));
        (0..20).for_each(|_| counter.fail(now));
        assert_eq!(counter.block_time, Some(now + TimeDelta::seconds(3_600)));
    }
}
