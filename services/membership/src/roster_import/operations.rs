//! Roster imports: checking, starting, reading (R31).
use std::collections::{BTreeMap, BTreeSet};

use parta_access::{Caller, OrgScope, authorize};
use parta_ids::{OrgId, RosterImportId, TypedId as _, UnitId};
use parta_proto::parta::{
    membership::v1::{self as pb, RosterImportCounts, RosterImportState as State},
    org_registry::v1::UnitKind,
};
use parta_roster::{MemberContext, Role, label_key};
use parta_status::RpcError;
use parta_storage::{Mutation, Tx, check_etag, jobs};
use sea_orm::ConnectionTrait;

use super::storage::{self as imports, Import};
use crate::{
    assignments::AssignmentKind,
    context::{Context, Page},
    convert,
    error::Error,
    feed as events, guardianships, member_records,
    roster_import::{
        Problems,
        plan::{self, Change, Known, There},
        run::JOB,
        set::{self, Earlier, Files, Set},
    },
};

/// Classes by the keys of their labels.
#[derive(Default)]
pub(crate) struct Classes {
    /// Those that can be filled.
    pub(crate) living: BTreeMap<String, UnitId>,
    /// Their labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Those that were archived, too.
    pub(crate) ever: BTreeSet<String>,
}

/// More rows than any organization has.
pub(crate) const ALL: u64 = 10_000_000;

fn unknown(id: RosterImportId) -> Error {
    Error::unknown("roster import", id)
}

impl Context {
    /// Refuses who may not import into the organization.
    pub(crate) async fn may_import(&self, caller: &Caller, org: OrgId) -> Result<OrgScope, Error> {
        self.importing(self.db.conn(), caller, org).await
    }

    async fn roster_import(
        &self,
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        id: RosterImportId,
    ) -> Result<Import, Error> {
        imports::find(conn, scope, id).await?.ok_or_else(|| unknown(id))
    }

