//! The durable job that applies the planned changes of an import.
use std::sync::Arc;

use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal};
use parta_database::Tx;
use parta_ids::{MemberId, RosterImportId};
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_roster::{Role, State, label_key};
use parta_status::RpcError;

use super::{
    events::Staged,
    model::{ChangeKind as Kind, ImportState},
    operations, plan,
    plan::Change,
    storage as imports,
};
use crate::{
    assignments,
    context::Context,
    departures, enrollments,
    error::Error,
    guardianships,
    member_records::{Member, events, storage as members},
};

/// Kind of the durable job.
pub(crate) const JOB: &str = "membership.roster_import";
/// An import runs for as long as it needs. Two imports of one organization would wait for each other.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 4,
    per_organization: 1,
    attempt_timeout: None,
};
/// Changes per transaction. The number is small, so that other writers wait only briefly.
const BATCH: u64 = 100;
/// The same as the number of a change.
pub(super) const BATCH_CHANGES: i64 = 100;
/// A limit that no import reaches.
pub(super) const NO_LIMIT: u64 = 10_000_000;

/// The result of a batch.
#[derive(Debug, PartialEq, Eq)]
enum BatchOutcome {
    /// Run the next batch.
    Continue,
    /// The next change needs a class that org-registry has not created yet. The event of the class resumes
    /// the job.
    WaitForClass,
    /// No change is left.
    Finished,
}

/// A batch that was committed.
struct Batch {
    outcome: BatchOutcome,
    /// Changes that are applied, and all changes.
    progress: (i64, i64),
}

/// Runs the durable job.
pub(crate) struct Runner(pub(crate) Arc<Context>);

