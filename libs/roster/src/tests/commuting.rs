//! The rows of the projection depend on the state of the two sources only: not on the batches in which their
//! events arrive, on the order of the two feeds, on repetitions, or on snapshots in between.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use parta_database::Tx;
use parta_feed::Snapshot;
use parta_service_testkit::history::{Event, School, run_school};
use proptest::prelude::*;

use super::*;
use crate::{Change, RosterObserver};

/// Records what the observer of a service makes jobs of. A repetition makes the same ones.
#[derive(Default)]
struct Effects(Mutex<BTreeMap<OrgId, BTreeSet<String>>>);

#[async_trait::async_trait]
impl RosterObserver for Effects {
    async fn changed(&self, _: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        let mut effects = self.0.lock().unwrap();
        let of = effects.entry(org).or_default();
        for change in changes {
            match change {
                Change::RosterImportStaged { key, .. } => {
                    of.insert(format!("staged {key}"));
                }
                Change::JoinDecided { join_request_id, .. } => {
                    of.insert(format!("decided {join_request_id}"));
                }
                Change::UnitCreated { unit_id, source } => {
                    of.insert(format!("unit {unit_id} {source:?}"));
                }
                // The observer computes what follows from the rows again.
                Change::OrganizationCreated
                | Change::OrganizationChanged
                | Change::UnitRenamed(_)
                | Change::UnitArchived(_)
                | Change::Member(_)
                | Change::MemberReleased(_)
                | Change::Resynced => {}
            }
        }
        Ok(())
    }
}

/// A projection of one organization.
struct Copy<'a> {
    db: &'a Db,
    org: OrgId,
    effects: Arc<Effects>,
}

impl<'a> Copy<'a> {
    fn new(db: &'a Db, effects: &Arc<Effects>) -> Self {
        Self {
            db,
            org: db.env().id(),
            effects: effects.clone(),
        }
    }

    fn of_org(&self, payload: &Org) -> orgs::OrgRegistryEvent {
        orgs::OrgRegistryEvent {
            org_id: self.org.to_string(),
            payload: Some(payload.clone()),
            ..Default::default()
        }
    }

    fn of_member(&self, payload: &Member) -> members::MembershipEvent {
        members::MembershipEvent {
            org_id: self.org.to_string(),
            payload: Some(payload.clone()),
            ..Default::default()
        }
    }

    /// Applies the events of the feed of org-registry among these as one batch.
    async fn apply_orgs(&self, events: &[Event]) {
        let payloads = events.iter().filter_map(|event| match event {
            Event::Org(payload) => Some(self.of_org(payload)),
            Event::Member(_) => None,
        });
        let batch = &payloads.collect::<Vec<_>>();
        let handler = &Organizations::new(self.effects.clone());
        let applied = self
            .db
            .write(|tx| async move { handler.apply(&tx, self.org, batch).await });
        applied.await.unwrap();
    }

    /// Applies the events of the feed of membership among these as one batch.
    async fn apply_members(&self, events: &[Event]) {
        let payloads = events.iter().filter_map(|event| match event {
            Event::Member(payload) => Some(self.of_member(payload)),
            Event::Org(_) => None,
        });
        let batch = &payloads.collect::<Vec<_>>();
        let handler = &Members::new(self.effects.clone());
        let applied = self
            .db
            .write(|tx| async move { handler.apply(&tx, self.org, batch).await });
        applied.await.unwrap();
    }

    /// Replaces both halves by the snapshots of a school.
    async fn replace(&self, school: &School) {
        let (orgs, members) = school.snapshots();
        let orgs = &Snapshot::from_iter(orgs.iter().map(|payload| self.of_org(payload)));
        let members = &Snapshot::from_iter(members.iter().map(|payload| self.of_member(payload)));
        let (organizations, handler) = (
            &Organizations::new(self.effects.clone()),
            &Members::new(self.effects.clone()),
        );
        let replaced = self.db.write(|tx| async move {
            handler.replace(&tx, self.org, members).await?;
            organizations.replace(&tx, self.org, orgs).await
        });
        replaced.await.unwrap();
    }

