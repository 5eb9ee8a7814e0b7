//! The time of the next attempt, and which attempts count.

use std::time::Duration;

use chrono::TimeDelta;
use parta_database::StorageError;
use parta_jobs::{JobError, JobRunner, Limits};
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;

use crate::{
    jobs::{enqueue, migrations, recorder, rows},
    support::Store,
};

on_both!(
    /// An attempt that the database stopped does not count, however often it happens, and the next one
    /// follows soon after.
    attempt_without_a_database_does_not_count,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 7, 1).await;
        let full = || Err(StorageError::Exhausted("the disk is full".to_owned()).into());
        let (record, mut seen) = recorder(vec![full(), full(), full()]);
        let runner = JobRunner::new(store.db.clone())
            .handle("mail", Limits::default(), record)
            .attempts(2);
        let cancel = CancellationToken::new();
        for _ in 0..4 {
            runner.run_due(&cancel).await.unwrap();
            assert_eq!(seen.try_recv().unwrap().2, 1);
            runner.run_due(&cancel).await.unwrap();
            assert!(seen.try_recv().is_err(), "the next attempt followed at once");
            store.clock.advance(TimeDelta::seconds(10));
        }
        assert!(rows(&store.db).await.is_empty());
    }
);

on_both!(
    /// The wait for the next attempt doubles, at most up to that of the kind.
    wait_between_attempts_has_a_limit,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        enqueue(&store.db, 7, 1).await;
        let away = || Err(JobError::Retry("the server is away".to_owned()));
        let (record, mut seen) = recorder((0..20).map(|_| away()).collect());
        let limits = Limits { max_retry_delay: Duration::from_secs(10), ..Limits::default() };
        let runner = JobRunner::new(store.db.clone()).handle("mail", limits, record);
        for wait in [2, 4, 8, 10, 10, 10] {
            runner.run_due(&CancellationToken::new()).await.unwrap();
            seen.try_recv().unwrap();
            store.clock.advance(TimeDelta::seconds(wait - 1));
            runner.run_due(&CancellationToken::new()).await.unwrap();
            assert!(seen.try_recv().is_err(), "the next attempt followed within {wait} s");
            store.clock.advance(TimeDelta::seconds(1));
        }
    }
);
