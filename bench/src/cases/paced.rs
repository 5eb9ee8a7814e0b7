//! Latency at half of the rate that the server reached.
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    load::{Load, Sender, TEXT},
    measure::Numbers,
};

/// The rates of our sides that know no pause, each from its last round.
#[derive(Default)]
pub(super) struct Peak(Cell<[f64; 2]>);

impl Peak {
    /// Takes notice of a side's rate.
    pub(super) fn see(&self, side: usize, numbers: &Numbers) {
        let mut rates = self.0.get();
        if let (Some(last), Some(rate)) = (rates.get_mut(side), numbers.get("rate")) {
            *last = *rate;
        }
        self.0.set(rates);
    }

    /// Half of the larger.
    pub(super) fn half(&self) -> f64 {
        self.0.get().into_iter().fold(0.0, f64::max) / 2.0
    }
}

/// Everybody writes by the clock for so long, so many messages a second among them. Waiting counts from
/// when a message was due: one that is late because the one before was slow is slow too.
pub(super) async fn send(senders: &mut Vec<Sender>, rate: f64, span: Duration) -> anyhow::Result<Load> {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let each = Duration::from_secs_f64(senders.len() as f64 / rate.max(1.0));
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for (n, mut sender) in (0_u32..).zip(senders.drain(..)) {
        running.spawn(async move {
            let mut times = Vec::new();
            // One after the other over the time between two messages of the same sender.
            let mut due = begin + each.mul_f64(f64::from(n % 64) / 64.0);
            while due < begin + span {
                tokio::time::sleep_until(due.into()).await;
                sender.send(TEXT).await?;
                times.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
                due += each;
            }
            anyhow::Ok((n, sender, times))
        });
    }
    let (mut back, mut times) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (n, sender, mine) = done??;
        back.push((n, sender));
        times.extend(mine);
    }
    let seconds = begin.elapsed().as_secs_f64();
    back.sort_by_key(|(n, _)| *n);
    senders.extend(back.into_iter().map(|(_, sender)| sender));
    times.sort_unstable();
    Ok(Load { seconds, times })
}
