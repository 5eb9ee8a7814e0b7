//! Durable jobs, on both databases.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and spawn freely"
)]

use std::sync::{Arc, Mutex};

use crate::support::Store;
use async_trait::async_trait;
use chrono::TimeDelta;
use parta_database::{Db, StorageError};
use parta_jobs::{Job, JobError, JobHandler, JobRunner};
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::MigrationTrait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Payload, `request_id`, attempt.
type Run = (Vec<u8>, Uuid, i32);

struct Record {
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

fn recorder(results: Vec<Result<(), JobError>>) -> (Arc<Record>, mpsc::UnboundedReceiver<Run>) {
    let (runs, seen) = mpsc::unbounded_channel();
    (
        Arc::new(Record {
            runs,
            results: Mutex::new(results),
        }),
        seen,
    )
}

fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_database::migrations();
    all.extend(parta_jobs::migrations());
    all
}

async fn enqueue(db: &Db, payload: u8, id: u128) {
    let result: Result<(), StorageError> = db
        .write(|tx| async move {
            parta_jobs::enqueue(&tx, "mail", None, vec![payload], Uuid::from_u128(id)).await
        })
        .await;
    result.unwrap();
}

async fn rows(db: &Db) -> Vec<(Option<String>, bool)> {
    let rows = db.conn().query_all_raw(Statement::from_string(
        db.backend(),
        "SELECT failure, due_time IS NULL AS dead FROM job",
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
            .handle("mail", record)
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
            .handle("mail", record)
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
            .handle("mail", record)
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
                    .handle("mail", record.clone())
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
