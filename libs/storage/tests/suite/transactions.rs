//! Transactions, mutations and file locks, on both databases.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::Store;
use futures::future::join_all;
use parta_access::{Caller, Principal};
use parta_ids::{OrgId, TypedId};
use parta_proto::parta::status::v1::ErrorReason;
use parta_status::{Reason, RpcError};
use parta_storage::{Claim, ConsistencyToken, Db, Mutation, StorageError, Tx};
use parta_testkit::{on_both, on_sqlite};
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::{prelude::*, schema::*};
use uuid::Uuid;

struct Counter;
impl MigrationName for Counter {
    fn name(&self) -> &str {
        "test_0001_counter"
    }
}
#[async_trait::async_trait]
impl MigrationTrait for Counter {
    async fn up(&self, m: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        let table = Table::create()
            .table("counter")
            .col(string("name").primary_key())
            .col(big_integer("n"))
            .to_owned();
        m.create_table(table).await
    }
}

pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_storage::migrations();
    all.push(Box::new(Counter));
    all
}

pub(crate) async fn insert(tx: &Tx, name: &str) -> Result<(), StorageError> {
    let sql = "INSERT INTO counter (name, n) VALUES ($1, 0)";
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [name.into()],
    ))
    .await?;
    Ok(())
}

pub(crate) async fn value(conn: &impl ConnectionTrait, name: &str) -> Option<i64> {
    let sql = "SELECT n FROM counter WHERE name = $1";
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, [name.into()]);
    conn.query_one_raw(statement)
        .await
        .unwrap()
        .map(|row| row.try_get("", "n").unwrap())
}

/// Reads and writes in two statements. Undetected concurrency would lose an update.
async fn increment(db: &Db, name: &'static str) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let lock = if tx.db().is_postgres() { " FOR UPDATE" } else { "" };
        let sql = format!("SELECT n FROM counter WHERE name = $1{lock}");
        let backend = tx.get_database_backend();
        let row = tx
            .query_one_raw(Statement::from_sql_and_values(backend, sql, [name.into()]))
            .await?;
        let n: i64 = row.unwrap().try_get("", "n")?;
        let sql = "UPDATE counter SET n = $2 WHERE name = $1";
        tx.execute_raw(Statement::from_sql_and_values(
            backend,
            sql,
            [name.into(), (n + 1).into()],
        ))
        .await?;
        Ok(())
    })
    .await
}

pub(crate) fn caller(name: &str) -> Caller {
    Caller::new(
        Principal::Operator { name: name.into() },
        "parta.test.v1.TestService/Do",
    )
}

pub(crate) fn mutation(caller: &Caller, request_id: Uuid, request: &str) -> Mutation {
    Mutation::new(caller, &request_id.to_string(), &request.to_owned()).unwrap()
}

