//! Work that a background task repeats at an interval.
use std::{fmt::Display, future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

/// Runs `work` at once, and again after every `interval`, until `cancel` is canceled. A failure is logged and
/// does not end the task: the next run works on the same rows again.
pub(crate) async fn run<F, Fut, E>(interval: Duration, cancel: &CancellationToken, mut work: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    loop {
        if let Err(error) = work().await {
            tracing::warn!(%error, "periodic work failed, trying again after the interval");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::Task;

    /// Counts the runs of a task, of which the second one fails.
    fn counted(interval: Duration) -> (Task, Arc<AtomicU32>) {
        let runs = Arc::new(AtomicU32::new(0));
        let task = Task::periodic("test.task", interval, runs.clone(), |runs, _| async move {
            match runs.fetch_add(1, Ordering::SeqCst) {
                1 => Err("the second time"),
                _ => Ok(()),
            }
        });
        (task, runs)
    }

    #[test]
    fn periodic_work_continues_after_a_failure() {
        parta_testkit::run_paused(async {
            parta_testkit::logs().allow("periodic work failed");
            let hour = Duration::from_hours(1);
            let (task, runs) = counted(hour);
            let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
            let started = tokio::time::Instant::now();
            tracker.spawn(task.run(cancel.clone()));
            // Between the third run and the fourth.
            tokio::time::sleep(hour * 5 / 2).await;
            assert_eq!(runs.load(Ordering::SeqCst), 3);
            cancel.cancel();
            tracker.close();
            tracker.wait().await;
            assert_eq!(runs.load(Ordering::SeqCst), 3);
            assert_eq!(started.elapsed(), hour * 5 / 2, "the task ends without waiting");
        });
    }

    #[test]
    fn periodic_work_runs_once_when_canceled_at_the_start() {
        parta_testkit::run_paused(async {
            let (task, runs) = counted(Duration::from_hours(1));
            let cancel = CancellationToken::new();
            cancel.cancel();
            task.run(cancel).await.unwrap();
            assert_eq!(runs.load(Ordering::SeqCst), 1);
        });
    }
}
