//! Addresses and the limits of sign-in, as pure code.
use chrono::{DateTime, TimeDelta, Utc};

/// A phone or an e-mail address in its one form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// E.164, for example "+79161234567".
    Phone(String),
    /// Lower case.
    Email(String),
}

impl Address {
    /// Reads a phone number with country code.
    pub fn phone(text: &str) -> Option<Self> {
        let number = phonenumber::parse(None, text.trim())
            .ok()
            .filter(phonenumber::is_valid)?;
        Some(Self::Phone(
            number.format().mode(phonenumber::Mode::E164).to_string(),
        ))
    }

    /// Reads an e-mail address.
    pub fn email(text: &str) -> Option<Self> {
        let address: lettre::Address = text.trim().to_lowercase().parse().ok()?;
        let text = address.to_string();
        (text.len() <= 254).then_some(Self::Email(text))
    }

    /// The form in which it is kept; phones and mail addresses never meet.
    pub fn text(&self) -> &str {
        match self {
            Self::Phone(text) | Self::Email(text) => text,
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
    fn addresses_have_one_form() {
        assert_eq!(
            Address::phone("+7 (916) 123-45-67").unwrap().text(),
            "+79161234567"
        );
        assert_eq!(Address::phone("89161234567"), None);
        assert_eq!(
            Address::email(" A.B@School.Example ").unwrap().text(),
            "a.b@school.example"
        );
        assert_eq!(Address::email("nobody"), None);
    }

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
