//! A producer (units with labels, as in org-registry) and a projection of it.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and may spawn tasks"
)]

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use parta_access::{Caller, Principal};
use parta_database::{CommitStep, DatabaseConfig, Db, LogHead, StorageError, Tx};
use parta_feed::{
    Consumer, FeedClient, FeedServer, HandleError, Handler, QuarantinedOrganization, Snapshot, append_event,
    list_quarantined,
};
use parta_ids::{OrgId, TypedId};
use parta_mutations::ServicePosition;
use parta_proto::feed::v1::WatchRequest;
use parta_proto_org_registry::{
    OrgRegistryFeed,
    v1::{
        OrgRegistryEvent, UnitCreated, UnitRenamed, WatchResponse, org_registry_event::Payload,
        org_registry_feed_service_client::OrgRegistryFeedServiceClient,
        org_registry_feed_service_server::OrgRegistryFeedServiceServer, watch_response::Item,
    },
};
use parta_testkit::TestDatabase;
use sea_orm::{ConnectionTrait, Statement, Value};
use sea_orm_migration::{prelude::*, schema::*};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, body::Body};
use uuid::Uuid;

use crate::support::{Store, secrets};

struct Tables;
impl MigrationName for Tables {
    fn name(&self) -> &str {
        "test_0001_school"
    }
}
#[async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, m: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        for table in ["unit", "roster"] {
            let table = Table::create()
                .table(table)
                .col(uuid("org_id"))
                .col(string("unit_id"))
                .col(string("label"))
                .primary_key(Index::create().col("org_id").col("unit_id"))
                .to_owned();
            m.create_table(table).await?;
        }
        // The table has no key, so that an event applied twice would have two rows.
        let applied = Table::create()
            .table("applied")
            .col(uuid("org_id"))
            .col(string("event_id"))
            .col(big_integer("position"))
            .to_owned();
        m.create_table(applied).await
    }
}

pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_database::migrations();
    all.extend(parta_mutations::migrations());
    all.extend(parta_feed::migrations());
    all.push(Box::new(Tables));
    all
}

pub fn org(n: u128) -> OrgId {
    OrgId::from_uuid(Uuid::from_u128(n))
}

pub async fn run(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<(), StorageError> {
    conn.execute_raw(Statement::from_sql_and_values(
        conn.get_database_backend(),
        sql,
        values,
    ))
    .await?;
    Ok(())
}

pub async fn create(tx: &Tx, org_id: OrgId, unit: &str, label: &str) -> Result<(), StorageError> {
    let values = vec![org_id.uuid().into(), unit.into(), label.into()];
    run(
        tx,
        "INSERT INTO unit (org_id, unit_id, label) VALUES ($1, $2, $3)",
        values,
    )
    .await?;
    append_event(tx, org_id, created(unit, label));
    Ok(())
}

pub fn created(unit: &str, label: &str) -> Payload {
    Payload::UnitCreated(UnitCreated {
        unit_id: unit.into(),
        label: label.into(),
        ..Default::default()
    })
}

/// Inserts and commits one unit.
pub async fn add(db: &Db, org_id: OrgId, unit: &str, label: &str) {
    db.write(|tx| async move { create(&tx, org_id, unit, label).await })
        .await
        .unwrap();
}

pub async fn rename(db: &Db, org_id: OrgId, unit: &str, label: &str) {
    let result: Result<(), StorageError> = db
        .write(|tx| async move {
            let values = vec![org_id.uuid().into(), unit.into(), label.into()];
            run(
                &tx,
                "UPDATE unit SET label = $3 WHERE org_id = $1 AND unit_id = $2",
                values,
            )
            .await?;
            append_event(
                &tx,
                org_id,
                Payload::UnitRenamed(UnitRenamed {
                    unit_id: unit.into(),
                    label: label.into(),
                }),
            );
            Ok(())
        })
        .await;
    result.unwrap();
}

/// Returns (organization, unit, label) of each row of a table, in order.
pub async fn rows(db: &Db, table: &str) -> Vec<(OrgId, String, String)> {
    let sql = format!("SELECT org_id, unit_id, label FROM {table} ORDER BY org_id, unit_id");
    let rows = db
        .conn()
        .query_all_raw(Statement::from_string(db.backend(), sql))
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let org_id = OrgId::from_uuid(row.try_get("", "org_id").unwrap());
            (
                org_id,
                row.try_get("", "unit_id").unwrap(),
                row.try_get("", "label").unwrap(),
            )
        })
        .collect()
}

/// Returns the positions of all applied events of an organization, in order, including repetitions.
pub async fn applied(db: &Db, org_id: OrgId) -> Vec<i64> {
    let sql = "SELECT position FROM applied WHERE org_id = $1 ORDER BY position";
    let statement = Statement::from_sql_and_values(db.backend(), sql, [org_id.uuid().into()]);
    let rows = db.conn().query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| row.try_get("", "position").unwrap())
        .collect()
}

