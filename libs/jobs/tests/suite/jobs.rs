//! Durable jobs, on both databases.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and spawn freely"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::Store;
use async_trait::async_trait;
use chrono::TimeDelta;
use parta_database::{Db, StorageError};
use parta_ids::{OrgId, TypedId as _};
use parta_jobs::{Job, JobError, JobHandler, JobRunner, Limits};
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::MigrationTrait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Payload, `request_id`, attempt.
pub(crate) type Run = (Vec<u8>, Uuid, i32);

pub(crate) struct Record {
    runs: mpsc::UnboundedSender<Run>,
    results: Mutex<Vec<Result<(), JobError>>>,
}

#[async_trait]
impl JobHandler for Record {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let result = self.results.lock().unwrap().pop().unwrap_or(Ok(()));
        self.runs
            .send((job.payload.clone(), job.request_id, job.attempts))
            .unwrap();
        result
    }
}

pub(crate) fn recorder(results: Vec<Result<(), JobError>>) -> (Arc<Record>, mpsc::UnboundedReceiver<Run>) {
    let (runs, seen) = mpsc::unbounded_channel();
    (
        Arc::new(Record {
            runs,
            results: Mutex::new(results),
        }),
        seen,
    )
}

pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_database::migrations();
    all.extend(parta_jobs::migrations());
    all
}

pub(crate) async fn enqueue(db: &Db, payload: u8, id: u128) {
    enqueue_for(db, "mail", None, payload, id).await;
}

async fn enqueue_for(db: &Db, kind: &str, org: Option<OrgId>, payload: u8, id: u128) {
    let result: Result<(), StorageError> = db
        .write(
            |tx| async move { parta_jobs::enqueue(&tx, kind, org, vec![payload], Uuid::from_u128(id)).await },
        )
        .await;
    result.unwrap();
}

pub(crate) async fn rows(db: &Db) -> Vec<(Option<String>, bool)> {
    let rows = db.conn().query_all_raw(Statement::from_string(
        db.backend(),
        "SELECT failure, due_millis IS NULL AS dead FROM job",
    ));
    let dead = |row: &sea_orm::QueryResult| row.try_get::<bool>("", "dead").unwrap();
    rows.await
        .unwrap()
        .iter()
        .map(|row| (row.try_get("", "failure").unwrap(), dead(row)))
        .collect()
}

// A job runs after its commit, with the `request_id` of its cause. Duplicates are ignored.
on_both!(committed_job_runs_once, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (record, mut seen) = recorder(vec![]);
    let cancel = CancellationToken::new();
    let runner = tokio::spawn(
        JobRunner::new(store.db.clone())
            .handle("mail", Limits::default(), record)
            .run(cancel.clone()),
    );
    let refused: Result<(), StorageError> = store
        .db
        .write(|tx| async move {
            parta_jobs::enqueue(&tx, "mail", None, vec![9], Uuid::from_u128(9)).await?;
            Err(StorageError::Fault("rolled back".into()))
        })
        .await;
    refused.unwrap_err();
    enqueue(&store.db, 1, 1).await;
    assert_eq!(seen.recv().await.unwrap(), (vec![1], Uuid::from_u128(1), 1));
    enqueue(&store.db, 2, 2).await;
    assert_eq!(seen.recv().await.unwrap(), (vec![2], Uuid::from_u128(2), 1));
    cancel.cancel();
    runner.await.unwrap();
    assert!(rows(&store.db).await.is_empty());
    assert!(seen.try_recv().is_err());
});

