//! Failed jobs and the operator, on both databases.
#![expect(clippy::disallowed_methods, reason = "a test may spawn freely")]

use chrono::TimeDelta;
use parta_database::StorageError;
use parta_jobs::{JobError, JobFilter, JobRunner, JobState, Limits};
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    jobs::{enqueue, migrations, recorder, rows},
    support::Store,
};

on_both!(
    /// A job that the operator retries has as many attempts as a new one.
    retried_job_runs_with_new_attempts,
    |database| async move {
        parta_testkit::logs().allow("job failed permanently");
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 1, 1).await;
        let (record, mut seen) = recorder(vec![Err(JobError::Fatal("no such address".into()))]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        let cancel = CancellationToken::new();
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.recv().await.unwrap().2, 1);
        let failed = JobFilter { state: Some(JobState::Failed), ..JobFilter::default() };
        let jobs = parta_jobs::list(store.db.conn(), &failed, None, 9).await.unwrap();
        assert_eq!((jobs.len(), jobs[0].attempts, jobs[0].failure.as_deref()), (1, 1, Some("no such address")));
        assert_eq!(jobs[0].fail_time, Some(store.db.env().now()));

        let runner = tokio::spawn(runner.run(cancel.clone()));
        let id = jobs[0].job_id;
        let retried: Result<(), StorageError> =
            store.db.write(|tx| async move { parta_jobs::retry(&tx, id).await }).await;
        retried.unwrap();
        assert_eq!(seen.recv().await.unwrap(), (vec![1], Uuid::from_u128(1), 1));
        cancel.cancel();
        runner.await.unwrap();
        assert!(rows(&store.db).await.is_empty());
    }
);

on_both!(
    /// A failed job is kept for the operator for 90 days. Others are never purged.
    failed_jobs_are_purged_after_their_retention,
    |database| async move {
        parta_testkit::logs().allow("job failed permanently");
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 1, 1).await;
        let (record, _seen) = recorder(vec![Err(JobError::Fatal("no such address".into()))]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        runner.run_due(&CancellationToken::new()).await.unwrap();
        enqueue(&store.db, 2, 2).await;
        let retention = TimeDelta::from_std(parta_jobs::FAILED_RETENTION).unwrap();
        store.clock.advance(retention);
        parta_jobs::purge(&store.db).await.unwrap();
        assert_eq!(rows(&store.db).await.len(), 2);
        store.clock.advance(TimeDelta::seconds(1));
        parta_jobs::purge(&store.db).await.unwrap();
        assert_eq!(rows(&store.db).await, [(None, false)]);
    }
);
