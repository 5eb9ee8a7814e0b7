use std::collections::BTreeMap;

use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::{Mutation, Query, Read};
use parta_ids::{OrgId, RosterImportId, UnitId};
use parta_roster::{MemberContext, Role};
use parta_status::RpcError;

use super::{Named, audit, classes, load, may_import};
use crate::{
    assignments::AssignmentKind,
    context::Context,
    error::Error,
    guardianships,
    member_records::storage::names,
    roster_import::{
        Problems,
        model::{Counts, Import, ImportState},
        plan::{self, Known, There},
        set::{self, Earlier, Files, Set},
        storage,
    },
};

/// Reads what a set of files may refer to. Asked before the files are received, so that nothing is kept for
/// a caller who may not import.
#[derive(Debug)]
pub(crate) struct ReadEarlier {
    pub(crate) org_id: OrgId,
}

impl Query for ReadEarlier {
    type Context = Context;
    type View = Earlier;
    type Error = Error;

    async fn run(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<Read<Earlier>, Error> {
        let scope = may_import(context, tx, caller, self.org_id).await?;
        let people = storage::people(tx, &scope).await?;
        Ok(Read::plain(Earlier {
            people: people.into_keys().collect(),
            classes: storage::classes(tx, &scope).await?,
        }))
    }
}

/// Reads a set of files outside any transaction, on a thread of its own.
pub(crate) async fn understand(files: Files, earlier: Earlier) -> Result<(Set, Problems), RpcError> {
    let understood = tokio::task::spawn_blocking(move || set::understand(&files, &earlier));
    understood.await.map_err(RpcError::internal)
}

/// Stores a set of files as an import, with its difference from the roster and its problems.
pub(crate) struct CheckRosterImport {
    pub(crate) org_id: OrgId,
    pub(crate) set: Set,
    pub(crate) problems: Problems,
}

impl Mutation for CheckRosterImport {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Named;
    type View = Import;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<OrgScope, Error> {
        may_import(context, tx, caller, self.org_id).await
    }

    async fn act(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
        scope: &OrgScope,
    ) -> Result<Named, Error> {
        let (set, problems) = (&self.set, &self.problems);
        let refused = problems.refused();
        let (changes, known) = if refused {
            (Vec::new(), 0)
        } else {
            let there = there(context, tx, scope).await?;
            (plan::plan(set, &there), there.people.len())
        };
        let planned = plan::counts(&changes);
        let id: RosterImportId = tx.env().id();
        let import = Import {
            id,
            state: if refused {
                ImportState::Refused
            } else {
                ImportState::Checked
            },
            one_roster_version: set.version.clone(),
            planned,
            done: Counts::default(),
            change_count: i64::try_from(changes.len()).unwrap_or(i64::MAX),
            problem_count: i32::try_from(problems.0.len()).unwrap_or(i32::MAX),
            mass_removal: plan::is_mass_removal(&planned, known),
            classes: set.classes.clone(),
            position: 0,
            create_time: tx.now(),
            start_time: None,
            finish_time: None,
            revision: 1,
        };
        storage::insert(tx, scope, &import, &changes, &problems.0).await?;
        audit(tx, caller, self.org_id, id).await?;
        Ok(Named { roster_import_id: id })
    }

    async fn view(&self, _: &Context, tx: &Tx, scope: &OrgScope, outcome: &Named) -> Result<Import, Error> {
        load(tx, scope, outcome.roster_import_id).await
    }
}

/// The roster as far as imports are concerned with it.
async fn there(context: &Context, tx: &Tx, scope: &OrgScope) -> Result<There, Error> {
    let org = scope.org_id();
    let classes = classes(context, tx, org).await?;
    let by_id: BTreeMap<UnitId, &String> = classes.living.iter().map(|(key, id)| (*id, key)).collect();
    let label = |id: &UnitId| by_id.get(id).map(|key| (*key).clone());
    let mut names = names(tx, scope).await?;
    let everybody = context.roster.all_members(tx, org).await?;
    let facts: BTreeMap<_, &MemberContext> = everybody.iter().map(|facts| (facts.member_id, facts)).collect();
    let mut there = There {
        labels: classes.labels,
        classes: storage::classes(tx, scope).await?,
        ..There::default()
    };
    let mut keys = BTreeMap::new();
    for (key, id) in storage::people(tx, scope).await? {
        // A member who was removed by hand is unknown to the import.
        let (Some(facts), Some(full_name)) = (facts.get(&id), names.remove(&id)) else {
            continue;
        };
        let led = facts
            .class_teacher_of
            .iter()
            .map(|unit| (unit, AssignmentKind::ClassTeacher));
        let taught = facts.teaches.difference(&facts.class_teacher_of);
        let taught = taught.map(|unit| (unit, AssignmentKind::SubjectTeacher));
        let known = Known {
            full_name,
            administrator: facts.roles.contains(&Role::Administrator),
            pupil: facts.roles.contains(&Role::Pupil),
            teacher: facts.roles.contains(&Role::Teacher),
            classes: facts.enrolled_in.iter().filter_map(label).collect(),
            tasks: led
                .chain(taught)
                .filter_map(|(unit, kind)| Some((label(unit)?, kind.number())))
                .collect(),
            ..Known::default()
        };
        keys.insert(id, key.clone());
        there.people.insert(key, (id, known));
    }
    // Relations that nobody has confirmed yet count too.
    for row in guardianships::list_current(tx, Some(org)).await? {
        let guardian = keys
            .get(&row.guardian_id)
            .and_then(|key| there.people.get_mut(key));
        if let Some((_, known)) = guardian {
            known.children.insert(row.child_id);
        }
    }
    Ok(there)
}
