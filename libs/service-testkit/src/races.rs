//! Pairs of mutations that touch the same rows, at the same time.
//!
//! A transaction of the test locks the rows. Both mutations run until each waits for a lock, which is the
//! first one that it takes. Then the test unlocks the rows, and both continue. A mutation that decides before
//! it locks has decided by the rows of before, so that a missing lock shows in every run.
use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::BoxFuture;
use parta_testkit::eventually;
use sea_orm::{
    ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait as _,
};
use tokio::sync::oneshot;
use tonic::Status;

use crate::reason;

/// A mutation of a subject.
pub type RacingAct<E, S> = for<'a> fn(&'a E, &'a S) -> BoxFuture<'a, Result<(), Status>>;

/// The mutations that touch one kind of subject. Each pair must end as one of its two serial orders does:
/// with the same reasons and the same state.
pub struct Races<E: 'static, S: 'static> {
    /// The mutations and their names. Each is possible for a new subject.
    pub acts: Vec<(&'static str, RacingAct<E, S>)>,
    /// Creates a subject with rows of its own.
    pub subject: for<'a> fn(&'a E) -> BoxFuture<'a, S>,
    /// Statements that lock what the mutations lock or write first.
    pub barrier: fn(&S) -> Vec<String>,
    /// Whether refusals with different reasons are different endings. An act that was authorized before the
    /// other one took the right away may be refused for another reason than afterwards.
    pub compares_reasons: bool,
    /// Queries of one text each that describe the subject without ids and times.
    pub state: fn(&S) -> Vec<String>,
}

/// The end of a pair: the reasons in the order of the acts, and the state.
type Ending = (String, String);

/// A connection that sees which transactions wait, and one that makes them wait.
struct Barrier {
    looking: DatabaseConnection,
    holding: DatabaseConnection,
}

impl Barrier {
    async fn open(url: &str) -> Self {
        let connect = async || Database::connect(url).await.expect("a connection");
        Self {
            looking: connect().await,
            holding: connect().await,
        }
    }

    async fn text(&self, sql: &str) -> String {
        let row = self
            .looking
            .query_one_raw(Statement::from_string(DbBackend::Postgres, sql));
        let row = row.await.expect("a query").expect("a row");
        row.try_get_by_index::<Option<String>>(0)
            .expect("a text")
            .unwrap_or_default()
    }

    /// Waits until as many acts wait for a lock or have ended.
    async fn reached(&self, acts: usize, ended: &AtomicUsize) {
        eventually("the acts wait for a lock", async || {
            let sql = "SELECT COUNT(*)::TEXT FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: usize = self.text(sql).await.parse().expect("a number");
            (waiting + ended.load(Ordering::SeqCst) >= acts).then_some(())
        })
        .await;
    }
}

/// Runs `act` until it waits for a lock that the statements hold, then `meanwhile` to its end, and then
/// releases the locks. Returns both results. Shows whether an act still has its right when it gets the lock.
///
/// # Panics
///
/// Panics if the act does not wait.
pub async fn while_waiting<A, B>(
    url: &str,
    locks: &[String],
    act: impl Future<Output = A>,
    meanwhile: impl Future<Output = B>,
) -> (A, B) {
    let barrier = Barrier::open(url).await;
    let held = barrier.holding.begin().await.expect("a transaction");
    for sql in locks {
        held.execute_unprepared(sql).await.expect("a lock");
    }
    let ended = AtomicUsize::new(0);
    let act = async {
        let result = act.await;
        ended.fetch_add(1, Ordering::SeqCst);
        result
    };
    let meanwhile = async {
        barrier.reached(1, &ended).await;
        assert_eq!(ended.load(Ordering::SeqCst), 0, "the act did not wait");
        let result = meanwhile.await;
        held.rollback().await.expect("the locks are released");
        result
    };
    tokio::join!(act, meanwhile)
}

