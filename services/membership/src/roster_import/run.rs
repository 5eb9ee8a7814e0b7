//! The durable job that applies the planned changes of an import.
use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal};
use parta_database::Tx;
use parta_ids::{OrgId, RosterImportId, UnitId};
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_roster::label_key;
use parta_status::RpcError;

use super::{
    apply::Applier,
    limits::{BATCH, JOB, NO_LIMIT},
    model::{ChangeKind as Kind, Import, ImportState, Outcome},
    operations::{Classes, starter_may_import},
    plan::Change,
    storage as imports,
    storage::rows::{self, ChangeFilter},
};
use crate::{context::Context, error::Error};

/// An import runs for as long as it needs. Two imports of one organization would wait for each other.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 4,
    per_organization: 1,
    attempt_timeout: None,
    max_retry_delay: Limits::RETRY_DELAY,
};

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
        let rows = rows::list_changes(tx, scope, id, ChangeFilter::default(), before, BATCH).await?;
        let starter = import
            .starter_id
            .ok_or_else(|| RpcError::internal("an import has no starter"))?;
        // Read before the classes: a class that is marked here was committed with its mark, so that the later
        // statement finds it. In the other order a class that comes between the two statements would be
        // neither known nor missing, and its rows would have no effect.
        let requested = requested_classes(tx, scope, id).await?;
        let mut applier = Applier::new(&self.0, tx, scope, id, &rows, starter).await?;
        // An import is judged when it acts (F18). The starter's record is locked.
        let is_left = rows.iter().any(|(_, change)| change.outcome == Outcome::Planned);
        if is_left && !starter_may_import(&self.0, tx, scope, starter).await? {
            return self.stop(tx, scope, import).await;
        }
        let missing = missing_classes(tx, scope, &mut import, requested, &applier.classes).await?;
        let mut outcomes = Outcomes::default();
        let waits = |(_, change): &&(i64, Change)| {
            change.outcome == Outcome::Planned
                && change.kind.needs_unit()
                && applier.unit(change).is_none()
                && missing.contains(&label_key(&change.details.unit_label))
        };
        let ready = rows.iter().take_while(|row| !waits(row)).count();
        let ready = rows.get(..ready).unwrap_or_default();
        for run in ready.chunk_by(|(_, one), (_, next)| one.kind == next.kind && one.outcome == next.outcome)
        {
            let changes: Vec<&Change> = run.iter().map(|(_, change)| change).collect();
            if changes
                .first()
                .is_some_and(|change| change.outcome == Outcome::Planned)
            {
                let of_run = applier.apply_run(&changes).await?;
                for ((seq, change), outcome) in run.iter().zip(of_run) {
                    outcomes.add(*seq, change, outcome);
                }
            }
        }
        import.position = ready.last().map_or(import.position, |(seq, _)| *seq);
        let waits_for_class = ready.len() < rows.len();
        let org = scope.org_id();
        let staged = std::mem::take(&mut applier.staged);
        staged.publish(tx, org, id, before + 1, import.position);
        outcomes.save(tx, scope, &mut import).await?;
        let is_full_batch = rows.len() as u64 == BATCH;
        if import.position >= import.change_count && import.done.units >= import.planned.units {
            import.state = ImportState::Done;
            import.finish_time = Some(tx.now());
            import.revision += 1;
        }
        imports::update(tx, scope, &import).await?;
        self.audit(tx, org, id).await?;
        Ok(Batch {
            outcome: match (waits_for_class, is_full_batch) {
                (true, _) => BatchOutcome::WaitForClass,
                (false, true) => BatchOutcome::Continue,
                (false, false) => BatchOutcome::Finished,
            },
            progress: (import.position, import.change_count),
        })
    }

    async fn stop(&self, tx: &Tx, scope: &OrgScope, mut import: Import) -> Result<Batch, Error> {
        import.stop(tx.now());
        imports::update(tx, scope, &import).await?;
        self.audit(tx, scope.org_id(), import.id).await?;
        Ok(Batch {
            outcome: BatchOutcome::Finished,
            progress: (import.position, import.change_count),
        })
    }

    async fn audit(&self, tx: &Tx, org: OrgId, id: RosterImportId) -> Result<(), Error> {
        let caller = Caller::new(
            Principal::Service {
                name: self.0.db.service().to_owned(),
            },
            JOB,
        );
        let object = format!("organizations/{org}/rosterImports/{id}");
        Ok(parta_audit::record(tx, &caller, Some(org), object).await?)
    }
}

/// Lists the changes that request classes, with their outcomes.
async fn requested_classes(
    tx: &Tx,
    scope: &OrgScope,
    id: RosterImportId,
) -> Result<Vec<(i64, Change)>, Error> {
    let filter = ChangeFilter::of_kind(Kind::CreateUnit);
    Ok(rows::list_changes(tx, scope, id, filter, 0, NO_LIMIT).await?)
}

/// Counts the requested classes that were created, and returns the keys of the labels of the others. A class
/// counts if org-registry made it for the import, or if it was not archived before the import began.
async fn missing_classes(
    tx: &Tx,
    scope: &OrgScope,
    import: &mut Import,
    requested: Vec<(i64, Change)>,
    classes: &Classes,
) -> Result<BTreeSet<String>, Error> {
    let (mut missing, mut found) = (BTreeSet::new(), Vec::new());
    // A class may exist before it was requested. It is requested all the same, and org-registry publishes its
    // creation.
    import.done.units = 0;
    for (seq, change) in requested {
        let key = label_key(&change.details.unit_label);
        let is_known = |unit: &UnitId| import.archived_units.contains(unit);
        let units = classes.all.get(&key);
        let is_new = units.is_some_and(|units| !units.iter().all(is_known));
        match change.outcome {
            Outcome::Done => import.done.units += 1,
            _ if is_new && seq <= import.position => {
                import.done.units += 1;
                found.push(seq);
            }
            _ if is_new => {}
            _ => {
                missing.insert(key);
            }
        }
    }
    if !found.is_empty() {
        rows::set_outcome(tx, scope, import.id, &found, Outcome::Done).await?;
    }
    Ok(missing)
}

/// The outcomes of the changes of a batch.
#[derive(Default)]
struct Outcomes(Vec<(i64, Kind, Outcome)>);

impl Outcomes {
    fn add(&mut self, seq: i64, change: &Change, outcome: Outcome) {
        // A class is done when org-registry has created it.
        if outcome != Outcome::Planned {
            self.0.push((seq, change.kind, outcome));
        }
    }

    /// Saves the outcomes, and counts them in the import.
    async fn save(self, tx: &Tx, scope: &OrgScope, import: &mut Import) -> Result<(), Error> {
        let mut distinct: Vec<Outcome> = Vec::new();
        for (_, kind, outcome) in &self.0 {
            match outcome {
                Outcome::Done => import.done.add(*kind),
                Outcome::NoEffect(_) => import.no_effect_count += 1,
                Outcome::Waiting => import.waiting_count += 1,
                Outcome::Planned | Outcome::Dropped => {}
            }
            if !distinct.contains(outcome) {
                distinct.push(*outcome);
            }
        }
        for outcome in distinct {
            let of_outcome = self.0.iter().filter(|(_, _, other)| *other == outcome);
            let numbers: Vec<i64> = of_outcome.map(|(seq, ..)| *seq).collect();
            rows::set_outcome(tx, scope, import.id, &numbers, outcome).await?;
        }
        Ok(())
    }
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