    async fn importing(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<OrgScope, Error> {
        let facts = self.facts(conn, caller, org).await?;
        Ok(authorize(caller, org, member_records::manage(&facts))?)
    }

    /// The classes of an organization by the keys of their labels.
    pub(crate) async fn classes(&self, conn: &impl ConnectionTrait, org: OrgId) -> Result<Classes, RpcError> {
        let mut classes = Classes::default();
        for unit in self.roster.units(conn, org).await? {
            if unit.kind == UnitKind::Class {
                let key = label_key(&unit.label);
                if !unit.archived {
                    classes.labels.insert(key.clone(), unit.label);
                    classes.living.insert(key.clone(), unit.unit_id);
                }
                classes.ever.insert(key);
            }
        }
        Ok(classes)
    }

    async fn there(&self, tx: &Tx, scope: &OrgScope) -> Result<There, Error> {
        let org = scope.org_id();
        let classes = self.classes(tx, org).await?;
        let by_id: BTreeMap<UnitId, &String> = classes.living.iter().map(|(key, id)| (*id, key)).collect();
        let label = |id: &UnitId| by_id.get(id).map(|key| (*key).clone());
        let mut names = member_records::storage::names(tx, scope).await?;
        let everybody = self.roster.all_members(tx, org).await?;
        let facts: BTreeMap<_, &MemberContext> =
            everybody.iter().map(|facts| (facts.member_id, facts)).collect();
        let mut there = There {
            labels: classes.labels,
            classes: imports::classes(tx, scope).await?,
            ..There::default()
        };
        let mut keys = BTreeMap::new();
        for (key, id) in imports::people(tx, scope).await? {
            // Who left by other hands is nobody to the import.
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
            keys.insert(id.uuid(), key.clone());
            there.people.insert(key, (id, known));
        }
        // Also the relations that nobody has confirmed yet.
        for row in guardianships::list_current(tx, Some(scope.org_id())).await? {
            let guardian = keys
                .get(&row.guardian_id.uuid())
                .and_then(|key| there.people.get_mut(key));
            if let Some((_, known)) = guardian {
                known.children.insert(row.child_id);
            }
        }
        Ok(there)
    }

    pub(crate) async fn check_roster_import(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        files: Files,
    ) -> Result<pb::CheckRosterImportResponse, Error> {
        let scope = &self.may_import(caller, org).await?;
        let earlier = Earlier {
            people: imports::people(self.db.conn(), scope)
                .await?
                .into_keys()
                .collect(),
            classes: imports::classes(self.db.conn(), scope).await?,
        };
        let understood = tokio::task::spawn_blocking(move || set::understand(&files, &earlier));
        let understood = understood.await.map_err(RpcError::internal)?;
        let (set, problems): &(Set, Problems) = &understood;
        self.db
            .mutate(mutation, |tx| async move {
                let scope = self.importing(&tx, caller, org).await?;
                let refused = problems.refused();
                let (changes, known) = if refused {
                    (Vec::new(), 0)
                } else {
                    let there = self.there(&tx, &scope).await?;
                    (plan::plan(set, &there), there.people.len())
                };
                let counts = plan::counts(&changes);
                let id: RosterImportId = tx.env().id();
                let import = Import {
                    org_id: org.uuid(),
                    import_id: id.uuid(),
                    state: if refused { State::Refused } else { State::Checked }.into(),
                    one_roster_version: set.version.clone(),
                    planned: events::counts_kept(&counts),
                    done: events::counts_kept(&RosterImportCounts::default()),
                    change_count: i64::try_from(changes.len()).unwrap_or(i64::MAX),
                    problem_count: i32::try_from(problems.0.len()).unwrap_or(i32::MAX),
                    mass_removal: plan::is_mass_removal(&counts, known),
                    classes: serde_json::to_string(&set.classes).map_err(RpcError::internal)?,
                    position: 0,
                    create_time: tx.now(),
                    start_time: None,
                    finish_time: None,
                    revision: 1,
                };
                imports::insert(&tx, &scope, &import, &changes, &problems.0).await?;
                let object = format!("organizations/{org}/rosterImports/{id}");
                parta_audit::record(&tx, caller, Some(org), object).await?;
                Ok::<_, Error>(pb::CheckRosterImportResponse {
                    roster_import: Some(convert::roster_import(&import)?),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn start_roster_import(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: RosterImportId,
        etag: &str,
        allow_mass_removal: bool,
    ) -> Result<pb::StartRosterImportResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let scope = self.importing(&tx, caller, org).await?;
                let mut import = imports::lock(&tx, &scope, id).await?.ok_or_else(|| unknown(id))?;
                check_etag(etag, import.revision)?;
                if import.state != i32::from(State::Checked)
                    || imports::overtaken(&tx, &scope, id, import.create_time).await?
                {
                    return Err(Error::import_not_startable());
                }
                if import.mass_removal && !allow_mass_removal {
                    return Err(Error::MassRemoval(
                        events::counts_of("roster_import.planned", &import.planned)?.removals,
                    ));
                }
                // From now on the source's class ids mean these; a check alone changes nothing.
                let classes = serde_json::from_str(&import.classes).map_err(RpcError::internal)?;
                imports::put_classes(&tx, &scope, &classes).await?;
                import.state = State::Running.into();
                import.start_time = Some(tx.now());
                import.revision += 1;
                imports::update(&tx, &scope, &import).await?;
                jobs::enqueue(&tx, JOB, Some(org), id.to_string().into_bytes(), id.uuid()).await?;
                let object = format!("organizations/{org}/rosterImports/{id}");
                parta_audit::record(&tx, caller, Some(org), object).await?;
                Ok::<_, Error>(pb::StartRosterImportResponse {
                    roster_import: Some(convert::roster_import(&import)?),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn get_roster_import(
        &self,
        caller: &Caller,
        org: OrgId,
        id: RosterImportId,
    ) -> Result<pb::RosterImport, Error> {
        let scope = self.importing(self.db.conn(), caller, org).await?;
        let found = self.roster_import(self.db.conn(), &scope, id).await?;
        Ok(convert::roster_import(&found)?)
    }

    pub(crate) async fn list_roster_imports(
        &self,
        caller: &Caller,
        org: OrgId,
        page: Page<'_>,
    ) -> Result<pb::ListRosterImportsResponse, Error> {
        let scope = self.importing(self.db.conn(), caller, org).await?;
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = imports::list(self.db.conn(), &scope, after, page.size + 1).await?;
        let key = |row: &Import| RosterImportId::from_uuid(row.import_id);
        let next_page_token = self.cut(caller, &page, &mut rows, key);
        Ok(pb::ListRosterImportsResponse {
            roster_imports: rows
                .iter()
                .map(convert::roster_import)
                .collect::<Result<_, _>>()?,
            next_page_token,
        })
    }

    pub(crate) async fn list_roster_import_changes(
        &self,
        caller: &Caller,
        org: OrgId,
        id: RosterImportId,
        kind: Option<i16>,
        page: Page<'_>,
    ) -> Result<pb::ListRosterImportChangesResponse, Error> {
        let (conn, after) = (
            self.db.conn(),
            self.db.decode_page(caller, &page.filter, page.token)?,
        );
        let scope = self.importing(conn, caller, org).await?;
        self.roster_import(conn, &scope, id).await?;
        let after: i64 = after.unwrap_or(0);
        let mut rows = imports::list_changes(conn, &scope, id, kind, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| row.seq);
        Ok(pb::ListRosterImportChangesResponse {
            changes: rows.into_iter().map(convert::roster_change).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn list_roster_import_problems(
        &self,
        caller: &Caller,
        org: OrgId,
        id: RosterImportId,
        page: Page<'_>,
    ) -> Result<pb::ListRosterImportProblemsResponse, Error> {
        let (conn, after) = (
            self.db.conn(),
            self.db.decode_page(caller, &page.filter, page.token)?,
        );
        let scope = self.importing(conn, caller, org).await?;
        self.roster_import(conn, &scope, id).await?;
        let after: i64 = after.unwrap_or(0);
        let mut rows = imports::list_problems(conn, &scope, id, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| row.seq);
        Ok(pb::ListRosterImportProblemsResponse {
            problems: rows.into_iter().map(convert::roster_problem).collect(),
            next_page_token,
        })
    }
}

/// The change of a stored row.
pub(crate) fn change(row: imports::ChangeRow) -> Change {
    Change {
        kind: row.kind,
        source_key: row.source_key,
        other_key: row.other_key,
        person: row.person,
        unit_label: row.unit_label,
        before: row.before,
        after: row.after,
        value: row.value,
    }
}
