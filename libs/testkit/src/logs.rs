//! Captures the WARN and ERROR events of one test, on all of its threads.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Builder, sync::Notify};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt as _},
};

use crate::{
    TestDatabase,
    refusals::{self, Refusal},
};

/// Lines that any test may log: the beginning of the target and a part of the text. The machine may be
/// loaded, and a client of the test may outlive the servers that it called.
const ALWAYS_ALLOWED: &[(&str, &str)] = &[
    ("sqlx::query", "slow statement"),
    (
        "sqlx::pool",
        "acquired connection, but time to acquire exceeded slow threshold",
    ),
    ("parta_grpc::client::replicas", "no replica can be reached"),
];

thread_local! {
    static CURRENT: RefCell<Option<Logs>> = const { RefCell::new(None) };
}

/// One event at WARN or ERROR.
#[derive(Debug, Clone)]
pub struct Line {
    /// WARN or ERROR.
    pub level: Level,
    /// The module that logged the event.
    pub target: String,
    /// The message, then the fields.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.level, self.target, self.text)
    }
}

/// The log of the running test.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    allowed: Vec<String>,
    /// Refusals that the comments of their RPCs do not list.
    undocumented: BTreeSet<Refusal>,
    ignores_refusals: bool,
    /// Notified of each line.
    added: Arc<Notify>,
}

impl Logs {
    /// Allows lines that contain `text`, including lines that were already logged.
    pub fn allow(&self, text: &str) {
        self.state(|state| state.allowed.push(text.to_owned()));
    }

    /// Returns the lines logged so far.
    pub fn lines(&self) -> Vec<Line> {
        self.state(|state| state.lines.clone())
    }

    /// Waits until a line that contains `text` was logged.
    pub async fn until(&self, text: &str) {
        let added = self.state(|state| state.added.clone());
        loop {
            // Created before the look, so that no line is missed in between.
            let next = added.notified();
            if self.lines().iter().any(|line| line.text.contains(text)) {
                return;
            }
            next.await;
        }
    }

    /// Returns the lines that the test did not allow.
    pub fn unexpected(&self) -> Vec<Line> {
        self.state(|state| {
            let is_allowed = |line: &&Line| {
                let is_always_allowed = |(target, text): &(&str, &str)| {
                    line.target.starts_with(target) && line.text.contains(text)
                };
                state.allowed.iter().any(|text| line.text.contains(text))
                    || ALWAYS_ALLOWED.iter().any(is_always_allowed)
            };
            state
                .lines
                .iter()
                .filter(|line| !is_allowed(line))
                .cloned()
                .collect()
        })
    }

    /// Neither checks nor records the refusals of this test, because its servers are fakes.
    pub fn ignore_refusals(&self) {
        self.state(|state| state.ignores_refusals = true);
    }