// The next runner retries a failed attempt. A permanent failure is kept for the operator.
on_both!(failed_jobs_are_retried_or_kept, |database| async move {
    parta_testkit::logs().allow("job failed permanently");
    let store = Store::open(&database, migrations()).await;
    enqueue(&store.db, 1, 1).await;
    let (record, mut seen) = recorder(vec![Err(JobError::Retry("the server is away".into()))]);
    let cancel = CancellationToken::new();
    let runner = tokio::spawn(
        JobRunner::new(store.db.clone())
            .handle("mail", Limits::default(), record)
            .run(cancel.clone()),
    );
    assert_eq!(seen.recv().await.unwrap().2, 1);
    cancel.cancel();
    runner.await.unwrap();
    assert_eq!(
        rows(&store.db).await,
        [(Some("the server is away".into()), false)]
    );

    store.clock.advance(TimeDelta::hours(1));
    let (record, mut seen) = recorder(vec![Err(JobError::Fatal("no such address".into()))]);
    let cancel = CancellationToken::new();
    let runner = tokio::spawn(
        JobRunner::new(store.db.clone())
            .handle("mail", Limits::default(), record)
            .run(cancel.clone()),
    );
    assert_eq!(seen.recv().await.unwrap(), (vec![1], Uuid::from_u128(1), 2));
    cancel.cancel();
    runner.await.unwrap();
    assert_eq!(rows(&store.db).await, [(Some("no such address".into()), true)]);
});

// Several runners share the work: each job runs on one of them.
on_both!(job_runners_share_the_work, |database| async move {
    let store = Store::open(&database, migrations()).await;
    for n in 0..50 {
        enqueue(&store.db, n, u128::from(n) + 1).await;
    }
    let (record, mut seen) = recorder(vec![]);
    let cancel = CancellationToken::new();
    let runners: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn(
                JobRunner::new(store.db.clone())
                    .handle("mail", Limits::default(), record.clone())
                    .run(cancel.clone()),
            )
        })
        .collect();
    let mut done = Vec::new();
    while done.len() < 50 {
        done.push(seen.recv().await.unwrap().0[0]);
    }
    cancel.cancel();
    for runner in runners {
        runner.await.unwrap();
    }
    done.sort_unstable();
    assert_eq!(done, (0..50).collect::<Vec<_>>());
    assert!(seen.try_recv().is_err());
});

/// Reports each start, waits for a permit, and counts the attempts that end well. Payload 0 panics.
struct Blocked {
    starts: mpsc::UnboundedSender<u8>,
    permits: Semaphore,
    ended: Semaphore,
}

#[async_trait]
impl JobHandler for Blocked {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let payload = job.payload[0];
        self.starts.send(payload).unwrap();
        assert_ne!(payload, 0, "a handler may panic");
        job.report(i64::from(payload), 100);
        self.permits.acquire().await.unwrap().forget();
        if job.is_stopping() {
            return Err(JobError::Interrupted);
        }
        self.ended.add_permits(1);
        Ok(())
    }
}

fn blocked() -> (Arc<Blocked>, mpsc::UnboundedReceiver<u8>) {
    let (starts, started) = mpsc::unbounded_channel();
    let handler = Blocked {
        starts,
        permits: Semaphore::new(0),
        ended: Semaphore::new(0),
    };
    (Arc::new(handler), started)
}

async fn count(db: &Db, condition: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM job WHERE {condition}");
    let row = db
        .conn()
        .query_one_raw(Statement::from_string(db.backend(), sql))
        .await;
    row.unwrap().unwrap().try_get("", "n").unwrap()
}

async fn change(db: &Db, sql: &str) {
    db.writer().execute_unprepared(sql).await.unwrap();
}

fn uuid_literal(db: &Db, id: Uuid) -> String {
    if db.is_postgres() {
        format!("'{id}'")
    } else {
        format!("x'{}'", id.simple())
    }
}

