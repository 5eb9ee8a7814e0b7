//! The clock and the id source as parameters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use uuid::{Builder, Uuid};

use crate::TypedId;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> DateTime<Utc>;

    /// Returns the time of the clock of the database server, where a test sets it. Otherwise the server
    /// is queried.
    fn database_now(&self) -> Option<DateTime<Utc>> {
        None
    }
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the time or randomness of the machine"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that changes only when it is set, for tests. It is also that of the database server.
#[derive(Debug)]
pub struct ManualClock(Mutex<ManualTime>);

#[derive(Debug)]
struct ManualTime {
    /// The time of the database server.
    server: DateTime<Utc>,
    /// The time by which this process is ahead of it.
    ahead: TimeDelta,
}

impl ManualClock {
    /// Returns a clock set to `time`.
    pub fn new(time: DateTime<Utc>) -> Self {
        Self(Mutex::new(ManualTime {
            server: time,
            ahead: TimeDelta::zero(),
        }))
    }

    fn time(&self) -> MutexGuard<'_, ManualTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock to `time`, forwards or backwards.
    pub fn set(&self, time: DateTime<Utc>) {
        let mut now = self.time();
        now.server = time - now.ahead;
    }

    /// Advances the clock by `span`.
    pub fn advance(&self, span: TimeDelta) {
        self.time().server += span;
    }

    /// Sets by how much the clock of this process is ahead of that of the database server.
    pub fn set_ahead(&self, span: TimeDelta) {
        self.time().ahead = span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        let now = self.time();
        now.server + now.ahead
    }

    fn database_now(&self) -> Option<DateTime<Utc>> {
        Some(self.time().server)
    }
}

/// A source of ids and random bytes.
pub trait IdSource: Send + Sync {
    /// Returns a new UUIDv7: unique, and sorted by creation time.
    fn uuid(&self) -> Uuid;
    /// Fills `bytes` with cryptographically secure random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// A cryptographically secure random source: one ChaCha generator per thread, seeded and reseeded by the
/// operating system, so that an id needs no system call.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the time or randomness of the machine"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the time or randomness of the machine"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        // Panics if the operating system provides no seed, because without one every secret would be
        // guessable.
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// Returns the same ids and bytes in every run, for tests only: a xorshift generator, which is not secure.
#[derive(Debug)]
pub struct SeededIds(Mutex<(u64, u64)>);

impl SeededIds {
    /// Returns the source for `seed`.
    pub fn new(seed: u64) -> Self {
        // The odd multiplier maps all seeds to distinct states. The generator must not start at zero, where
        // it would stay.
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

/// The clock and the id source, which are passed to all code that depends on them. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of ids and random bytes.
    pub ids: Arc<dyn IdSource>,
}

impl Env {
    /// Returns the system clock and the secure random source.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
        }
    }

    /// Returns the current time in whole microseconds, the precision of both databases, so that a stored
    /// value reads back equal.
    pub fn now(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
    }

    /// Returns a new id.
    pub fn id<T: TypedId>(&self) -> T {
        T::from_uuid(self.ids.uuid())
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