pub(crate) fn new_id() -> Uuid {
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
    db.mutate_claimed(mutation, |tx, claim| async move {
        let made = match claim {
            Claim::Before(record) => String::from_utf8(record.outcome()?.to_vec()).unwrap(),
            Claim::New => {
                runs.fetch_add(1, Ordering::SeqCst);
                let made = org().to_string();
                insert(&tx, &made).await?;
                tx.keep_outcome(made.clone().into_bytes()).await?;
                made
            }
        };
        let consistency_token = tx.finish().await?;
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
    let answers = join_all((0..20).map(|_| act(&store.db, &mutation, &runs))).await;
    let answers: Vec<_> = answers.into_iter().map(|a| a.unwrap().made).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(count(&store.db).await, 1);
});

// A refused mutation leaves no record, so that it can be retried.
on_both!(refusal_leaves_no_record, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (caller, id) = (caller("one"), new_id());
    let mutation = mutation(&caller, id, "same");
    let refused = store.db.mutate_claimed(&mutation, |tx, _| async move {
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
    store
        .db
        .write(|tx| async move { tx.advance_head(5).await })
        .await
        .unwrap();
    let m = mutation(&caller("one"), new_id(), "x");
    let text = act(&store.db, &m, &AtomicUsize::new(0))
        .await
        .unwrap()
        .consistency_token;
    let token = ConsistencyToken::decode(&text, &crate::support::secrets()).unwrap();
    let mark = &token.marks()[0];
    assert_eq!((mark.service.as_str(), mark.position), ("test", 5));
    assert_eq!(mark.incarnation, store.db.head().await.unwrap().incarnation);
    assert!(ConsistencyToken::decode(&text, &parta_access::Secrets::new([8; 32])).is_err());
});

// Invariant 1: concurrent writers neither lose updates nor starve, however the database resolves their
// conflicts.
on_both!(concurrent_writes_lose_no_update, |database| async move {
    let store = Store::open(&database, migrations()).await;
    store
        .db
        .write(|tx| async move { insert(&tx, "a").await })
        .await
        .unwrap();
    for result in join_all((0..40).map(|_| increment(&store.db, "a"))).await {
        result.unwrap();
    }
    assert_eq!(value(store.db.conn(), "a").await, Some(40));
});

// Two transactions that lock two rows in opposite orders both succeed: the deadlock victim is retried.
on_both!(deadlock_victim_is_retried, |database| async move {
    let store = Store::open(&database, migrations()).await;
    for name in ["a", "b"] {
        store
            .db
            .write(|tx| async move { insert(&tx, name).await })
            .await
            .unwrap();
    }
    let attempts = AtomicUsize::new(0);
    // On PostgreSQL, both wait here in their first attempt, each with its first row locked.
    let meeting = Arc::new(tokio::sync::Barrier::new(2));
    let both = [["a", "b"], ["b", "a"]].map(|names| {
        let (attempts, meeting, db) = (&attempts, meeting.clone(), &store.db);
        let first = AtomicUsize::new(0);
        async move {
            let (first, meeting) = (&first, &meeting);
            db.write(|tx| async move {
                attempts.fetch_add(1, Ordering::SeqCst);
                for name in names {
                    let sql = "UPDATE counter SET n = n + 1 WHERE name = $1";
                    let backend = tx.get_database_backend();
                    tx.execute_raw(Statement::from_sql_and_values(backend, sql, [name.into()]))
                        .await?;
                    if tx.db().is_postgres() && first.fetch_add(1, Ordering::SeqCst) == 0 {
                        meeting.wait().await;
                    }
                }
                Ok::<_, StorageError>(())
            })
            .await
        }
    });
    for result in join_all(both).await {
        result.unwrap();
    }
    assert_eq!(
        (
            value(store.db.conn(), "a").await,
            value(store.db.conn(), "b").await
        ),
        (Some(2), Some(2))
    );
    assert_eq!(
        attempts.load(Ordering::SeqCst),
        if store.db.is_postgres() { 3 } else { 2 }
    );
});

// An error that the closure swallows must not be reported as a success.
on_both!(swallowed_error_is_not_committed, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let result = store
        .db
        .write(|tx| async move {
            insert(&tx, "a").await?;
            drop(insert(&tx, "a").await);
            Ok::<_, StorageError>(())
        })
        .await;
    let Err(StorageError::UniqueViolation { constraint }) = result else {
        panic!("{result:?}")
    };
    assert!(constraint.contains("counter"), "{constraint}");
    assert_eq!(value(store.db.conn(), "a").await, None);
});

// A read sees one snapshot, regardless of concurrent commits.
on_both!(read_sees_one_snapshot, |database| async move {
    let store = Store::open(&database, migrations()).await;
    store
        .db
        .write(|tx| async move { insert(&tx, "a").await })
        .await
        .unwrap();
    let db = &store.db;
    let seen = db
        .read(|tx| async move {
            let before = value(&tx, "a").await;
            increment(db, "a").await?;
            Ok::<_, StorageError>((before, value(&tx, "a").await))
        })
        .await
        .unwrap();
    assert_eq!(
        (seen, value(store.db.conn(), "a").await),
        ((Some(0), Some(0)), Some(1))
    );
});

// Repeated migration changes nothing.
on_both!(repeated_migration_changes_nothing, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let before = store.db.head().await.unwrap();
    store.db.migrate(migrations()).await.unwrap();
    assert_eq!(store.db.head().await.unwrap(), before);
    store.db.renew_incarnation().await.unwrap();
    assert!(store.db.head().await.unwrap().incarnation > before.incarnation);
});

// Replicas that start together migrate once.
on_both!(concurrent_migrations_run_once, |database| async move {
    let store = Store::open(&database, parta_storage::migrations()).await;
    let all = join_all((0..4).map(|_| store.db.migrate(migrations()))).await;
    for result in all {
        result.unwrap();
    }
    store.db.check_schema(&migrations()).await.unwrap();
});

// The file belongs to one process, and its readers cannot write.
on_sqlite!(
    file_is_locked,
    "only SQLite keeps its data in a file of ours",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let second = Db::connect(
            &store.config,
            "test",
            crate::support::secrets(),
            store.env.clone(),
        )
        .await;
        assert!(matches!(second, Err(StorageError::Locked(_))), "{second:?}");
        let past = store
            .db
            .conn()
            .execute_unprepared("INSERT INTO counter (name, n) VALUES ('x', 0)")
            .await;
        assert!(past.unwrap_err().to_string().contains("readonly"));
        store.db.close().await;
        let third = Db::connect(
            &store.config,
            "test",
            crate::support::secrets(),
            store.env.clone(),
        )
        .await
        .unwrap();
        third.close().await;
    }
);

// Writers acquire the lock in FIFO order.
on_sqlite!(
    write_lock_is_fair,
    "PostgreSQL has no gate: its writers run at the same time",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let gate = store.db.write_gate();
        let pass = gate.enter().await;
        let order = std::sync::Mutex::new(Vec::new());
        let waiting = join_all((0..10).map(|n| {
            let order = &order;
            async move {
                let _pass = gate.enter().await;
                order.lock().unwrap().push(n);
            }
        }));
        tokio::join!(waiting, async { drop(pass) });
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    }
);

// A closure that is dropped halfway leaves the database writable and unchanged.
on_both!(abandoned_write_is_rolled_back, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (inside, reached) = tokio::sync::oneshot::channel::<()>();
    let inside = std::sync::Mutex::new(Some(inside));
    let inside = &inside;
    let write = store.db.write(|tx| async move {
        insert(&tx, "a").await?;
        drop(inside.lock().unwrap().take());
        std::future::pending::<Result<(), StorageError>>().await
    });
    tokio::select! {
        _ = write => panic!("it waits for ever"),
        _ = reached => {}
    }
    store
        .db
        .write(|tx| async move { insert(&tx, "b").await })
        .await
        .unwrap();
    assert_eq!(
        (
            value(store.db.conn(), "a").await,
            value(store.db.conn(), "b").await
        ),
        (None, Some(0))
    );
});