on_both!(
    /// A kind whose attempts are stalled delays no other kind, and its own limit holds.
    stalled_kind_delays_no_other_kind,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (stalled, mut stalled_starts) = blocked();
        let (record, mut seen) = recorder(vec![]);
        for id in 1..=5 {
            enqueue_for(&store.db, "import", None, 1, id).await;
        }
        let limits = Limits {
            concurrent: 3,
            ..Limits::default()
        };
        let cancel = CancellationToken::new();
        let runner = JobRunner::new(store.db.clone())
            .handle("import", limits, stalled.clone())
            .handle("mail", Limits::default(), record);
        let runner = tokio::spawn(runner.run(cancel.clone()));
        for _ in 0..3 {
            stalled_starts.recv().await.unwrap();
        }
        for n in 1..=20 {
            enqueue(&store.db, n, u128::from(n) + 100).await;
            assert_eq!(seen.recv().await.unwrap().0, [n]);
        }
        assert!(stalled_starts.try_recv().is_err(), "a fourth import was started");
        stalled.permits.add_permits(5);
        for _ in 0..2 {
            stalled_starts.recv().await.unwrap();
        }
        cancel.cancel();
        runner.await.unwrap();
    }
);

on_both!(
    /// The jobs of one organization leave capacity for others.
    jobs_of_an_organization_are_limited,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (handler, mut starts) = blocked();
        let (busy, other) = (OrgId::from_uuid(Uuid::from_u128(1)), OrgId::from_uuid(Uuid::from_u128(2)));
        for id in 1..=10 {
            enqueue_for(&store.db, "mail", Some(busy), 1, id).await;
        }
        let limits = Limits {
            concurrent: 4,
            per_organization: 2,
            attempt_timeout: None,
            max_retry_delay: Limits::RETRY_DELAY,
        };
        let cancel = CancellationToken::new();
        let runner = JobRunner::new(store.db.clone()).handle("mail", limits, handler.clone());
        let runner = tokio::spawn(runner.run(cancel.clone()));
        for _ in 0..2 {
            assert_eq!(starts.recv().await.unwrap(), 1);
        }
        enqueue_for(&store.db, "mail", Some(other), 2, 11).await;
        assert_eq!(starts.recv().await.unwrap(), 2, "the other organization waits");
        assert!(starts.try_recv().is_err(), "a third job of the organization was started");
        handler.permits.add_permits(11);
        for _ in 0..8 {
            assert_eq!(starts.recv().await.unwrap(), 1);
        }
        // An attempt that has a permit may see the stop before it ends, so the stop follows the last end.
        handler.ended.acquire_many(11).await.unwrap().forget();
        cancel.cancel();
        runner.await.unwrap();
        assert_eq!(count(&store.db, "job_id IS NOT NULL").await, 0);
    }
);

on_both!(
    /// A panic is a failed attempt of its job, and no fault of the runner.
    panic_of_a_handler_is_a_failed_attempt,
    |database| async move {
        parta_testkit::logs().allow("a handler may panic");
        parta_testkit::logs().allow("job failed permanently");
        let store = Store::open(&database, migrations()).await;
        let (handler, _starts) = blocked();
        handler.permits.add_permits(1);
        enqueue(&store.db, 0, 1).await;
        enqueue(&store.db, 5, 2).await;
        let runner = JobRunner::new(store.db.clone())
            .handle("mail", Limits::default(), handler)
            .attempts(2);
        let cancel = CancellationToken::new();
        runner.run_due(&cancel).await.unwrap();
        let panicked = Some("the handler panicked".to_owned());
        assert_eq!(rows(&store.db).await, [(panicked.clone(), false)]);
        store.clock.advance(TimeDelta::hours(1));
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(rows(&store.db).await, [(panicked, true)]);
    }
);

on_both!(
    /// A job that ends its process each time fails after the last attempt.
    job_without_a_completed_attempt_fails,
    |database| async move {
        parta_testkit::logs().allow("job failed permanently");
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 1, 1).await;
        change(&store.db, "UPDATE job SET attempts = 50").await;
        let (record, mut seen) = recorder(vec![]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        runner.run_due(&CancellationToken::new()).await.unwrap();
        assert!(seen.try_recv().is_err());
        assert_eq!(
            rows(&store.db).await,
            [(Some("no attempt was completed".to_owned()), true)]
        );
    }
);