    fn refused(&self, refusal: Refusal) {
        if self.state(|state| state.ignores_refusals) {
            return;
        }
        refusals::record(&refusal);
        if !refusal.is_documented() {
            self.state(|state| state.undocumented.insert(refusal));
        }
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the log of the running test. Panics on threads that do not belong to [`run`].
pub fn logs() -> Logs {
    CURRENT
        .with_borrow(Clone::clone)
        .expect("this thread does not belong to a test of `run` or `on_both!`")
}

/// Records a refusal by a server in another process, and fails the running test if the comment of the RPC
/// does not list the reason. Refusals by servers in the process of the test are captured automatically. Does
/// nothing outside a test.
pub fn refused(rpc: &str, domain: &str, reason: &str) {
    if let Some(logs) = CURRENT.with_borrow(Clone::clone) {
        logs.refused(Refusal {
            rpc: rpc.to_owned(),
            domain: domain.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Time limit of a test, so that a future that is never woken fails its test with any test runner.
const DEADLINE: Duration = Duration::from_mins(5);

/// Runs the body of a test on a runtime of its own with two threads. Fails if a WARN or ERROR was logged that
/// the body did not [`Logs::allow`], or after five minutes. The threads belong to the test, so that tests of
/// one process do not capture the events of each other.
pub fn run<T>(body: impl Future<Output = T>) -> T {
    run_for(DEADLINE, body)
}

/// Like [`run`], with another time limit.
pub fn run_for<T>(deadline: Duration, body: impl Future<Output = T>) -> T {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2);
    run_captured(runtime, async {
        let result = tokio::time::timeout(deadline, body).await;
        result.unwrap_or_else(|_| panic!("the test did not end within {deadline:?}"))
    })
}

/// Like [`run`], but on one thread with a paused clock: timers fire at once when all tasks are idle. Only for
/// a body without I/O, because a timeout would fire while the body waits for a response. There is no time
/// limit, because its timer would fire too.
pub fn run_paused<T>(body: impl Future<Output = T>) -> T {
    let mut runtime = Builder::new_current_thread();
    runtime.start_paused(true);
    run_captured(runtime, body)
}

fn run_captured<T>(mut runtime: Builder, body: impl Future<Output = T>) -> T {
    let logs = Logs::default();
    let dispatch = Dispatch::new(Registry::default().with(Capture(logs.clone())));
    let enter_thread = {
        let (logs, dispatch) = (logs.clone(), dispatch.clone());
        move || {
            CURRENT.set(Some(logs.clone()));
            // The thread ends with the runtime, so the previous subscriber need not be restored.
            std::mem::forget(tracing::dispatcher::set_default(&dispatch));
        }
    };
    let runtime = runtime
        .enable_all()
        .on_thread_start(enter_thread)
        .build()
        .expect("a runtime");
    CURRENT.set(Some(logs.clone()));
    let result = tracing::dispatcher::with_default(&dispatch, || {
        let result = runtime.block_on(body);
        // The remaining tasks of the body end here. Their events belong to the test too.
        drop(runtime);
        result
    });
    CURRENT.set(None);
    let unexpected: Vec<String> = logs.unexpected().iter().map(ToString::to_string).collect();
    assert!(
        unexpected.is_empty(),
        "the test logged unexpected lines:\n{}",
        unexpected.join("\n")
    );
    if let Some(failure) = logs.state(|state| refusals::failure(&state.undocumented)) {
        panic!("{failure}");
    }
    result
}

/// Runs the body of a test on an empty SQLite database, which is deleted after all tasks of the body have
/// ended. Tests call it by [`on_both!`](crate::on_both) or [`on_sqlite!`](crate::on_sqlite).
pub fn run_on_sqlite<F: Future<Output = ()>>(body: impl FnOnce(TestDatabase) -> F) {
    run_on(async { TestDatabase::sqlite() }, body);
}

/// Runs the body of a test on an empty PostgreSQL database, as [`run_on_sqlite`] does. Fails without a
/// server.
pub fn run_on_postgres<F: Future<Output = ()>>(body: impl FnOnce(TestDatabase) -> F) {
    run_on(TestDatabase::postgres(), body);
}

fn run_on<F: Future<Output = ()>>(
    database: impl Future<Output = TestDatabase>,
    body: impl FnOnce(TestDatabase) -> F,
) {
    run(async {
        let database = database.await;
        body(database.clone()).await;
        database
    });
}

struct Capture(Logs);

/// Whether an event is captured: all events at WARN or above, and the refusals by servers.
fn is_captured(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || metadata.target() == refusals::TARGET
}

impl<S: Subscriber> Layer<S> for Capture {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_captured(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_captured(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target() == refusals::TARGET {
            let mut refusal = Refusal::default();
            event.record(&mut refusal);
            self.0.refused(refusal);
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = Line {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            text: text.0,
        };
        self.0.state(|state| {
            state.lines.push(line);
            state.added.notify_waiters();
        });
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
        written.expect("writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn unexpected_warning_on_any_thread_fails_the_test() {
        let spawned = || {
            run(async {
                let task = async { tracing::warn!(lag = 3, "the disk is slow") };
                #[expect(clippy::disallowed_types, reason = "the test ends the task that it spawns")]
                tokio::task::JoinSet::from_iter([task]).join_all().await;
            });
        };
        let blocking = || {
            run(async {
                let task = tokio::task::spawn_blocking(|| tracing::error!("the disk is gone"));
                task.await.expect("the task ends");
            });
        };
        for (test, line) in [
            (
                catch_unwind(spawned),
                "WARN parta_testkit::logs::tests: the disk is slow lag=3",
            ),
            (
                catch_unwind(blocking),
                "ERROR parta_testkit::logs::tests: the disk is gone",
            ),
        ] {
            let panic = test.expect_err("the test must fail");
            let message = panic.downcast_ref::<String>().expect("a message");
            assert!(message.contains(line), "{message}");
        }
    }

    #[test]
    fn allowed_warnings_and_infos_pass() {
        run(async {
            logs().allow("the disk is slow");
            tracing::warn!("the disk is slow");
            tracing::info!("the disk is mounted");
            assert_eq!(logs().lines().len(), 1);
        });
    }

    #[test]
    fn test_without_an_end_fails() {
        let hanging = || run_for(Duration::from_millis(20), std::future::pending::<()>());
        let panic = catch_unwind(hanging).expect_err("the test must fail");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert_eq!(message, "the test did not end within 20ms");
    }

    #[test]
    fn tests_of_one_process_have_separate_logs() {
        run(async {
            let other = std::thread::spawn(|| {
                run(async {
                    logs().allow("another test");
                    tracing::warn!("another test");
                });
            });
            other.join().expect("the other test passes");
            assert!(logs().lines().is_empty());
        });
    }
}