impl Runner {
    async fn batch(&self, tx: &Tx, scope: &OrgScope, id: RosterImportId) -> Result<Batch, Error> {
        let running = imports::lock(tx, scope, id).await?;
        let Some(mut import) = running.filter(|import| import.state == ImportState::Running) else {
            return Ok(Batch {
                outcome: BatchOutcome::Finished,
                progress: (0, 0),
            });
        };
        let before = import.position;
        let rows = imports::list_changes(tx, scope, id, None, before, BATCH).await?;
        let classes = operations::classes(&self.0, tx, scope.org_id()).await?;
        let class_changes = imports::list_changes(tx, scope, id, Some(Kind::CreateUnit), 0, NO_LIMIT).await?;
        let keys = rows
            .iter()
            .flat_map(|(_, c)| [c.source_key.clone(), c.details.other_key.clone()]);
        let keys: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
        let mut people = imports::people_of(tx, scope, &keys).await?;
        // Rows about a member who was removed by hand since the check are skipped. The lock keeps the others.
        let present = members::lock_present(tx, scope, people.values().copied()).await?;
        people.retain(|_, id| present.contains(id));
        let (planned, mut done) = (import.planned, import.done);
        // A created class is counted even if it was archived or renamed later.
        let created = class_changes.iter().filter(|(seq, row)| {
            *seq <= import.position && classes.all.contains(&label_key(&row.details.unit_label))
        });
        done.units = done.units.max(i32::try_from(created.count()).unwrap_or(i32::MAX));
        let (mut staged, mut waits_for_class) = (Staged::default(), false);
        for (seq, change) in &rows {
            let (kind, details) = (change.kind, &change.details);
            let unit = classes.active.get(&label_key(&details.unit_label)).copied();
            // If all classes were created, a missing one was archived or renamed, and its changes are
            // skipped.
            if kind.needs_unit() && unit.is_none() && done.units < planned.units {
                waits_for_class = true;
                break;
            }
            let member_id = people.get(&change.source_key).copied();
            match (kind, member_id, unit) {
                // Counted above, when org-registry has created the class.
                (Kind::CreateUnit, ..) => staged.add_unit(&change.source_key, &details.unit_label),
                (Kind::CreateMember, ..) => {
                    let created = self
                        .create_expected_member(tx, scope, change, &mut staged)
                        .await?;
                    people.insert(change.source_key.clone(), created);
                }
                (Kind::RenameMember, Some(member_id), _) => {
                    rename(tx, scope, member_id, &details.after).await?;
                }
                (Kind::BeginEnrollment, Some(member_id), Some(unit)) => {
                    enrollments::begin(tx, scope, member_id, unit).await?;
                }
                (Kind::EndEnrollment, Some(member_id), Some(unit)) => {
                    enrollments::end(tx, scope, member_id, unit).await?;
                }
                (Kind::BeginAssignment, Some(member_id), Some(unit)) => {
                    let kind = plan::assignment_kind(details.value)?;
                    assignments::begin(tx, scope, member_id, unit, kind, None).await?;
                }
                (Kind::EstablishGuardianship, Some(guardian), _) => {
                    if let Some(child) = people.get(&details.other_key).copied() {
                        match guardianships::establish(tx, scope, guardian, child).await {
                            // The child has left, or is no longer a pupil.
                            Ok(()) => {}
                            Err(error) if error.is_child_unknown() => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                (Kind::RemoveMember, ..) => {
                    if let Some(member_id) = member_id {
                        self.remove_member(tx, scope, member_id).await?;
                    }
                    imports::delete_person(tx, scope, &change.source_key).await?;
                }
                _ => {}
            }
            if kind != Kind::CreateUnit {
                done.add(kind);
            }
            import.position = *seq;
        }
        staged.publish(tx, scope.org_id(), id, before + 1, import.position);
        let is_full_batch = rows.len() as u64 == BATCH;
        import.done = done;
        if import.position >= import.change_count && done.units >= planned.units {
            import.state = ImportState::Done;
            import.finish_time = Some(tx.now());
            import.revision += 1;
        }
        imports::update(tx, scope, &import).await?;
        let caller = Caller::new(
            Principal::Service {
                name: self.0.db.service().to_owned(),
            },
            JOB,
        );
        let object = format!("organizations/{}/rosterImports/{id}", scope.org_id());
        parta_audit::record(tx, &caller, Some(scope.org_id()), object).await?;
        Ok(Batch {
            outcome: match (waits_for_class, is_full_batch) {
                (true, _) => BatchOutcome::WaitForClass,
                (false, true) => BatchOutcome::Continue,
                (false, false) => BatchOutcome::Finished,
            },
            progress: (import.position, import.change_count),
        })
    }

    /// Creates an expected member and requests an invitation.
    async fn create_expected_member(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        change: &Change,
        staged: &mut Staged,
    ) -> Result<MemberId, Error> {
        let role = plan::role(change.details.value)?;
        let (org, now) = (scope.org_id(), tx.now());
        let row = Member::new(
            org,
            tx.env().id(),
            &change.details.person,
            State::Expected,
            role,
            now,
        );
        let id = row.id;
        members::insert(tx, scope, &row).await?;
        events::admitted(tx, &row).await?;
        imports::put_person(tx, scope, &change.source_key, id).await?;
        staged.add_invitation(id, role);
        Ok(id)
    }

    /// Removes a member who is no longer in the source. Administrators stay.
    async fn remove_member(&self, tx: &Tx, scope: &OrgScope, member_id: MemberId) -> Result<(), Error> {
        let Some(mut row) = members::lock(tx, scope, member_id).await? else {
            return Ok(());
        };
        if row.state == State::Left || row.has(Role::Administrator) {
            return Ok(());
        }
        departures::end_membership(tx, scope, &mut row).await
    }
}

async fn rename(tx: &Tx, scope: &OrgScope, member_id: MemberId, full_name: &str) -> Result<(), Error> {
    if let Some(mut row) = members::lock(tx, scope, member_id).await? {
        full_name.clone_into(&mut row.full_name);
        members::update(tx, scope, &mut row).await?;
    }
    Ok(())
}

/// Runs or resumes an import: when it is started, after a crash, and when a class that it waits for was
/// created.
#[async_trait]
impl JobHandler for Runner {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let id = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|text| text.parse::<RosterImportId>().ok());
        let (Some(id), Some(org)) = (id, job.org_id) else {
            return Err(JobError::Fatal(
                "the payload is not the id of a roster import".to_owned(),
            ));
        };
        let scope = &OrgScope::for_consumer(JOB, org);
        loop {
            let batch = self
                .0
                .db
                .write(|tx| async move { self.batch(&tx, scope, id).await })
                .await;
            // A message of a refusal may name a person, so the failure has its reason only.
            let batch = batch.map_err(|error| JobError::Retry(RpcError::from(error).reason().to_owned()))?;
            self.0.progress.send_modify(|n| *n += 1);
            let (applied, all) = batch.progress;
            job.report(applied, all);
            if batch.outcome != BatchOutcome::Continue {
                return Ok(());
            }
            if job.is_stopping() {
                return Err(JobError::Interrupted);
            }
        }
    }
}