pub fn server(db: &Db, cancel: CancellationToken) -> FeedServer<OrgRegistryFeed> {
    FeedServer::new(db.clone(), cancel, |tx, org_id: OrgId| async move {
        let sql = "SELECT unit_id, label FROM unit WHERE org_id = $1 ORDER BY unit_id";
        let statement =
            Statement::from_sql_and_values(tx.get_database_backend(), sql, [org_id.uuid().into()]);
        let rows = tx.query_all_raw(statement).await.map_err(StorageError::from)?;
        let mut all = Vec::new();
        for row in rows {
            let (unit, label): (String, String) = (
                row.try_get("", "unit_id").unwrap(),
                row.try_get("", "label").unwrap(),
            );
            all.push(created(&unit, &label));
        }
        Ok(all)
    })
}

/// The part of the server stack that a test needs: it sets the caller.
#[derive(Clone)]
pub struct WithCaller {
    inner: OrgRegistryFeedServiceServer<FeedServer<OrgRegistryFeed>>,
    pub caller: Caller,
}

impl tower::Service<http::Request<Body>> for WithCaller {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Infallible>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.caller.clone());
        tower::Service::call(&mut self.inner, request)
    }
}

pub fn with_caller(db: &Db, principal: Principal) -> WithCaller {
    let inner = OrgRegistryFeedServiceServer::new(server(db, CancellationToken::new()));
    WithCaller {
        inner,
        caller: Caller::new(principal, "parta.org_registry.v1.OrgRegistryFeedService/Watch"),
    }
}

pub fn service(db: &Db) -> WithCaller {
    with_caller(db, Principal::Service { name: "chat".into() })
}

/// Keeps `roster` as a copy of `unit`, and fails on the configured labels.
#[derive(Clone, Default)]
pub struct Roster {
    pub poison: Arc<Mutex<BTreeSet<String>>>,
    pub panic: Arc<Mutex<BTreeSet<String>>>,
    pub snapshots: Arc<AtomicU32>,
    /// Events of this label are held in their transaction until `opened` notifies.
    pub held_label: Arc<Mutex<Option<String>>>,
    pub held: watch::Sender<u32>,
    pub opened: Arc<Notify>,
    /// The number of transactions that have applied events.
    pub commits: Arc<AtomicU32>,
}

/// Counts the commit of a transaction that has applied events.
#[derive(Default)]
struct CountCommit(Mutex<Option<Arc<AtomicU32>>>);

#[async_trait]
impl CommitStep for CountCommit {
    async fn before_commit(&self, _tx: &Tx) -> Result<(), StorageError> {
        Ok(())
    }

