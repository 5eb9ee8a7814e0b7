//! The clock of the database server.

use chrono::TimeDelta;
use parta_database::{DatabaseConfig, Db, StorageError};
use parta_ids::Env;
use parta_testkit::on_both;

use crate::support::{Store, secrets};

on_both!(
    /// The server runs on this machine, so that both clocks show the same time.
    database_clock_is_that_of_the_server,
    |database| async move {
        let env = Env::system();
        let config = DatabaseConfig::new(database.url());
        let db = Db::connect(&config, "test", secrets(), env.clone()).await.unwrap();
        let before = env.now() - TimeDelta::milliseconds(1);
        let read: Result<_, StorageError> = db.write(|tx| async move { tx.database_now().await }).await;
        let after = env.now() + TimeDelta::milliseconds(1);
        let time = read.unwrap();
        assert!((before..=after).contains(&time), "{before} {time} {after}");
        db.close().await;
    }
);

on_both!(
    /// A test sets by how much a process is ahead.
    manual_clock_can_be_ahead_of_the_database,
    |database| async move {
        let store = Store::open(&database, parta_database::migrations()).await;
        let hour = TimeDelta::hours(1);
        store.clock.set_ahead(hour);
        let read: Result<_, StorageError> = store
            .db
            .write(|tx| async move { Ok((tx.now(), tx.database_now().await?)) })
            .await;
        let (now, time) = read.unwrap();
        assert_eq!(now - time, hour);
    }
);
