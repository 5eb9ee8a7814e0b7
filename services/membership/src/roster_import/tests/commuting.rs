//! The feed of org-registry and the changes of membership itself give the same rows in whichever order they
//! come.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::OrgId;
use parta_service_testkit::{
    ServiceEnv,
    history::{FeedsCommute, Part, id},
};
use parta_testkit::{TestDatabase, on_both};

use crate::{
    migrations,
    roster_import::{
        ClassCreatedObserver,
        model::{ChangeKind, Counts, Import, ImportState, Outcome, SourceLine},
        plan::{Change, Details},
        storage,
    },
};

const CHECK: FeedsCommute = FeedsCommute {
    histories: 8,
    skipped: &[],
    parts: &[Part {
        table: "job",
        only: "TRUE",
        without: &["job_id", "due_millis"],
    }],
    names: None,
    filled: &["roster_import", "roster_import_change", "job", "roster_unit"],
};

async fn open(database: &TestDatabase) -> ServiceEnv {
    let env = ServiceEnv::open(database, "membership", migrations()).await;
    // Membership writes its own half without an observer, and this one passes over its events.
    env.observed_by(Arc::new(ClassCreatedObserver))
}

/// Starts the import that requests the class, which the history may create.
async fn start_import(tx: &Tx, org: OrgId) -> Result<(), StorageError> {
    let scope = &OrgScope::for_consumer("test", org);
    let import = Import {
        id: id(1),
        state: ImportState::Running,
        one_roster_version: "1.1".to_owned(),
        planned: Counts::default(),
        done: Counts::default(),
        change_count: 1,
        problem_count: 0,
        no_effect_count: 0,
        waiting_count: 0,
        mass_changes: Vec::new(),
        classes: BTreeMap::new(),
        archived_units: BTreeSet::new(),
        starter_id: None,
        position: 0,
        create_time: tx.now(),
        start_time: Some(tx.now()),
        finish_time: None,
        revision: 1,
    };
    let change = Change {
        kind: ChangeKind::CreateUnit,
        source_key: "5А".to_owned(),
        details: Details::default(),
        source_line: SourceLine::default(),
        outcome: Outcome::Planned,
    };
    storage::insert(tx, scope, &import, &[change], &[]).await
}

on_both!(
    order_of_the_feeds_decides_nothing_in_imports,
    |database| async move {
        let prepare = async |env: &ServiceEnv, org: OrgId| {
            let started = env.db.write(|tx| async move { start_import(&tx, org).await });
            started.await.unwrap();
        };
        CHECK.check(&database, open, prepare).await;
    }
);
