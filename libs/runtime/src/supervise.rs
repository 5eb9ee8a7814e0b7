//! Restarts background tasks until they are canceled.
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use parta_status::error_chain;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::Task;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Starts every task. A task that ends before `cancel` is restarted after a delay that grows with repeated
/// failures.
pub(crate) fn start(tasks: Vec<Task>, cancel: &CancellationToken, tracker: &TaskTracker) {
    for task in tasks {
        let span = tracing::info_span!(parent: None, "task", task = &*task.name);
        tracker.spawn(run_supervised(task, cancel.clone()).instrument(span));
    }
}

async fn run_supervised(task: Task, cancel: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    while !cancel.is_cancelled() {
        let started = Instant::now();
        let run = std::panic::AssertUnwindSafe(task.run(cancel.clone()))
            .catch_unwind()
            .await;
        if cancel.is_cancelled() {
            if let Ok(Err(error)) = run {
                tracing::info!(
                    task = &*task.name,
                    error = error_chain(&*error),
                    "task failed during shutdown"
                );
            }
            return;
        }
        match run {
            Ok(Ok(())) => tracing::warn!(task = &*task.name, "task ended early, starting again"),
            Ok(Err(error)) => tracing::error!(
                task = &*task.name,
                error = error_chain(&*error),
                "task failed, starting again"
            ),
            Err(_) => tracing::error!(task = &*task.name, "task panicked, starting again"),
        }
        if started.elapsed() > MAX_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn failing_task_is_restarted_until_canceled() {
        parta_testkit::run_paused(async {
            parta_testkit::logs().allow("starting again");
            let (runs, third) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Notify::new()));
            let task = Task::new("test.task", {
                let (runs, third) = (runs.clone(), third.clone());
                move |cancel| {
                    let (runs, third) = (runs.clone(), third.clone());
                    async move {
                        match runs.fetch_add(1, Ordering::SeqCst) {
                            0 => anyhow::bail!("the first time"),
                            1 => panic!("the second time"),
                            _ => third.notify_one(),
                        }
                        cancel.cancelled().await;
                        Ok(())
                    }
                }
            });
            let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
            start(vec![task], &cancel, &tracker);
            third.notified().await;
            cancel.cancel();
            tracker.close();
            tracker.wait().await;
            assert_eq!(runs.load(Ordering::SeqCst), 3);
        });
    }
}
