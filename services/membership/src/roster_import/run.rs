//! The job that carries an import out.
use std::sync::Arc;

use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal};
use parta_database::Tx;
use parta_ids::{MemberId, RosterImportId};
use parta_jobs::{Job, JobError, JobHandler};
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
/// Rows of the difference that one transaction carries out, so that other writers wait only briefly.
const BATCH: u64 = 100;
/// More rows than any import has.
const ALL: u64 = 10_000_000;

/// How a batch ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// There may be more to do.
    More,
    /// The next row needs a class that org-registry has not made yet. The event of the class resumes the job.
    Waits,
    /// Nothing is left.
    Ended,
}

/// Carries imports out, by the job.
pub(crate) struct Runner(pub(crate) Arc<Context>);

impl Runner {
    async fn batch(&self, tx: &Tx, scope: &OrgScope, id: RosterImportId) -> Result<Outcome, Error> {
        let Some(mut import) = imports::lock(tx, scope, id).await? else {
            return Ok(Outcome::Ended);
        };
        if import.state != ImportState::Running {
            return Ok(Outcome::Ended);
        }
        let rows = imports::list_changes(tx, scope, id, None, import.position, BATCH).await?;
        let classes = operations::classes(&self.0, tx, scope.org_id()).await?;
        let wanted = imports::list_changes(tx, scope, id, Some(Kind::CreateUnit), 0, ALL).await?;
        let keys = rows
            .iter()
            .flat_map(|(_, c)| [c.source_key.clone(), c.details.other_key.clone()]);
        let keys: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
        let mut people = imports::people_of(tx, scope, &keys).await?;
        let (planned, mut done) = (import.planned, import.done);
        // A class that was made counts once, whatever people do with it later.
        let made = wanted.iter().filter(|(seq, row)| {
            *seq <= import.position && classes.ever.contains(&label_key(&row.details.unit_label))
        });
        done.units = done.units.max(i32::try_from(made.count()).unwrap_or(i32::MAX));
        let (mut staged, mut waits) = (Staged::default(), false);
        for (seq, change) in &rows {
            let (kind, details) = (change.kind, &change.details);
            let unit = classes.living.get(&label_key(&details.unit_label)).copied();
            // When all classes are made, one that is absent was archived or renamed: its rows are skipped.
            if kind.needs_unit() && unit.is_none() && done.units < planned.units {
                waits = true;
                break;
            }
            let who = people.get(&change.source_key).copied();
            match (kind, who, unit) {
                // Counted when it is there.
                (Kind::CreateUnit, ..) => staged.unit(&change.source_key, &details.unit_label),
                (Kind::CreateMember, ..) => {
                    let made = self.expect(tx, scope, change, &mut staged).await?;
                    people.insert(change.source_key.clone(), made);
                }
                (Kind::RenameMember, Some(who), _) => rename(tx, scope, who, &details.after).await?,
                (Kind::BeginEnrollment, Some(who), Some(unit)) => {
                    enrollments::begin(tx, scope, who, unit).await?;
                }
                (Kind::EndEnrollment, Some(who), Some(unit)) => {
                    enrollments::end(tx, scope, who, unit).await?;
                }
                (Kind::BeginAssignment, Some(who), Some(unit)) => {
                    let kind = plan::task(details.value)?;
                    assignments::begin(tx, scope, who, unit, kind, None).await?;
                }
                (Kind::EstablishGuardianship, Some(guardian), _) => {
                    if let Some(child) = people.get(&details.other_key).copied() {
                        match guardianships::establish(&self.0, tx, scope, guardian, child).await {
                            // The child has left, or is no longer a pupil.
                            Ok(()) => {}
                            Err(error) if error.is_child_unknown() => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                (Kind::RemoveMember, Some(who), _) => {
                    self.leave(tx, scope, who).await?;
                    imports::delete_person(tx, scope, &change.source_key).await?;
                }
                // The member was removed by hand since.
                _ => {}
            }
            if kind != Kind::CreateUnit {
                done.add(kind);
            }
            import.position = *seq;
        }
        staged.publish(tx, scope.org_id(), id);
        let full = rows.len() as u64 == BATCH;
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
        Ok(match (waits, full) {
            (true, _) => Outcome::Waits,
            (false, true) => Outcome::More,
            (false, false) => Outcome::Ended,
        })
    }

    /// Makes the record of an expected member, for whom invitation makes a link.
    async fn expect(
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
        staged.invitation(id, role);
        Ok(id)
    }

    /// Removes a member who is no longer in the source. Administrators stay.
    async fn leave(&self, tx: &Tx, scope: &OrgScope, who: MemberId) -> Result<(), Error> {
        let Some(mut row) = members::lock(tx, scope, who).await? else {
            return Ok(());
        };
        if row.state == State::Left || row.has(Role::Administrator) {
            return Ok(());
        }
        departures::end_membership(tx, scope, &mut row).await
    }
}

async fn rename(tx: &Tx, scope: &OrgScope, who: MemberId, full_name: &str) -> Result<(), Error> {
    if let Some(mut row) = members::lock(tx, scope, who).await? {
        full_name.clone_into(&mut row.full_name);
        members::update(tx, scope, &mut row).await?;
    }
    Ok(())
}

/// Resumes an import: at its start, after a crash, and when a class that it waits for was made.
#[async_trait]
impl JobHandler for Runner {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let id = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|text| text.parse::<RosterImportId>().ok());
        let (Some(id), Some(org)) = (id, job.org_id) else {
            return Err(JobError::Fatal("the payload is not a roster import".to_owned()));
        };
        let scope = &OrgScope::for_consumer(JOB, org);
        loop {
            let batch = self
                .0
                .db
                .write(|tx| async move { self.batch(&tx, scope, id).await })
                .await;
            let outcome = batch.map_err(|error| JobError::Retry(RpcError::from(error).to_string()))?;
            self.0.progress.send_modify(|n| *n += 1);
            if outcome != Outcome::More {
                return Ok(());
            }
        }
    }
}
