//! Statistics of a run.
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A counter that many tasks increment.
#[derive(Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Statistics of one run.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) acknowledged: Counter,
    pub(crate) refused: Counter,
    /// Attempts without a response, or with a request to retry.
    pub(crate) retries: Counter,
    /// Requests that were repeated after a response, or sent twice concurrently.
    pub(crate) repetitions: Counter,
    pub(crate) participant_changes: Counter,
    pub(crate) delivered: Counter,
    pub(crate) reconnects: Counter,
    pub(crate) kills: Counter,
    pub(crate) database_crashes: Counter,
    pub(crate) vanishings: Counter,
    pub(crate) disconnects: Counter,
    pub(crate) revocations: Counter,
    pub(crate) lag: Lags,
}

/// Lags from the acknowledgement of a message to its arrival at a stream that was already open.
#[derive(Default)]
pub(crate) struct Lags(Mutex<BTreeMap<u64, usize>>);

impl Lags {
    /// Adds a lag, rounded to two digits.
    pub(crate) fn add(&self, lag: Duration) {
        let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let unit = 10_u64.pow(micros.max(10).ilog10() - 1);
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(micros / unit * unit)
            .or_default() += 1;
    }

    /// Returns the lag that `per_mille` of the messages do not exceed.
    fn quantile(&self, per_mille: usize) -> f64 {
        let lags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rank = (lags.values().sum::<usize>() * per_mille).div_ceil(1_000);
        let mut count = 0;
        let mut within = lags.iter().filter(|(_, messages)| {
            count += **messages;
            count >= rank
        });
        within.next().map_or(0.0, |(micros, _)| *micros as f64 / 1_000.0)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "messages: {} acknowledged, {} refused, {} attempts without a response, {} repeated on purpose; \
             {} changes of participants",
            self.acknowledged.get(),
            self.refused.get(),
            self.retries.get(),
            self.repetitions.get(),
            self.participant_changes.get()
        )?;
        writeln!(
            f,
            "streams: {} entries, {} reconnects; delivery lag in ms: p50 {:.1}, p99 {:.1}, max {:.1}",
            self.delivered.get(),
            self.reconnects.get(),
            self.lag.quantile(500),
            self.lag.quantile(990),
            self.lag.quantile(1_000)
        )?;
        write!(
            f,
            "faults: {} kills, {} crashes and {} vanished hosts of the database, {} disconnections of the bus; \
             {} sessions ended",
            self.kills.get(),
            self.database_crashes.get(),
            self.vanishings.get(),
            self.disconnects.get(),
            self.revocations.get()
        )
    }
}
