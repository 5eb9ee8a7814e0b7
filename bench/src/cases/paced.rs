//! Latency at half of the highest rate that the server reached.
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    load::{Load, Sender, TEXT},
    measure::Numbers,
};

/// The rates of the closed-loop variants, each from its last round.
#[derive(Default)]
pub(super) struct Peak(Cell<[f64; 2]>);

impl Peak {
    pub(super) fn record(&self, variant: usize, numbers: &Numbers) {
        let mut rates = self.0.get();
        if let (Some(last), Some(rate)) = (rates.get_mut(variant), numbers.get("rate")) {
            *last = *rate;
        }
        self.0.set(rates);
    }

    /// Returns half of the larger rate.
    pub(super) fn half(&self) -> f64 {
        self.0.get().into_iter().fold(0.0, f64::max) / 2.0
    }
}

/// Sends `rate` messages per second in total for `duration`, at fixed times. The latency of a message starts
/// when it is due, so that a slow response also delays the messages after it.
pub(super) async fn send(senders: &mut Vec<Sender>, rate: f64, duration: Duration) -> anyhow::Result<Load> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let interval = Duration::from_secs_f64(senders.len() as f64 / rate.max(1.0));
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for (n, mut sender) in (0_u32..).zip(senders.drain(..)) {
        running.spawn(async move {
            let mut times = Vec::new();
            // Spreads the first messages of the senders over one interval.
            let mut due = begin + interval.mul_f64(f64::from(n % 64) / 64.0);
            while due < begin + duration {
                tokio::time::sleep_until(due.into()).await;
                sender.send(TEXT).await?;
                times.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
                due += interval;
            }
            anyhow::Ok((n, sender, times))
        });
    }
    let (mut finished, mut times) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (n, sender, sender_times) = done??;
        finished.push((n, sender));
        times.extend(sender_times);
    }
    let seconds = begin.elapsed().as_secs_f64();
    finished.sort_by_key(|(n, _)| *n);
    senders.extend(finished.into_iter().map(|(_, sender)| sender));
    times.sort_unstable();
    Ok(Load { seconds, times })
}
