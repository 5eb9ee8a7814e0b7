//! A connection that is cut in the middle of a commit, so that its outcome is unknown.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use parta_database::{CommitStep, DatabaseConfig, Db, StorageError, Tx};
use parta_testkit::{CommitCut, CutAt, TestDatabase, on_postgres};

use crate::{
    counter::{insert, migrations, value},
    support::{Store, secrets},
};

/// Counts how often its transaction was committed, and how often that is unknown.
#[derive(Default)]
struct CountOutcomes(Mutex<Option<Arc<Counts>>>);

#[derive(Default)]
struct Counts {
    committed: AtomicUsize,
    unknown: AtomicUsize,
}

impl CountOutcomes {
    fn add_to(&self, count: impl Fn(&Counts) -> &AtomicUsize) {
        if let Some(counts) = &*self.0.lock().unwrap() {
            count(counts).fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl CommitStep for CountOutcomes {
    async fn before_commit(&self, _: &Tx) -> Result<(), StorageError> {
        Ok(())
    }

    fn after_commit(&self, _: &Db) {
        self.add_to(|counts| &counts.committed);
    }

    fn after_unknown_commit(&self, _: &Db) {
        self.add_to(|counts| &counts.unknown);
    }
}

struct Cut {
    cut: CommitCut,
    db: Db,
    store: Store,
}

impl Cut {
    async fn open(database: &TestDatabase) -> Self {
        let store = Store::open(database, migrations()).await;
        let cut = CommitCut::to(database.url()).await;
        let config = DatabaseConfig::new(cut.url());
        let db = Db::connect(&config, "test", secrets(), store.db.env().clone())
            .await
            .unwrap();
        Self { cut, db, store }
    }

    async fn has(&self, name: &str) -> bool {
        value(self.store.db.conn(), name).await.is_some()
    }
}

/// Inserts a row, with a hook, unless it exists.
async fn ensure(tx: Tx, name: &str, counts: Arc<Counts>) -> Result<(), StorageError> {
    if value(&tx, name).await.is_none() {
        *tx.step::<CountOutcomes>().0.lock().unwrap() = Some(counts);
        insert(&tx, name).await?;
    }
    Ok(())
}

// A hook learns at once that the outcome is unknown, and again after the repetition, which does the work only
// if the server has not committed it.
on_postgres!(
    hooks_learn_of_a_commit_of_unknown_outcome,
    "SQLite commits in the process",
    |database| async move {
        let fixture = Cut::open(&database).await;
        for (name, at, committed) in [("request", CutAt::Request, 1), ("reply", CutAt::Reply, 0)] {
            let counts = Arc::<Counts>::default();
            fixture.cut.plan(name, at, false);
            let written = fixture.db.write_idempotent(|tx| ensure(tx, name, counts.clone()));
            written.await.unwrap();
            assert!(fixture.has(name).await);
            assert_eq!(counts.unknown.load(Ordering::SeqCst), 2, "{name}");
            assert_eq!(counts.committed.load(Ordering::SeqCst), committed, "{name}");

            // Work that does not recognize its earlier run is not repeated.
            let (once, counts) = (format!("{name} once"), Arc::<Counts>::default());
            fixture.cut.plan(&once, at, false);
            let written = fixture.db.write(|tx| ensure(tx, &once, counts.clone())).await;
            let refused = written.unwrap_err();
            assert!(matches!(refused, StorageError::Unavailable(_)), "{refused}");
            assert_eq!(fixture.has(&once).await, at == CutAt::Reply);
            assert_eq!(counts.unknown.load(Ordering::SeqCst), 1, "{name}");
            assert_eq!(counts.committed.load(Ordering::SeqCst), 0, "{name}");
        }
        fixture.db.close().await;
    }
);
