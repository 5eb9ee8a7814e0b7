mod abandoned;
mod check;
mod decide;
mod read;
mod start;

use std::collections::{BTreeMap, BTreeSet};

use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::Stored;
use parta_ids::{OrgId, RosterImportId, UnitId};
use parta_roster::{UnitKind, label_key};
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::{model::Import, policy, storage};
use crate::{
    context::{Context, Run},
    error::Error,
};

pub(super) use abandoned::starter_may_import;
pub(super) use check::{CheckRosterImport, LoadEarlierImports, parse_files};
pub(super) use decide::DecideChanges;
pub(super) use read::{GetRosterImport, ListChanges, ListProblems, ListRosterImports};
pub(super) use start::StartRosterImport;

/// The classes of an organization, by the keys of their labels ([`label_key`]).
#[derive(Default)]
pub(super) struct Classes {
    /// The classes that are not archived.
    pub(super) active: BTreeMap<String, UnitId>,
    /// The labels of the active classes.
    pub(super) labels: BTreeMap<String, String>,
    /// All classes, including archived ones.
    pub(super) all: BTreeMap<String, BTreeSet<UnitId>>,
}

/// Loads the classes of an organization.
pub(super) async fn classes(context: &Context, tx: &Tx, org: OrgId) -> Result<Classes, RpcError> {
    let mut classes = Classes::default();
    for unit in context.roster.units(tx, org).await? {
        if unit.kind == UnitKind::Class {
            let key = label_key(&unit.label);
            if !unit.archived {
                classes.labels.insert(key.clone(), unit.label);
                classes.active.insert(key.clone(), unit.unit_id);
            }
            classes.all.entry(key).or_default().insert(unit.unit_id);
        }
    }
    Ok(classes)
}

/// The outcome of CheckRosterImport, StartRosterImport and DecideRosterImportChanges.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImportOutcome {
    roster_import_id: RosterImportId,
}

impl Stored for ImportOutcome {}

async fn may_import(run: Run<'_>, org: OrgId) -> Result<OrgScope, Error> {
    let Run { context, tx, caller } = run;
    Ok(context.authorize(tx, caller, org, policy::import).await?.scope)
}

fn unknown_import(id: RosterImportId) -> Error {
    Error::unknown("roster import", id)
}

async fn load(tx: &Tx, scope: &OrgScope, id: RosterImportId) -> Result<Import, Error> {
    storage::find(tx, scope, id)
        .await?
        .ok_or_else(|| unknown_import(id))
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: RosterImportId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("rosterImports/{id}")).await?)
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let outcome = ImportOutcome {
            roster_import_id: RosterImportId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"roster_import_id\":\"{}\"}}", outcome.roster_import_id);
        let stored = outcome.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(ImportOutcome::decode(&stored).unwrap(), outcome);
    }
}
