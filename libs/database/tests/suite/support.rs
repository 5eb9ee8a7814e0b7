//! An open, migrated database with a clock that the test sets.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use parta_access::Secrets;
use parta_database::{DatabaseConfig, Db};
use parta_ids::{Env, ManualClock, SystemIds};
use parta_testkit::TestDatabase;
use sea_orm_migration::MigrationTrait;

/// The open database of a test.
pub struct Store {
    pub db: Db,
    pub clock: Arc<ManualClock>,
}

pub fn secrets() -> Secrets {
    Secrets::new([7; 32])
}

impl Store {
    pub async fn open(database: &TestDatabase, migrations: Vec<Box<dyn MigrationTrait>>) -> Self {
        let clock = Arc::new(ManualClock::new("2026-09-01T08:00:00Z".parse().unwrap()));
        let env = Env {
            clock: clock.clone(),
            ids: Arc::new(SystemIds),
        };
        let config = DatabaseConfig::new(database.url());
        let db = Db::connect(&config, "test", secrets(), env).await.unwrap();
        db.migrate(migrations).await.unwrap();
        Self { db, clock }
    }
}
