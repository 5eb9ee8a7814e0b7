//! A database that is away, or goes away.

use std::sync::atomic::{AtomicUsize, Ordering};

use parta_proto::parta::{membership::internal::v1::AdmitMemberResponse, status::v1::ErrorReason};
use parta_status::{Reason, Refusal};
use parta_storage::{Db, StorageError};
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::{
    support::each,
    transactions::{caller, insert, migrations, mutation, new_id, value},
};

/// A server that is away is a dependency that is unavailable, and no fault of ours.
#[tokio::test]
async fn an_absent_server_is_unavailable() {
    let mut config = parta_storage::DatabaseConfig::new("postgres://nobody@127.0.0.1:9/none");
    config.acquire_timeout_seconds = 1;
    let db = Db::connect(
        &config,
        "test",
        crate::support::secrets(),
        parta_ids::Ambient::system(),
    )
    .await
    .unwrap();
    let refused = Refusal::from(db.head().await.unwrap_err());
    assert_eq!(refused.reason(), ErrorReason::DependencyUnavailable.text());
    let refused = db
        .write(|tx| async move { insert(&tx, "a").await.map_err(Refusal::from) })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
}

/// A mutation that loses its connection half way is carried out once on another one.
#[tokio::test]
async fn a_cut_connection_heals() {
    each(migrations, |store| async move {
        if !store.db.is_postgres() {
            return;
        }
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let db = &store.db;
        // Half way through a mutation every other connection is cut, this one included.
        let cutting = &store.db.conn().begin().await.unwrap();
        let (m, runs) = (mutation(&caller("one"), new_id(), "x"), AtomicUsize::new(0));
        let counted = &runs;
        let answer = db
            .mutate(&m, |tx| async move {
                insert(&tx, "a").await?;
                if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                    cutting
                        .execute_unprepared(cut)
                        .await
                        .map_err(StorageError::from)?;
                }
                insert(&tx, "b").await?;
                Ok::<_, Refusal>(AdmitMemberResponse::default())
            })
            .await;
        answer.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(
            (value(db.conn(), "a").await, value(db.conn(), "b").await),
            (Some(0), Some(0))
        );
    })
    .await;
}
