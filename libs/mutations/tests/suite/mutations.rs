//! Mutations and their repetitions, on both databases.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    counter::{insert, value},
    support::Store,
};
use chrono::TimeDelta;
use futures::future::join_all;
use parta_access::{Caller, Principal};
use parta_database::{Db, StorageError};
use parta_ids::{OrgId, TypedId};
use parta_mutations::{Claim, ConsistencyToken, Mutation, RETENTION_DAYS};
use parta_proto::status::v1::ErrorReason;
use parta_status::{Reason, RpcError};
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::MigrationTrait;
use uuid::Uuid;

fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = crate::counter::migrations();
    all.extend(parta_mutations::migrations());
    all
}

fn caller(name: &str) -> Caller {
    Caller::new(
        Principal::Operator { name: name.into() },
        "parta.test.v1.TestService/Do",
    )
}

fn mutation(caller: &Caller, request_id: Uuid, request: &str) -> Mutation {
    Mutation::new(caller, &request_id.to_string(), &request.to_owned()).unwrap()
}

fn new_id() -> Uuid {
    parta_ids::Env::system().ids.uuid()
}

fn org() -> OrgId {
    OrgId::from_uuid(new_id())
}

/// The result of an act: the generated name, which would reveal a second run, and the consistency token.
#[derive(Debug)]
struct Done {
    made: String,
    consistency_token: String,
}

/// Carries out a mutation once, as the edge does.
async fn act(db: &Db, mutation: &Mutation, runs: &AtomicUsize) -> Result<Done, RpcError> {
    parta_mutations::mutate(db, mutation, |tx, claim| async move {
        let made = match claim {
            Claim::Before(record) => String::from_utf8(record.outcome()?.to_vec()).unwrap(),
            Claim::New(claimed) => {
                runs.fetch_add(1, Ordering::SeqCst);
                let made = org().to_string();
                insert(&tx, &made).await?;
                claimed.keep(&tx, made.clone().into_bytes()).await?;
                made
            }
        };
        let consistency_token = parta_mutations::finish(&tx).await?;
        Ok::<_, RpcError>(Done {
            made,
            consistency_token,
        })
    })
    .await
}

async fn count(db: &Db) -> i64 {
    let row = db.conn().query_one_raw(Statement::from_string(
        db.backend(),
        "SELECT COUNT(*) AS n FROM counter",
    ));
    row.await.unwrap().unwrap().try_get("", "n").unwrap()
}

// A retried mutation has one effect, and the repetition finds the outcome (invariant 2).
on_both!(repeated_request_returns_the_outcome, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (runs, id, caller) = (AtomicUsize::new(0), new_id(), caller("one"));
    let first = act(&store.db, &mutation(&caller, id, "same"), &runs)
        .await
        .unwrap();
    let again = act(&store.db, &mutation(&caller, id, "same"), &runs)
        .await
        .unwrap();
    assert_eq!(first.made, again.made);
    assert_eq!((runs.load(Ordering::SeqCst), count(&store.db).await), (1, 1));

    let refused = act(&store.db, &mutation(&caller, id, "other"), &runs)
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), ErrorReason::RequestIdReused.text());
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);

    // The key includes the principal: the same `request_id` of another caller is independent.
    let other = self::caller("two");
    let theirs = act(&store.db, &mutation(&other, id, "same"), &runs)
        .await
        .unwrap();
    assert_ne!(theirs.made, first.made);
});

// The same request sent concurrently many times has one effect.
on_both!(concurrent_duplicates_have_one_effect, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (runs, id, caller) = (AtomicUsize::new(0), new_id(), caller("one"));
    let mutation = mutation(&caller, id, "same");
    let responses = join_all((0..20).map(|_| act(&store.db, &mutation, &runs))).await;
    let responses: Vec<_> = responses.into_iter().map(|a| a.unwrap().made).collect();
    assert!(responses.iter().all(|response| *response == responses[0]));
    assert_eq!(count(&store.db).await, 1);
});

// A refused mutation leaves no record, so that it can be retried.
on_both!(refusal_leaves_no_record, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (caller, id) = (caller("one"), new_id());
    let mutation = mutation(&caller, id, "same");
    let refused = parta_mutations::mutate(&store.db, &mutation, |tx, _| async move {
        insert(&tx, "gone").await?;
        Err::<(), RpcError>(parta_status::permission_denied("not today"))
    });
    assert_eq!(refused.await.unwrap_err().code(), tonic::Code::PermissionDenied);
    assert_eq!(value(store.db.conn(), "gone").await, None);
    act(&store.db, &mutation, &AtomicUsize::new(0)).await.unwrap();
});

#[test]
fn request_id_must_be_a_uuid() {
    parta_testkit::run(async {
        for id in ["", "7", "00000000-0000-0000-0000-000000000000"] {
            let refused = Mutation::new(&caller("one"), id, &String::new()).unwrap_err();
            assert_eq!(refused.fields()[0].0, "request_id", "{id}");
        }
    });
}

