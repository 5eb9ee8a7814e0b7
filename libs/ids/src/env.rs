//! Time and chance as parameters.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use uuid::{Builder, Uuid};

use crate::TypedId;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that stands still until it is set, for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock that stands at `time`.
    pub fn new(time: DateTime<Utc>) -> Self {
        Self(Mutex::new(time))
    }

    /// Sets it to `time`, forwards or backwards.
    pub fn set(&self, time: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// Moves it on by `span`.
    pub fn advance(&self, span: TimeDelta) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes ids and random bytes.
pub trait IdSource: Send + Sync {
    /// A new UUIDv7: unique, and later ones sort later.
    fn uuid(&self) -> Uuid;
    /// Fills `bytes` with bytes fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// Randomness fit for secrets: a generator of each thread, ChaCha seeded and seeded anew by the operating system, which
/// is not asked for every id.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        // Panics where the operating system gives no seed: without one every secret would be guessable.
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// The same ids and bytes at every run, for tests only: a xorshift generator, no secret at all.
#[derive(Debug)]
pub struct SeededIds(Mutex<(u64, u64)>);

impl SeededIds {
    /// Begins the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        // An odd multiplier tells all seeds apart; the generator must not begin at zero, where it would stay.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
        Self(Mutex::new((if state == 0 { 1 } else { state }, 0)))
    }
}

impl IdSource for SeededIds {
    fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        Builder::from_unix_timestamp_millis(1_700_000_000_000 + state.1, &random).into_uuid()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            state.0 ^= state.0 << 13;
            state.0 ^= state.0 >> 7;
            state.0 ^= state.0 << 17;
            *byte = state.0.to_le_bytes()[3];
        }
    }
}

/// Clock and chance together, as everything that decides is given them. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and random bytes.
    pub ids: Arc<dyn IdSource>,
}

impl Env {
    /// The machine's clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
        }
    }

    /// The time now in whole microseconds, which is what both databases keep: what is written reads back equal.
    pub fn now(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
    }

    /// A new id of one kind.
    pub fn id<T: TypedId>(&self) -> T {
        T::from_uuid(self.ids.uuid())
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