    fn after_commit(&self, _db: &Db) {
        if let Some(commits) = self.0.lock().unwrap().as_ref() {
            commits.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Handler for Roster {
    type Event = OrgRegistryEvent;

    async fn apply(&self, tx: &Tx, org_id: OrgId, events: &[OrgRegistryEvent]) -> Result<(), HandleError> {
        *tx.step::<CountCommit>().0.lock().unwrap() = Some(self.commits.clone());
        for event in events {
            let sql = "INSERT INTO applied (org_id, event_id, position) VALUES ($1, $2, $3)";
            let values = vec![
                org_id.uuid().into(),
                event.event_id.as_str().into(),
                event.position.into(),
            ];
            run(tx, sql, values).await?;
            self.write(tx, org_id, event).await?;
        }
        Ok(())
    }

    async fn replace(
        &self,
        tx: &Tx,
        org_id: OrgId,
        snapshot: &Snapshot<OrgRegistryEvent>,
    ) -> Result<(), HandleError> {
        self.snapshots.fetch_add(1, Ordering::SeqCst);
        let sql = "DELETE FROM roster WHERE org_id = $1";
        run(tx, sql, vec![org_id.uuid().into()]).await?;
        for events in snapshot.parts() {
            for event in events? {
                self.write(tx, org_id, &event).await?;
            }
        }
        Ok(())
    }
}

impl Roster {
    async fn write(&self, tx: &Tx, org_id: OrgId, event: &OrgRegistryEvent) -> Result<(), HandleError> {
        let (unit, label) = match &event.payload {
            Some(Payload::UnitCreated(e)) => (&e.unit_id, &e.label),
            Some(Payload::UnitRenamed(e)) => (&e.unit_id, &e.label),
            _ => return Ok(()),
        };
        let opened = self.opened.notified();
        if self.held_label.lock().unwrap().as_ref() == Some(label) {
            self.held.send_modify(|held| *held += 1);
            opened.await;
        }
        assert!(!self.panic.lock().unwrap().contains(label), "configured to panic");
        if self.poison.lock().unwrap().contains(label) {
            return Err(HandleError::Failed(format!("{label} is poison")));
        }
        let sql = "INSERT INTO roster (org_id, unit_id, label) VALUES ($1, $2, $3) \
                   ON CONFLICT (org_id, unit_id) DO UPDATE SET label = excluded.label";
        let values = vec![org_id.uuid().into(), unit.as_str().into(), label.as_str().into()];
        Ok(run(tx, sql, values).await?)
    }
}

pub type RosterConsumer = Consumer<FeedClient<OrgRegistryFeed, WithCaller>, Roster>;

pub fn consumer(producer: &Db, db: &Db, roster: &Roster) -> RosterConsumer {
    Consumer::new(
        "test.roster",
        db.clone(),
        FeedClient::new(service(producer)),
        roster.clone(),
    )
}

/// A running consumer.
pub struct Running {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

pub fn start(consumer: &RosterConsumer) -> Running {
    let (cancel, consumer) = (CancellationToken::new(), consumer.clone());
    let task = tokio::spawn({
        let cancel = cancel.clone();
        async move { consumer.run(cancel).await }
    });
    Running { cancel, task }
}

impl Running {
    pub async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// Returns the position of the log of an organization.
pub async fn position(producer: &Db, org_id: OrgId) -> ServicePosition {
    let head = producer.head(org_id).await.unwrap();
    ServicePosition {
        service: "org-registry".into(),
        epoch: head.epoch,
        position: head.position,
    }
}

/// Waits until the consumer has applied all committed events of these organizations.
pub async fn caught_up(producer: &Db, consumer: &RosterConsumer, organizations: &[u128]) {
    for n in organizations {
        let position = position(producer, org(*n)).await;
        for _ in 0..9 {
            if consumer.freshness().reach(org(*n), &position).await.is_ok() {
                break;
            }
        }
        consumer.freshness().reach(org(*n), &position).await.unwrap();
    }
}

/// Waits until `look` returns a value. Looks after each step of the consumer.
pub async fn after_steps<T>(consumer: &RosterConsumer, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut steps = consumer.freshness().steps().unwrap();
    let found = async {
        loop {
            steps.mark_unchanged();
            if let Some(found) = look().await {
                return found;
            }
            steps.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found)
        .await
        .unwrap()
}

/// Waits until the copies of all organizations equal their source.
pub async fn equal_to_source(db: &Db, consumer: &RosterConsumer) {
    after_steps(consumer, async || {
        (rows(db, "roster").await == rows(db, "unit").await).then_some(())
    })
    .await;
}

/// Follows the log of an organization as a client does.
pub async fn watch(
    service: WithCaller,
    org_id: OrgId,
    cursor: &str,
) -> Result<Streaming<WatchResponse>, tonic::Status> {
    let request = WatchRequest {
        org_id: org_id.to_string(),
        cursor: cursor.to_owned(),
    };
    let response = OrgRegistryFeedServiceClient::new(service).watch(request).await?;
    Ok(response.into_inner())
}

/// Returns the positions of the next `count` events of a stream, and the cursor after them.
pub async fn next_positions(stream: &mut Streaming<WatchResponse>, count: usize) -> (Vec<i64>, String) {
    let (mut positions, mut last) = (Vec::new(), String::new());
    while positions.len() < count {
        let response = stream.next().await.unwrap().unwrap();
        last = response.cursor;
        if let Some(Item::Event(event)) = response.item {
            positions.push(event.position);
        }
    }
    (positions, last)
}

/// Opens the database of a store again, as another replica of the service does.
pub async fn another_replica(store: &Store, database: &TestDatabase) -> Db {
    let config = DatabaseConfig::new(database.url());
    let env = store.db.env().clone();
    Db::connect(&config, "test", secrets(), env).await.unwrap()
}

/// Removes what was committed after a head, as a restore from a backup does.
pub async fn restore(db: &Db, org_id: OrgId, head: LogHead) {
    let lost: Result<(), StorageError> = db
        .write(|tx| async move {
            let sql = "DELETE FROM event WHERE org_id = $1 AND position > $2";
            run(&tx, sql, vec![org_id.uuid().into(), head.position.into()]).await?;
            let sql = "UPDATE event_head SET position = $2, event_id = $3 WHERE org_id = $1";
            let values = vec![org_id.uuid().into(), head.position.into(), head.event_id.into()];
            run(&tx, sql, values).await
        })
        .await;
    lost.unwrap();
}

/// Ends a quarantine, so that the consumer tries again.
pub async fn release(db: &Db, org_id: OrgId) -> Result<bool, StorageError> {
    db.write(|tx| async move { parta_feed::retry(&tx, org_id, "test.roster").await })
        .await
}

/// Waits until the consumer has quarantined an organization, and returns why.
pub async fn quarantined(db: &Db, consumer: &RosterConsumer, org_id: OrgId) -> QuarantinedOrganization {
    after_steps(consumer, async || {
        let all = list_quarantined(db.conn(), None, 10).await.unwrap();
        all.into_iter().find(|one| one.org_id == org_id)
    })
    .await
}

/// Requests a snapshot. Returns whether the consumer knows the organization.
pub async fn rebuild(db: &Db, org_id: OrgId) -> bool {
    let rebuilt: Result<bool, StorageError> = db
        .write(|tx| async move { parta_feed::rebuild(&tx, org_id, "test.roster").await })
        .await;
    rebuilt.unwrap()
}