impl<E: Sync, S: Send + Sync> Races<E, S> {
    async fn state_of(&self, barrier: &Barrier, subject: &S) -> String {
        let mut state = String::new();
        for sql in (self.state)(subject) {
            let _ = write!(state, "{} ", barrier.text(&sql).await);
        }
        state
    }

    async fn outcome(&self, env: &E, subject: &S, act: usize) -> String {
        match reason(&self.acts[act].1(env, subject).await) {
            reason if self.compares_reasons || reason == "OK" => reason,
            _ => "refused".to_owned(),
        }
    }

    /// Runs two acts one after the other. The result names the reason of act `i` first.
    async fn serial(
        &self,
        env: &E,
        barrier: &Barrier,
        [first, second]: [usize; 2],
    ) -> (String, String, String) {
        let subject = (self.subject)(env).await;
        let one = self.outcome(env, &subject, first).await;
        let two = self.outcome(env, &subject, second).await;
        (one, two, self.state_of(barrier, &subject).await)
    }

    /// Runs two acts that meet. Returns also whether both waited.
    async fn meet(
        &self,
        env: &E,
        barrier: &Barrier,
        [first, second]: [usize; 2],
    ) -> ((String, String, String), bool) {
        let subject = (self.subject)(env).await;
        let held = barrier.holding.begin().await.expect("a transaction");
        for sql in (self.barrier)(&subject) {
            held.execute_unprepared(&sql).await.expect("a lock");
        }
        let ended = AtomicUsize::new(0);
        let (start, started) = oneshot::channel();
        let act = async |index: usize| {
            let outcome = self.outcome(env, &subject, index).await;
            ended.fetch_add(1, Ordering::SeqCst);
            outcome
        };
        let (one, two, waited) = tokio::join!(
            act(first),
            async {
                started.await.expect("a start");
                act(second).await
            },
            async {
                barrier.reached(1, &ended).await;
                start.send(()).expect("a second act");
                barrier.reached(2, &ended).await;
                let waited = ended.load(Ordering::SeqCst) == 0;
                held.rollback().await.expect("the locks are released");
                waited
            }
        );
        ((one, two, self.state_of(barrier, &subject).await), waited)
    }

    /// Runs every pair, also of an act with itself, in both orders of their arrival.
    ///
    /// # Panics
    ///
    /// Panics if a pair ends as neither serial order does, or if an act never waits: then it proves nothing.
    pub async fn run(&self, env: &E, url: &str) {
        let barrier = Barrier::open(url).await;
        let mut wrong = Vec::new();
        let mut met = vec![0_usize; self.acts.len()];
        for i in 0..self.acts.len() {
            for j in i..self.acts.len() {
                let names = [self.acts[i].0, self.acts[j].0].join(" x ");
                let (one, two, state) = self.serial(env, &barrier, [i, j]).await;
                let mut serial = vec![in_order(i == j, one, two, state)];
                if i != j {
                    let (two, one, state) = self.serial(env, &barrier, [j, i]).await;
                    serial.push(in_order(false, one, two, state));
                }
                for arrival in [[i, j], [j, i]] {
                    let ((one, two, state), waited) = self.meet(env, &barrier, arrival).await;
                    let ending = if arrival == [i, j] {
                        in_order(i == j, one, two, state)
                    } else {
                        in_order(i == j, two, one, state)
                    };
                    met[i] += usize::from(waited);
                    met[j] += usize::from(waited);
                    if !serial.contains(&ending) {
                        wrong.push(format!("{names}: {ending:?} is none of {serial:?}"));
                    }
                }
            }
        }
        for (act, met) in self.acts.iter().zip(met) {
            if met == 0 {
                wrong.push(format!("{} never waited beside another act", act.0));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} pairs went wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

/// The ending of a pair. Two runs of one act are not distinguished.
fn in_order(same: bool, one: String, two: String, state: String) -> Ending {
    let mut reasons = [one, two];
    if same {
        reasons.sort();
    }
    (reasons.join(" "), state)
}
