//! Carrying a plan out.
use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal};
use parta_feed as feed;
use parta_ids::{MemberId, OrgId, RosterImportId};
use parta_proto::parta::membership::v1::{
    self as pb, RosterChangeKind as Kind, RosterImportStaged, RosterImportState, StagedInvitation,
    StagedUnit, membership_event::Payload,
};
use parta_roster::{Role, State, label_key};
use parta_status::RpcError;
use parta_storage::{
    Tx,
    jobs::{Job, JobError, JobHandler},
};

use super::plan::{self, Change};
use crate::{
    assignments,
    context::Context,
    departures, enrollments,
    error::Error,
    feed::{counts_kept, counts_of},
    guardianships,
    member_records::{Member, events, storage as members},
    roster_import::{operations as roster_imports, storage as imports},
};

/// Kind of the durable job.
pub(crate) const JOB: &str = "membership.roster_import";
/// Rows of the difference that one transaction carries out: others do not wait long behind it.
const BATCH: u64 = 100;

/// How a batch ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// There may be more to do.
    More,
    /// The next row needs a class that org-registry has not made yet; its event goes on with it.
    Waits,
    /// Nothing is left, or nothing was to be done.
    Ended,
}

/// What a batch tells others at its end.
#[derive(Default)]
struct Staged {
    units: Vec<StagedUnit>,
    invitations: Vec<StagedInvitation>,
}

