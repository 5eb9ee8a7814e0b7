//! The metric of durable jobs.
use std::sync::Arc;

use parta_access::Secrets;
use parta_database::{DatabaseConfig, Db, StorageError};
use parta_feed::{Bus, LocalBus};
use parta_ids::Env;
use parta_testkit::{Metrics, on_both};
use tokio_util::sync::CancellationToken;

// Jobs that nothing but the operator repeats are counted; waiting ones are not.
on_both!(failed_jobs_are_counted, |database| async move {
    let metrics = Metrics::record();
    let config = DatabaseConfig::new(database.url());
    let db = Db::connect(&config, "test", Secrets::new([7; 32]), Env::system())
        .await
        .unwrap();
    db.migrate(crate::migrations(Vec::new())).await.unwrap();
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::single_replica());
    let tasks = crate::maintenance("test", &db, &bus);
    let task = tasks
        .iter()
        .find(|task| task.name == "test.count_failed_jobs")
        .unwrap();
    // A canceled task runs once.
    let canceled = CancellationToken::new();
    canceled.cancel();
    let count = async || {
        task.run(canceled.clone()).await.unwrap();
        metrics.lines("parta.jobs.failed")
    };
    assert_eq!(count().await, ["parta.jobs.failed service=test 0"]);
    let enqueued: Result<(), StorageError> = db
        .write(|tx| async move {
            for _ in 0..3 {
                parta_jobs::enqueue(&tx, "test.job", None, Vec::new(), tx.env().ids.uuid()).await?;
            }
            let sql = "UPDATE job SET due_millis = NULL WHERE job_id IN (SELECT job_id FROM job LIMIT 2)";
            tx.execute_sql(sql, []).await?;
            Ok(())
        })
        .await;
    enqueued.unwrap();
    assert_eq!(count().await, ["parta.jobs.failed service=test 2"]);
    db.close().await;
});
