use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{EnrollmentId, MemberId, OrgId, UnitId};
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use super::{events, model::Enrollment, policy, storage};
use crate::{
    context::{Context, Run},
    endings::{Obstacle, Restored},
    error::Error,
    member_records,
    storage::{end_facts_of, lasting_ids},
};

async fn may_manage(run: Run<'_>, org: OrgId) -> Result<OrgScope, Error> {
    let Run { context, tx, caller } = run;
    Ok(context.authorize(tx, caller, org, policy::manage).await?.scope)
}

async fn require_pupil(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    let row = member_records::storage::lock(tx, scope, member).await?;
    let row = row.ok_or_else(|| Error::unknown("member", member))?;
    if row.state == State::Left || !row.has(Role::Pupil) {
        return Err(Error::not_a_pupil());
    }
    Ok(())
}

/// The outcome of EnrollPupil and TransferPupil.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    enrollment_id: EnrollmentId,
}

impl Stored for Begun {}

/// Enrolls a pupil in a unit, or moves the pupil to it from another one.
#[derive(Debug)]
pub(crate) struct EnrollPupil {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) unit_id: UnitId,
    /// The unit that a transferred pupil leaves.
    pub(crate) from_unit_id: Option<UnitId>,
}

impl Mutation for EnrollPupil {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Begun;
    type View = EnrollmentId;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_manage(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<Begun, Error> {
        let Run { context, tx, caller } = run;
        require_pupil(tx, scope, self.member_id).await?;
        // Between the decision and the lock the caller may have lost the role.
        self.authorize(run).await?;
        context.require_unit(tx, self.org_id, self.unit_id).await?;
        if let Some(from) = self.from_unit_id {
            let ended = end(tx, scope, self.member_id, from).await?;
            storage::note_decision(tx, scope, ended.ok_or_else(Error::not_enrolled)?).await?;
        }
        let id = begin(tx, scope, self.member_id, self.unit_id).await?;
        let id = id.ok_or_else(Error::already_enrolled)?;
        audit(tx, caller, self.org_id, id).await?;
        Ok(Begun { enrollment_id: id })
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, outcome: &Begun) -> Result<EnrollmentId, Error> {
        Ok(outcome.enrollment_id)
    }
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: EnrollmentId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("enrollments/{id}")).await?)
}

/// Enrolls a member in a unit; returns `None` if the member is in it.
pub(crate) async fn begin(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
) -> Result<Option<EnrollmentId>, Error> {
    Ok(begin_all(tx, scope, &[(member, unit)]).await?.pop().flatten())
}

/// Enrolls members in units, as many as one statement takes. Returns `None` for each who is in the unit.
pub(crate) async fn begin_all(
    tx: &Tx,
    scope: &OrgScope,
    of: &[(MemberId, UnitId)],
) -> Result<Vec<Option<EnrollmentId>>, Error> {
    let row = |(member_id, unit_id): &(MemberId, UnitId)| Enrollment {
        org_id: scope.org_id(),
        id: tx.env().id(),
        member_id: *member_id,
        unit_id: *unit_id,
        create_time: tx.now(),
    };
    let mut rows: Vec<Enrollment> = of.iter().map(row).collect();
    let inserted = storage::insert_all(tx, scope, &rows).await?;
    let begun = |row: &Enrollment| inserted.contains(&row.id).then_some(row.id);
    let ids = rows.iter().map(begun).collect();
    rows.retain(|row| inserted.contains(&row.id));
    events::all_begun(tx, scope.org_id(), &rows).await?;
    Ok(ids)
}

/// Ends the enrollment of a member in a unit; returns `None` if the member is not in it.
pub(crate) async fn end(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
) -> Result<Option<EnrollmentId>, Error> {
    let ended = storage::end(tx, scope, member, unit, tx.now()).await?;
    if let Some(id) = ended {
        events::ended(tx, scope.org_id(), id).await?;
    }
    Ok(ended)
}

/// Returns the members and units of those latest enrollments of these members that a decision ended. An
/// import does not enroll the member there again (F9).
pub(crate) async fn ended_by_decision(
    tx: &Tx,
    scope: &OrgScope,
    members: &BTreeSet<MemberId>,
) -> Result<BTreeSet<(MemberId, UnitId)>, Error> {
    Ok(storage::latest_ended_by_decision(tx, scope, members).await?)
}

/// Whether a decision ended the latest enrollment of the member in the unit.
pub(crate) async fn is_ended_by_decision(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
) -> Result<bool, Error> {
    let ended = ended_by_decision(tx, scope, &BTreeSet::from([member])).await?;
    Ok(ended.contains(&(member, unit)))
}

/// Ends every enrollment of a member who leaves.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    for id in end_facts_of::<storage::Enrollments>(tx, scope, member, tx.now()).await? {
        events::ended(tx, scope.org_id(), id).await?;
    }
    Ok(())
}

/// Returns the enrollments of a member that have not ended.
pub(crate) async fn lasting_of(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<EnrollmentId>, Error> {
    Ok(lasting_ids::<storage::Enrollments>(tx, scope, member).await?)
}

/// Whether the pupil was enrolled after a time in another class than that of this enrollment. A pupil has one
/// class, and may attend several groups.
async fn has_another_class(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    row: &Enrollment,
    (since, begun): (DateTime<Utc>, &[EnrollmentId]),
) -> Result<bool, Error> {
    let mut units = storage::units_since(tx, scope, row.member_id, since, begun).await?;
    units.insert(row.unit_id);
    let home = context.roster.home_units(tx, scope.org_id(), &units).await?;
    Ok(home.contains(&row.unit_id) && home.len() > 1)
}

/// Enrolls a pupil again whose enrollment ended with the role. The pupil has the role again, and the record
/// is locked. `later_than` has the time at which the role was lost, and the enrollments that began
/// again before by the same act.
pub(crate) async fn restore(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    id: EnrollmentId,
    later_than: (DateTime<Utc>, &[EnrollmentId]),
) -> Result<Restored<EnrollmentId>, Error> {
    let row = storage::find(tx, scope, id).await?;
    let row = row.ok_or_else(|| Error::unknown("enrollment", id))?;
    if is_ended_by_decision(tx, scope, row.member_id, row.unit_id).await?
        || has_another_class(context, tx, scope, &row, later_than).await?
    {
        return Ok(Restored::Hindered(Obstacle::DecidedSince));
    }
    if !context.has_unit(tx, scope.org_id(), row.unit_id).await? {
        return Ok(Restored::Hindered(Obstacle::UnitUnknown));
    }
    let begun = begin(tx, scope, row.member_id, row.unit_id).await?;
    Ok(begun.map_or(Restored::Lasts, Restored::Begun))
}
