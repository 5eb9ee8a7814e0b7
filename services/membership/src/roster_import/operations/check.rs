use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_database::Tx;
use parta_edge::{Mutation, Query, Read};
use parta_ids::{OrgId, RosterImportId, UnitId};
use parta_roster::{MemberContext, State};
use parta_status::RpcError;

use super::{Classes, ImportOutcome, abandoned::stop_abandoned, audit, classes, load, may_import};
use crate::{
    assignments::AssignmentKind,
    context::{Context, Run},
    error::Error,
    guardianships,
    member_records::{LeaveReason, storage::list_for_snapshot},
    roster_import::{
        Problems, decisions,
        mass::mass_changes,
        model::{Counts, Import, ImportState, Outcome},
        plan::{self, CurrentMember, CurrentRoster, DroppedMember},
        set::{self, EarlierImports, Files, SourceRoster},
        storage,
        storage::source,
    },
};

/// Loads the people and classes of earlier imports, which a set of files may refer to. Runs before the files
/// are received, so that a caller who may not import is refused first.
#[derive(Debug)]
pub(crate) struct LoadEarlierImports {
    pub(crate) org_id: OrgId,
}

impl Query for LoadEarlierImports {
    type Context = Context;
    type View = EarlierImports;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<EarlierImports>, Error> {
        let scope = may_import(run, self.org_id).await?;
        let people = source::people(run.tx, &scope).await?;
        Ok(Read::plain(EarlierImports {
            people: people.into_keys().collect(),
            classes: source::classes(run.tx, &scope).await?,
        }))
    }
}

/// Parses a set of files on a blocking thread, outside of any transaction.
pub(crate) async fn parse_files(
    files: Files,
    earlier: EarlierImports,
) -> Result<(SourceRoster, Problems), RpcError> {
    let parsing = tokio::task::spawn_blocking(move || set::parse(&files, &earlier));
    parsing.await.map_err(RpcError::internal)
}

/// Stores a set of files as an import, with the planned changes and the problems.
pub(crate) struct CheckRosterImport {
    pub(crate) org_id: OrgId,
    pub(crate) set: SourceRoster,
    pub(crate) problems: Problems,
}

impl Mutation for CheckRosterImport {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ImportOutcome;
    type View = Import;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_import(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<ImportOutcome, Error> {
        let Run { context, tx, caller } = run;
        stop_abandoned(run, scope).await?;
        let (set, problems) = (&self.set, &self.problems);
        let refused = problems.refused();
        let (mut changes, mut mass) = (Vec::new(), Vec::new());
        if !refused {
            let classes = classes(context, tx, scope.org_id()).await?;
            let current = current_roster(context, tx, scope, &classes).await?;
            changes = plan::plan(set, &current);
            decisions::mark(tx, scope, &mut changes, &current, &classes.active).await?;
            mass = mass_changes(&changes, &current);
        }
        let planned = plan::counts(&changes);
        let without_effect = changes.iter().filter(|c| c.outcome != Outcome::Planned);
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
            no_effect_count: i32::try_from(without_effect.count()).unwrap_or(i32::MAX),
            waiting_count: 0,
            mass_changes: mass,
            classes: set.classes.clone(),
            archived_units: BTreeSet::new(),
            starter_id: None,
            position: 0,
            create_time: tx.now(),
            start_time: None,
            finish_time: None,
            revision: 1,
        };
        storage::insert(tx, scope, &import, &changes, &problems.0).await?;
        audit(tx, caller, self.org_id, id).await?;
        Ok(ImportOutcome { roster_import_id: id })
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &ImportOutcome) -> Result<Import, Error> {
        load(run.tx, scope, outcome.roster_import_id).await
    }
}

/// Loads the part of the roster that earlier imports created.
pub(super) async fn current_roster(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    classes: &Classes,
) -> Result<CurrentRoster, Error> {
    let org = scope.org_id();
    let key_by_id: BTreeMap<UnitId, &String> = classes.active.iter().map(|(key, id)| (*id, key)).collect();
    let label_key_of = |id: &UnitId| key_by_id.get(id).map(|key| (*key).clone());
    let records = list_for_snapshot(tx, org).await?.into_iter();
    let records: BTreeMap<_, _> = records.map(|record| (record.id, record)).collect();
    let all_members = context.roster.all_members(tx, org).await?;
    let contexts: BTreeMap<_, &MemberContext> = all_members
        .iter()
        .map(|context| (context.member_id, context))
        .collect();
    let mut current = CurrentRoster {
        labels: classes.labels.clone(),
        classes: source::classes(tx, scope).await?,
        ..CurrentRoster::default()
    };
    let mut source_keys = BTreeMap::new();
    for (key, id) in source::people(tx, scope).await? {
        // The record of a person with two ids in the source may have been joined with that of the other id.
        let id = records.get(&id).and_then(|record| record.joined_id).unwrap_or(id);
        let Some(record) = records.get(&id) else {
            continue;
        };
        if let Some(first) = source_keys.get(&id) {
            current.aliases.insert(key, String::clone(first));
            continue;
        }
        source_keys.insert(id, key.clone());
        let Some(context) = contexts.get(&id).filter(|_| record.state != State::Left) else {
            if record.leave_reason == Some(LeaveReason::Source) {
                let revoked = record.revoked_roles.clone();
                current.dropped.insert(key, DroppedMember { id, revoked });
            } else {
                current.removed.insert(key);
            }
            continue;
        };
        let as_class_teacher = context
            .class_teacher_of
            .iter()
            .map(|unit| (unit, AssignmentKind::ClassTeacher));
        let other_units = context.teaches.difference(&context.class_teacher_of);
        let as_subject_teacher = other_units.map(|unit| (unit, AssignmentKind::SubjectTeacher));
        let member = CurrentMember {
            full_name: record.full_name.clone(),
            roles: record.roles.clone(),
            revoked: record.revoked_roles.clone(),
            classes: context.enrolled_in.iter().filter_map(label_key_of).collect(),
            assignments: as_class_teacher
                .chain(as_subject_teacher)
                .filter_map(|(unit, kind)| Some((label_key_of(unit)?, kind.number())))
                .collect(),
            ..CurrentMember::default()
        };
        current.people.insert(key, (id, member));
    }
    // Unconfirmed guardianships are included.
    for row in guardianships::list_current(tx, org).await? {
        let guardian = source_keys
            .get(&row.guardian_id)
            .and_then(|key| current.people.get_mut(key));
        if let Some((_, guardian)) = guardian {
            guardian.children.insert(row.child_id);
        }
    }
    Ok(current)
}