on_both!(
    /// A job whose kind has no handler here waits for a binary that has one.
    job_of_an_unknown_kind_waits_for_a_handler,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        enqueue_for(&store.db, "of another version", None, 1, 1).await;
        let (record, mut seen) = recorder(vec![]);
        let cancel = CancellationToken::new();
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record.clone());
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(count(&store.db, "attempts = 0").await, 1);
        runner
            .handle("of another version", Limits::default(), record)
            .run_due(&cancel)
            .await
            .unwrap();
        assert_eq!(seen.try_recv().unwrap().0, [1]);
    }
);

on_both!(
    /// The clock of the database ends a lease, not that of a replica.
    lease_of_a_vanished_process_ends_by_database_clock,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 7, 1).await;
        let (handler, mut starts) = blocked();
        let cancel = CancellationToken::new();
        let vanishing = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), handler);
        let vanishing = tokio::spawn(vanishing.run(cancel.clone()));
        starts.recv().await.unwrap();
        vanishing.abort();
        vanishing.await.unwrap_err();
        store.clock.set_ahead(TimeDelta::days(1));
        let (record, mut seen) = recorder(vec![]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        runner.run_due(&cancel).await.unwrap();
        assert!(seen.try_recv().is_err(), "the job was taken within its lease");
        store.clock.advance(TimeDelta::seconds(60));
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.try_recv().unwrap().2, 2);
    }
);

on_both!(
    /// A running attempt renews its lease and stores its progress. An attempt whose job was taken is dropped.
    lease_is_renewed_until_it_is_lost,
    |database| async move {
        parta_testkit::logs().allow("lease of a job lost");
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 7, 1).await;
        let (handler, mut starts) = blocked();
        let cancel = CancellationToken::new();
        let runner = JobRunner::new(store.db.clone())
            .handle("mail", Limits::default(), handler.clone())
            .lease(Duration::from_millis(600));
        let runner = tokio::spawn(async move { runner.run_due(&cancel).await });
        starts.recv().await.unwrap();
        let renewed = "progress_done = 7 AND progress_total = 100 AND lease_end_millis > 0";
        let is_renewed = async || (count(&store.db, renewed).await > 0).then_some(());
        parta_testkit::eventually("the lease is renewed", is_renewed).await;
        let other = Uuid::from_u128(99);
        change(&store.db, &format!("UPDATE job SET lease = {}", uuid_literal(&store.db, other))).await;
        runner.await.unwrap().unwrap();
        assert_eq!(count(&store.db, "attempts = 1").await, 1, "the job of another attempt was changed");
        assert_eq!(handler.permits.available_permits(), 0);
    }
);

on_both!(
    /// An attempt that the stop of the process interrupts does not count, and the job is due at once.
    interrupted_attempt_does_not_count,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 7, 1).await;
        let (handler, mut starts) = blocked();
        let cancel = CancellationToken::new();
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), handler.clone());
        let runner = tokio::spawn(runner.run(cancel.clone()));
        starts.recv().await.unwrap();
        cancel.cancel();
        // A claim that has begun already may start another attempt, which is interrupted as well.
        handler.permits.add_permits(2);
        runner.await.unwrap();
        assert_eq!(rows(&store.db).await, [(None, false)]);
        let (record, mut seen) = recorder(vec![]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        runner.run_due(&CancellationToken::new()).await.unwrap();
        assert_eq!(seen.try_recv().unwrap().2, 1);
    }
);

on_both!(
    /// An attempt that takes longer than its kind allows has failed.
    attempt_without_an_end_fails,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 7, 1).await;
        let (handler, _starts) = blocked();
        let limits = Limits {
            attempt_timeout: Some(Duration::from_millis(20)),
            ..Limits::default()
        };
        let runner = JobRunner::new(store.db.clone()).handle("mail", limits, handler);
        runner.run_due(&CancellationToken::new()).await.unwrap();
        assert_eq!(
            rows(&store.db).await,
            [(Some("took longer than 0.02 s".to_owned()), false)]
        );
    }
);