// Every response of a mutation carries an authentic position in the event log of the service.
on_both!(response_carries_a_consistency_token, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (org_id, member_id) = (org(), parta_ids::MemberId::from_uuid(new_id()));
    let person = Principal::Person {
        org_id,
        member_id,
        session_id: parta_ids::SessionId::from_uuid(new_id()),
    };
    let epoch = store.db.epoch().await.unwrap();
    let sql = "INSERT INTO event_head (org_id, position, event_id, previous_id) VALUES ($1, 5, $1, $1)";
    store
        .db
        .write(|tx| async move {
            tx.execute_sql(sql, [org_id.uuid().into()])
                .await
                .map_err(StorageError::from)
        })
        .await
        .unwrap();
    let m = mutation(
        &Caller::new(person, "parta.test.v1.TestService/Do"),
        new_id(),
        "x",
    );
    let text = act(&store.db, &m, &AtomicUsize::new(0))
        .await
        .unwrap()
        .consistency_token;
    let token = ConsistencyToken::decode(&text, &crate::support::secrets())
        .unwrap()
        .unwrap();
    assert_eq!(token.org_id(), org_id);
    let mark = &token.positions()[0];
    assert_eq!((mark.service.as_str(), mark.position), ("test", 5));
    assert_eq!(mark.epoch, epoch);
    assert!(ConsistencyToken::decode(&text, &parta_access::Secrets::new([8; 32])).is_err());
});

// A mutation that loses its connection halfway is carried out once on another connection.
on_postgres!(
    mutation_survives_a_lost_connection,
    "SQLite has no server connection that could be lost",
    |database| async move {
        parta_testkit::logs().allow("the database is unavailable");
        let store = Store::open(&database, migrations()).await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let db = &store.db;
        // All connections are terminated in the middle of the mutation, including its own.
        let cutting = &store.db.conn().begin().await.unwrap();
        let (m, runs) = (mutation(&caller("one"), new_id(), "x"), AtomicUsize::new(0));
        let counted = &runs;
        let response = parta_mutations::mutate(db, &m, |tx, claim| async move {
            insert(&tx, "a").await?;
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                cutting
                    .execute_unprepared(cut)
                    .await
                    .map_err(StorageError::from)?;
            }
            insert(&tx, "b").await?;
            if let Claim::New(claimed) = claim {
                claimed.keep(&tx, Vec::new()).await?;
            }
            Ok::<_, RpcError>(())
        })
        .await;
        response.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(
            (value(db.conn(), "a").await, value(db.conn(), "b").await),
            (Some(0), Some(0))
        );
    }
);

// A record is purged 30 days after its mutation, and the same `request_id` is then a new mutation.
on_both!(record_is_purged_after_its_retention, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (runs, mutation) = (AtomicUsize::new(0), mutation(&caller("one"), new_id(), "same"));
    for (days, expected) in [(0, 1), (RETENTION_DAYS, 1), (1, 2)] {
        store.clock.advance(TimeDelta::days(days));
        parta_mutations::purge(&store.db).await.unwrap();
        act(&store.db, &mutation, &runs).await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), expected, "after {days} more days");
    }
});

on_both!(many_old_records_are_purged, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let count = async || {
        let sql = "SELECT COUNT(*) AS records FROM idempotency_record";
        let row = store
            .db
            .conn()
            .query_one_raw(Statement::from_string(store.db.backend(), sql));
        row.await.unwrap().unwrap().try_get::<i64>("", "records").unwrap()
    };
    // More than one transaction deletes, and the last record is as old as the retention.
    let inserted: Result<u64, StorageError> = store
        .db
        .write(|tx| async move {
            let mut inserted = 0;
            for (first, minutes) in [(0, 2), (3_000, 1), (6_000, 0)] {
                let sql = format!(
                    "WITH RECURSIVE number (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM number \
                     WHERE n < {first} + 2999) \
                     INSERT INTO idempotency_record (principal, rpc, request_id, digest, create_time) \
                     SELECT 'member', 'rpc ' || n, $1, $2, $3 FROM number"
                );
                let time = tx.now() - TimeDelta::minutes(minutes);
                let values = [Uuid::nil().into(), vec![0_u8].into(), time.into()];
                inserted += tx.execute_sql(&sql, values).await?;
            }
            Ok(inserted)
        })
        .await;
    assert_eq!(inserted.unwrap(), 9_000);
    store.clock.advance(TimeDelta::days(RETENTION_DAYS));
    parta_mutations::purge(&store.db).await.unwrap();
    assert_eq!(count().await, 3_000);
    store.clock.advance(TimeDelta::seconds(1));
    parta_mutations::purge(&store.db).await.unwrap();
    assert_eq!(count().await, 0);
});
