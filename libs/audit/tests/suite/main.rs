//! R60: every act is recorded in its transaction, and the log reveals changes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "../../../database/tests/suite/support.rs"]
mod support;

use futures::future::join_all;
use parta_access::{Caller, Principal};
use parta_audit::{AuditError, record, seal, verify};
use parta_database::{DatabaseConfig, Db, StorageError};
use parta_ids::{Env, MemberId, OrgId, SessionId, TypedId};
use parta_mutations::{Claim, Mutation};
use parta_status::RpcError;
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::MigrationTrait;
use support::Store;
use uuid::Uuid;

fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_database::migrations();
    all.extend(parta_mutations::migrations());
    all.extend(parta_audit::migrations());
    all
}

fn org(n: u128) -> OrgId {
    OrgId::from_uuid(Uuid::from_u128(n))
}

fn person(org_id: OrgId) -> Principal {
    Principal::Person {
        org_id,
        member_id: MemberId::from_uuid(Uuid::from_u128(70)),
        session_id: SessionId::from_uuid(Uuid::from_u128(71)),
    }
}

fn caller(org_id: OrgId) -> Caller {
    let mut caller = Caller::new(
        Principal::Service {
            name: "invitation".into(),
        },
        "parta.test.v1.TestService/Do",
    );
    caller.on_behalf_of = Some(person(org_id));
    caller
}

async fn act(db: &Db, org_id: OrgId, object: &str) {
    let result: Result<(), StorageError> = db
        .write(|tx| async move { record(&tx, &caller(org_id), Some(org_id), object).await })
        .await;
    result.unwrap();
}

async fn tamper(db: &Db, sql: &'static str) {
    let result: Result<(), StorageError> = db
        .write(|tx| async move {
            let done = tx
                .execute_raw(Statement::from_string(tx.get_database_backend(), sql))
                .await?;
            assert_eq!(done.rows_affected(), 1, "{sql}");
            Ok(())
        })
        .await;
    result.unwrap();
}

// A row contains the actor, the person on whose behalf it acted, the act and the request. An act that is
// rolled back leaves no row.
on_both!(row_is_committed_with_its_act, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (caller, id) = (caller(org(1)), Env::system().ids.uuid());
    let mutation = Mutation::new(&caller, &id.to_string(), &String::new()).unwrap();
    for succeeds in [false, true, true] {
        let caller = &caller;
        let done = parta_mutations::mutate(&store.db, &mutation, |tx, claim| async move {
            let Claim::New(claimed) = claim else {
                return Ok(());
            };
            record(&tx, caller, Some(org(1)), "organizations/x/units/y").await?;
            if succeeds {
                Ok(claimed.keep(&tx, Vec::new()).await?)
            } else {
                Err(parta_status::permission_denied("no"))
            }
        });
        let done: Result<_, RpcError> = done.await;
        assert_eq!(done.is_ok(), succeeds);
    }
    let sql = "SELECT actor, on_behalf_of, rpc, object, request_id FROM audit_entry";
    let rows = store
        .db
        .conn()
        .query_all_raw(Statement::from_string(store.db.backend(), sql))
        .await
        .unwrap();
    let text = |column| rows[0].try_get::<String>("", column).unwrap();
    assert_eq!(
        rows.len(),
        1,
        "neither the refused act nor the repeated one has a row"
    );
    assert_eq!(text("actor"), caller.principal.key());
    assert_eq!(text("on_behalf_of"), person(org(1)).key());
    assert_eq!(
        (text("rpc"), text("object")),
        (caller.rpc.to_owned(), "organizations/x/units/y".to_owned())
    );
    assert_eq!(rows[0].try_get::<Uuid>("", "request_id").unwrap(), id);
});

// The chains verify, one per organization, regardless of the number of sealers and of concurrent writes.
on_both!(unchanged_log_verifies, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let acting =
        join_all((0..40).map(|n| async move { act(db, org(n % 2 + 1), &format!("thing/{n}")).await }));
    let sealing = join_all((0..4).map(|_| seal(db)));
    let (_, sealed) = tokio::join!(acting, sealing);
    let early: u64 = sealed.into_iter().map(Result::unwrap).sum();
    assert_eq!(early + seal(db).await.unwrap(), 40);
    let seqs = [Some(org(1)), Some(org(2)), None, Some(org(5))]
        .map(|org_id| async move { verify(db, org_id).await });
    let seqs = join_all(seqs).await.into_iter().map(|chain| chain.unwrap().seq);
    assert_eq!(seqs.collect::<Vec<_>>(), [20, 20, 0, 0]);
});

// Edited, removed, added or swapped rows are detected anywhere in the chain.
on_both!(changed_log_does_not_verify, |database| async move {
    for sql in [
        "UPDATE audit_entry SET object = 'other' WHERE seq = 2",
        "UPDATE audit_entry SET actor = 'service/other' WHERE seq = 1",
        "UPDATE audit_entry SET on_behalf_of = NULL WHERE seq = 3",
        "UPDATE audit_entry SET rpc = 'x' WHERE seq = 2",
        "UPDATE audit_entry SET occur_time = '2020-01-01 00:00:00+00:00' WHERE seq = 2",
        "UPDATE audit_entry SET hash = prev_hash WHERE seq = 2",
        "DELETE FROM audit_entry WHERE seq = 1",
        "DELETE FROM audit_entry WHERE seq = 2",
        "DELETE FROM audit_entry WHERE seq = 3",
        "UPDATE audit_head SET seq = 2",
        "INSERT INTO audit_entry (org_id, entry_id, occur_time, rpc, actor, object, seq, prev_hash, hash) \
         SELECT org_id, request_id, occur_time, rpc, actor, object, 4, hash, hash FROM audit_entry WHERE seq = 3",
    ] {
        let database = database.another().await;
        let store = Store::open(&database, migrations()).await;
        let db = &store.db;
        for n in 0..3 {
            let id = Uuid::from_u128(n + 1).to_string();
            let mutation = Mutation::new(&caller(org(1)), &id, &String::new()).unwrap();
            let object = &format!("thing/{n}");
            let done: Result<_, StorageError> = parta_mutations::mutate(db, &mutation, |tx, _| async move {
                record(&tx, &caller(org(1)), Some(org(1)), object.as_str()).await
            })
            .await;
            done.unwrap();
        }
        seal(db).await.unwrap();
        assert_eq!(verify(db, Some(org(1))).await.unwrap().seq, 3);
        tamper(db, sql).await;
        let broken = verify(db, Some(org(1))).await.unwrap_err();
        assert!(matches!(broken, AuditError::Broken { .. }), "{sql}: {broken}");
        store.db.close().await;
    }
});

// Without the key of the service, nobody can write a chain that verifies.
on_both!(chain_requires_its_key, |database| async move {
    let store = Store::open(&database, migrations()).await;
    act(&store.db, org(1), "thing").await;
    seal(&store.db).await.unwrap();
    verify(&store.db, Some(org(1))).await.unwrap();
    // A file belongs to one connection pool at a time.
    store.db.close().await;
    let other = parta_access::Secrets::new([8; 32]);
    let forger = Db::connect(
        &DatabaseConfig::new(database.url()),
        "test",
        other,
        store.db.env().clone(),
    )
    .await
    .unwrap();
    assert!(matches!(
        verify(&forger, Some(org(1))).await,
        Err(AuditError::Broken { seq: 1, .. })
    ));
    forger.close().await;
});