impl Context {
    async fn batch(&self, tx: &Tx, scope: &OrgScope, id: RosterImportId) -> Result<Outcome, Error> {
        let Some(mut import) = imports::lock(tx, scope, id).await? else {
            return Ok(Outcome::Ended);
        };
        if import.state != i32::from(RosterImportState::Running) {
            return Ok(Outcome::Ended);
        }
        let rows = imports::list_changes(tx, scope, id, None, import.position, BATCH).await?;
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| (row.seq, roster_imports::change(row)))
            .collect();
        let classes = self.classes(tx, scope.org_id()).await?;
        let wanted = plan::number(Kind::CreateUnit);
        let wanted = imports::list_changes(tx, scope, id, Some(wanted), 0, roster_imports::ALL).await?;
        let keys = rows
            .iter()
            .flat_map(|(_, c)| [c.source_key.clone(), c.other_key.clone()]);
        let keys: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
        let mut people = imports::people_of(tx, scope, &keys).await?;
        let planned = counts_of("roster_import.planned", &import.planned)?;
        let mut done = counts_of("roster_import.done", &import.done)?;
        // What was made once counts, whatever becomes of it by other hands; told twice, it counts once.
        let made = wanted
            .iter()
            .filter(|row| row.seq <= import.position && classes.ever.contains(&label_key(&row.unit_label)));
        done.units = done.units.max(i32::try_from(made.count()).unwrap_or(i32::MAX));
        let (mut staged, mut waits) = (Staged::default(), false);
        for (seq, change) in &rows {
            let kind = Kind::try_from(i32::from(change.kind)).unwrap_or_default();
            let places = matches!(
                kind,
                Kind::BeginEnrollment | Kind::EndEnrollment | Kind::BeginAssignment
            );
            let unit = classes.living.get(&label_key(&change.unit_label)).copied();
            // A class that is not coming any more was archived or renamed since: its rows are passed over.
            if places && unit.is_none() && done.units < planned.units {
                waits = true;
                break;
            }
            let who = people.get(&change.source_key).copied();
            match (kind, who, unit) {
                // Counted when it is there.
                (Kind::CreateUnit, ..) => staged.units.push(StagedUnit {
                    source_key: change.source_key.clone(),
                    label: change.unit_label.clone(),
                }),
                (Kind::CreateMember, ..) => {
                    let made = self.expect(tx, scope, change, &mut staged).await?;
                    people.insert(change.source_key.clone(), made);
                }
                (Kind::RenameMember, Some(who), _) => rename(tx, scope, who, &change.after).await?,
                (Kind::BeginEnrollment, Some(who), Some(unit)) => {
                    enrollments::begin(tx, scope, who, unit).await?;
                }
                (Kind::EndEnrollment, Some(who), Some(unit)) => {
                    enrollments::end(tx, scope, who, unit).await?;
                }
                (Kind::BeginAssignment, Some(who), Some(unit)) => {
                    let kind = plan::task(change.value)?;
                    assignments::begin(tx, scope, who, unit, kind, None).await?;
                }
                (Kind::EstablishGuardianship, Some(guardian), _) => {
                    if let Some(child) = people.get(&change.other_key).copied() {
                        match guardianships::establish(self, tx, scope, guardian, child).await {
                            // The child has gone, or is no pupil any more.
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
                // Whoever it speaks of has gone by other hands since.
                _ => {}
            }
            if kind != Kind::CreateUnit {
                plan::count(&mut done, kind);
            }
            import.position = *seq;
        }
        self.stage(tx, scope.org_id(), id, staged);
        let full = rows.len() as u64 == BATCH;
        import.done = counts_kept(&done);
        if import.position >= import.change_count && done.units >= planned.units {
            import.state = RosterImportState::Done.into();
            import.finish_time = Some(tx.now());
            import.revision += 1;
        }
        imports::update(tx, scope, &import).await?;
        let caller = Caller::new(
            Principal::Service {
                name: self.db.service().to_owned(),
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

    /// Makes the record of somebody new, who is to get a link.
    async fn expect(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        change: &Change,
        staged: &mut Staged,
    ) -> Result<MemberId, Error> {
        let role = plan::role(change.value)?;
        let (org, now) = (scope.org_id(), tx.now());
        let row = Member::new(org, tx.env().id(), &change.person, State::Expected, role, now);
        let id = row.id;
        members::insert(tx, scope, &row).await?;
        events::admitted(tx, &row).await?;
        imports::put_person(tx, scope, &change.source_key, id).await?;
        let role = pb::Role::from(role).into();
        staged.invitations.push(StagedInvitation {
            member_id: id.to_string(),
            role,
        });
        Ok(id)
    }

    /// Lets somebody go whom the source has no more; administrators stay, whatever the source says.
    async fn leave(&self, tx: &Tx, scope: &OrgScope, who: MemberId) -> Result<(), Error> {
        let Some(mut row) = members::lock(tx, scope, who).await? else {
            return Ok(());
        };
        if row.state == State::Left || row.has(Role::Administrator) {
            return Ok(());
        }
        departures::end_membership(tx, scope, &mut row).await
    }

    fn stage(&self, tx: &Tx, org: OrgId, id: RosterImportId, staged: Staged) {
        if !staged.units.is_empty() || !staged.invitations.is_empty() {
            let event = RosterImportStaged {
                roster_import_id: id.to_string(),
                units: staged.units,
                invitations: staged.invitations,
            };
            feed::append_event(tx, org, Payload::RosterImportStaged(event));
        }
    }
}

async fn rename(tx: &Tx, scope: &OrgScope, who: MemberId, full_name: &str) -> Result<(), Error> {
    if let Some(mut row) = members::lock(tx, scope, who).await? {
        full_name.clone_into(&mut row.full_name);
        members::update(tx, scope, &mut row).await?;
    }
    Ok(())
}

/// Goes on with an import; run again after a crash, and when a class that it waits for has been made.
#[async_trait]
impl JobHandler for Context {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let id = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|text| text.parse::<RosterImportId>().ok());
        let (Some(id), Some(org)) = (id, job.org_id) else {
            return Err(JobError::Fatal("the payload is no roster import".to_owned()));
        };
        let scope = &OrgScope::for_consumer(JOB, org);
        loop {
            let batch = self
                .db
                .write(|tx| async move { self.batch(&tx, scope, id).await })
                .await;
            let outcome = batch.map_err(|error| JobError::Retry(RpcError::from(error).to_string()))?;
            self.progress.send_modify(|n| *n += 1);
            if outcome != Outcome::More {
                return Ok(());
            }
        }
    }
}