    /// Returns the rows of all tables of the projection and the effects, without the id of the organization.
    async fn state(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let effects = self.effects.0.lock().unwrap().get(&self.org).cloned();
        (rows(self.db, self.org).await, effects.unwrap_or_default())
    }
}

async fn texts(db: &Db, sql: &str, values: Vec<sea_orm::Value>) -> Vec<String> {
    let statement = Statement::from_sql_and_values(db.backend(), sql, values);
    let rows = db.conn().query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// Returns the rows of an organization in all tables whose name begins with `roster_`.
async fn rows(db: &Db, org: OrgId) -> BTreeSet<String> {
    let tables = if db.is_postgres() {
        "SELECT tablename::text FROM pg_tables WHERE tablename LIKE 'roster%'"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'roster%'"
    };
    let mut all = BTreeSet::new();
    let tables = texts(db, tables, vec![]).await;
    assert!(tables.len() >= 11, "{tables:?}");
    for table in tables {
        let row = if db.is_postgres() {
            "(to_jsonb(t) - 'org_id')::text".to_owned()
        } else {
            let columns = format!("SELECT name FROM pragma_table_info('{table}') WHERE name <> 'org_id'");
            let columns = texts(db, &columns, vec![]).await;
            let quoted = columns.iter().map(|name| format!("'{name} ' || quote({name})"));
            quoted.collect::<Vec<_>>().join(" || ', ' || ")
        };
        let sql = format!("SELECT {row} FROM {table} t WHERE org_id = $1");
        for row in texts(db, &sql, vec![org.uuid().into()]).await {
            all.insert(format!("{table}: {row}"));
        }
    }
    all
}

/// The steps of a school, and the size of the batches.
type Plan = (Vec<[u8; 4]>, usize);

async fn projections_are_equal(db: &Db, (steps, size): Plan) {
    let (events, schools) = run_school(&steps);
    let effects = Arc::new(Effects::default());
    let copy = || Copy::new(db, &effects);

    // One event at a time, in the order in which they occurred.
    let expected = copy();
    for event in &events {
        match event {
            Event::Org(_) => expected.apply_orgs(std::slice::from_ref(event)).await,
            Event::Member(_) => expected.apply_members(std::slice::from_ref(event)).await,
        }
    }
    let expected = expected.state().await;

    // The feed of membership is far ahead, and then the other one is.
    let (members_first, orgs_first) = (copy(), copy());
    members_first.apply_members(&events).await;
    members_first.apply_orgs(&events).await;
    assert_eq!(members_first.state().await, expected, "membership first");
    orgs_first.apply_orgs(&events).await;
    orgs_first.apply_members(&events).await;
    assert_eq!(orgs_first.state().await, expected, "org-registry first");

    // Each batch twice.
    let repeated = copy();
    for batch in events.chunks(size) {
        for _ in 0..2 {
            repeated.apply_members(batch).await;
            repeated.apply_orgs(batch).await;
        }
    }
    assert_eq!(repeated.state().await, expected, "each batch twice");

    // A snapshot instead of the first events, twice; one in between; and one of before, after all of them.
    let cut = events.len() * size.min(9) / 10;
    for known in [0, cut / 2, cut, events.len()] {
        let replaced = copy();
        replaced.apply_orgs(&events[..known]).await;
        replaced.apply_members(&events[..known]).await;
        for _ in 0..2 {
            replaced.replace(&schools[cut]).await;
        }
        for batch in events[cut + 1..].chunks(size) {
            replaced.apply_members(batch).await;
            replaced.apply_orgs(batch).await;
        }
        let what = format!(
            "a snapshot after {cut} of {} events, {known} were known",
            events.len()
        );
        assert_eq!(replaced.state().await, expected, "{what}");
    }
}

parta_testkit::property_on_both!(
    projection_depends_on_the_state_only,
    ProptestConfig {
        cases: 6,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    },
    (proptest::collection::vec(any::<[u8; 4]>(), 20..80), 1..10_usize),
    |database: TestDatabase, plan: Plan| async move {
        let projection = Projection::open(&database).await;
        projections_are_equal(&projection.db, plan).await;
        projection.db.close().await;
    }
);
