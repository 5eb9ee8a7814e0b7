//! Jobs of a transaction whose commit was cut.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and spawn freely"
)]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parta_database::{DatabaseConfig, Db, StorageError};
use parta_jobs::{JobRunner, Limits};
use parta_testkit::{CommitCut, CutAt, TestDatabase, on_postgres};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    jobs::{enqueue, migrations, recorder, rows},
    support::{Store, secrets},
};

/// Less than the interval in which a runner looks for the jobs of other replicas.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn connect(database: &TestDatabase) -> (CommitCut, Db, Store) {
    let store = Store::open(database, migrations()).await;
    let cut = CommitCut::to(database.url()).await;
    let config = DatabaseConfig::new(cut.url());
    let db = Db::connect(&config, "test", secrets(), store.db.env().clone());
    (cut, db.await.unwrap(), store)
}

// The repetition finds that the job is enqueued, and so enqueues nothing.
on_postgres!(
    job_of_a_commit_without_a_reply_runs_at_once,
    "SQLite commits in the process",
    |database| async move {
        let (cut, db, _store) = connect(&database).await;
        let (record, mut seen) = recorder(vec![]);
        let cancel = CancellationToken::new();
        let runner = JobRunner::new(db.clone()).handle("mail", Limits::default(), record);
        let runner = tokio::spawn(runner.run(cancel.clone()));
        // After this job the runner waits for the whole interval.
        enqueue(&db, 1, 1).await;
        assert_eq!(seen.recv().await.unwrap().0, [1]);

        let payload = b"the payload of the cut commit";
        cut.plan(payload, CutAt::Reply, false);
        let is_enqueued = AtomicBool::new(false);
        let written: Result<(), StorageError> = db
            .write_idempotent(|tx| {
                let is_first = !is_enqueued.swap(true, Ordering::SeqCst);
                async move {
                    if is_first {
                        let id = Uuid::from_u128(2);
                        parta_jobs::enqueue(&tx, "mail", None, payload.to_vec(), id).await?;
                    }
                    Ok(())
                }
            })
            .await;
        written.unwrap();
        let run = tokio::time::timeout(AT_ONCE, seen.recv()).await;
        assert_eq!(run.expect("a run at once").unwrap().0, payload);
        cancel.cancel();
        runner.await.unwrap();
        db.close().await;
    }
);

// Otherwise nobody would run the job until the lease of the lost claim ends.
on_postgres!(
    job_is_run_by_a_claim_whose_commit_was_cut,
    "SQLite commits in the process",
    |database| async move {
        let (cut, db, _store) = connect(&database).await;
        for (at, id) in [(CutAt::Request, 1), (CutAt::Reply, 2)] {
            enqueue(&db, id, id.into()).await;
            let (record, mut seen) = recorder(vec![]);
            cut.plan("mail", at, false);
            let runner = JobRunner::new(db.clone()).handle("mail", Limits::default(), record);
            runner.run_due(&CancellationToken::new()).await.unwrap();
            cut.cuts(usize::from(id)).await;
            let (payload, _, attempt) = seen.recv().await.unwrap();
            assert_eq!((payload, attempt), (vec![id], 1), "{at:?}");
        }
        assert!(rows(&db).await.is_empty());
        db.close().await;
    }
);
