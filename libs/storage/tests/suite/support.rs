//! A database per test: always SQLite, and PostgreSQL where `PARTA_TEST_POSTGRES_URL` names a server.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail loudly")]

use std::{future::Future, sync::Arc};

use parta_access::Secrets;
use parta_ids::{Env, ManualClock, SystemIds};
use parta_storage::{DatabaseConfig, Db};
use sea_orm::ConnectionTrait;
use sea_orm_migration::MigrationTrait;

/// A migrated database of its own.
pub struct Store {
    pub db: Db,
    pub clock: Arc<ManualClock>,
    pub config: DatabaseConfig,
    pub env: Env,
}

pub fn secrets() -> Secrets {
    Secrets::new([7; 32])
}

impl Store {
    async fn open(url: String, migrations: Vec<Box<dyn MigrationTrait>>) -> Self {
        let clock = Arc::new(ManualClock::new("2026-09-01T08:00:00Z".parse().unwrap()));
        let env = Env {
            clock: clock.clone(),
            ids: Arc::new(SystemIds),
        };
        let config = DatabaseConfig::new(url);
        let db = Db::connect(&config, "test", secrets(), env.clone())
            .await
            .unwrap();
        db.migrate(migrations).await.unwrap();
        Self {
            db,
            clock,
            config,
            env,
        }
    }
}

/// Runs the test on each database in turn.
pub async fn each<F, Fut>(migrations: fn() -> Vec<Box<dyn MigrationTrait>>, test: F)
where
    F: Fn(Arc<Store>) -> Fut,
    Fut: Future<Output = ()>,
{
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(
        format!("sqlite://{}/test.db", folder.path().display()),
        migrations(),
    )
    .await;
    let store = Arc::new(store);
    test(store.clone()).await;
    store.db.close().await;

    let Ok(server) = std::env::var("PARTA_TEST_POSTGRES_URL") else {
        eprintln!("PARTA_TEST_POSTGRES_URL is not set: only the SQLite part ran");
        return;
    };
    let admin = sea_orm::Database::connect(&server).await.unwrap();
    let mut chance = [0; 8];
    Env::system().ids.fill(&mut chance);
    let name = format!("parta_test_{:016x}", u64::from_be_bytes(chance));
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let store = Arc::new(Store::open(url, migrations()).await);
    test(store.clone()).await;
    store.db.close().await;
    admin
        .execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await
        .unwrap();
}
