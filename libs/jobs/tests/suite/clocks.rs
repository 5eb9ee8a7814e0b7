//! Jobs and clocks that are wrong, on both databases.

use chrono::TimeDelta;
use parta_database::StorageError;
use parta_jobs::{JobError, JobRunner, Limits};
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    jobs::{enqueue, migrations, recorder, rows},
    support::Store,
};

on_both!(
    /// Neither a job nor a retry waits for the time of a clock that was fast and is set right.
    job_of_a_fast_clock_does_not_wait,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let right = store.db.env().now();
        let away = Err(JobError::Retry("the server is away".to_owned()));
        let (record, mut seen) = recorder(vec![away]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        let cancel = CancellationToken::new();
        store.clock.advance(TimeDelta::hours(1));
        enqueue(&store.db, 1, 1).await;
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.try_recv().unwrap(), (vec![1], Uuid::from_u128(1), 1));
        enqueue(&store.db, 2, 2).await;
        store.clock.set(right);
        runner.run_due(&cancel).await.unwrap();
        let mut payloads = [seen.try_recv().unwrap().0, seen.try_recv().unwrap().0];
        payloads.sort();
        assert_eq!(payloads, [[1], [2]]);
        assert!(rows(&store.db).await.is_empty());
    }
);

on_both!(
    /// A replica whose clock is fast delays no job that others run, and the retries of those neither.
    fast_replica_delays_no_job,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let away = Err(JobError::Retry("the server is away".to_owned()));
        let (record, mut seen) = recorder(vec![away]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        let cancel = CancellationToken::new();
        store.clock.set_ahead(TimeDelta::hours(1));
        enqueue(&store.db, 1, 1).await;
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.try_recv().unwrap().2, 1);
        enqueue(&store.db, 2, 2).await;
        store.clock.set_ahead(TimeDelta::zero());
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.try_recv().unwrap().0, [2]);
        runner.run_due(&cancel).await.unwrap();
        assert!(seen.try_recv().is_err(), "the retry followed at once");
        store.clock.advance(TimeDelta::seconds(2));
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.try_recv().unwrap().0, [1]);
    }
);

on_both!(
    /// A job that is enqueued for a time runs at that time of the application, and not before.
    scheduled_job_runs_at_its_time,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let half = TimeDelta::microseconds(500);
        let due = store.db.env().now() + TimeDelta::seconds(5) + half;
        let enqueued: Result<(), StorageError> = store
            .db
            .write(|tx| async move {
                parta_jobs::enqueue_at(&tx, "mail", None, vec![1], Uuid::from_u128(1), due).await
            })
            .await;
        enqueued.unwrap();
        let (record, mut seen) = recorder(vec![]);
        let runner = JobRunner::new(store.db.clone()).handle("mail", Limits::default(), record);
        let cancel = CancellationToken::new();
        store.clock.advance(TimeDelta::seconds(5));
        runner.run_due(&cancel).await.unwrap();
        assert!(seen.try_recv().is_err(), "the job ran before its time");
        store.clock.advance(TimeDelta::milliseconds(1));
        runner.run_due(&cancel).await.unwrap();
        assert_eq!(seen.try_recv().unwrap().0, [1]);
    }
);
