use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{AssignmentId, MemberId, OrgId, UnitId};
use parta_roster::{Role, State};
use parta_status::invalid;
use serde::{Deserialize, Serialize};

use super::{
    events,
    model::{Assignment, AssignmentKind, OwnEnd},
    policy, storage,
};
use crate::{
    context::{Context, Run},
    endings::{self, EndingKind, Obstacle, Restored},
    error::Error,
    member_records,
    storage::{end_facts_of, lasting_ids},
};

const KIND: &str = "assignment";

async fn may_manage(run: Run<'_>, org: OrgId) -> Result<OrgScope, Error> {
    let Run { context, tx, caller } = run;
    Ok(context.authorize(tx, caller, org, policy::manage).await?.scope)
}

/// The outcome of CreateAssignment.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Created {
    assignment_id: AssignmentId,
}

impl Stored for Created {}

/// Gives a teacher an assignment.
#[derive(Debug)]
pub(crate) struct CreateAssignment {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) unit_id: UnitId,
    pub(crate) kind: AssignmentKind,
    pub(crate) expire_time: Option<DateTime<Utc>>,
    /// The last day; set instead of `expire_time`.
    pub(crate) until: Option<NaiveDate>,
}

impl CreateAssignment {
    /// Returns the end that the assignment has by itself. Refuses one that has come.
    async fn own_end(&self, context: &Context, tx: &Tx) -> Result<Option<OwnEnd>, Error> {
        let time = match self.until {
            Some(day) => {
                let zone = endings::time_zone(&context.roster, tx, self.org_id).await?;
                Some(endings::end_of_day(day, zone))
            }
            None => self.expire_time,
        };
        if time.is_some_and(|time| time <= tx.now()) {
            let (path, rule) = match self.until {
                Some(_) => ("until_date", "must not be in the past"),
                None => ("expire_time", "must be in the future"),
            };
            return Err(invalid(path, rule).into());
        }
        let until = self.until;
        Ok(time.map(|time| OwnEnd { time, until }))
    }
}

impl Mutation for CreateAssignment {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Created;
    type View = Assignment;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_manage(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<Created, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let own_end = self.own_end(context, tx).await?;
        if caller.person() == Some((org, self.member_id)) {
            return Err(Error::second_person_required());
        }
        let member = member_records::storage::lock(tx, scope, self.member_id).await?;
        let member = member.ok_or_else(|| Error::unknown("member", self.member_id))?;
        // Between the decision and the lock the caller may have lost the role.
        self.authorize(run).await?;
        if member.state == State::Left || !member.has(Role::Teacher) {
            return Err(Error::not_a_teacher());
        }
        context.require_unit(tx, org, self.unit_id).await?;
        let id = begin(tx, scope, self.member_id, self.unit_id, self.kind, own_end).await?;
        let id = id.ok_or_else(Error::already_assigned)?;
        audit(tx, caller, org, id).await?;
        Ok(Created { assignment_id: id })
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &Created) -> Result<Assignment, Error> {
        let id = outcome.assignment_id;
        let row = storage::find(run.tx, scope, id).await?;
        row.ok_or_else(|| Error::unknown(KIND, id))
    }
}

#[derive(Debug)]
pub(crate) struct EndAssignment {
    pub(crate) org_id: OrgId,
    pub(crate) assignment_id: AssignmentId,
}

impl Mutation for EndAssignment {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_manage(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let id = self.assignment_id;
        let has_ended = storage::end(tx, scope, id, true, tx.now()).await?;
        // The caller may have lost the role while the row was locked.
        self.authorize(run).await?;
        if !has_ended {
            return Err(Error::unknown(KIND, id));
        }
        ended(tx, self.org_id, id).await?;
        audit(tx, caller, self.org_id, id).await
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Lists the assignments that the caller may see and that last.
#[derive(Debug)]
pub(crate) struct ListAssignments {
    pub(crate) org_id: OrgId,
    /// Only those in this unit.
    pub(crate) unit_id: Option<UnitId>,
    /// Only those of this teacher.
    pub(crate) member_id: Option<MemberId>,
    pub(crate) page: PageRequest,
}

impl Query for ListAssignments {
    type Context = Context;
    type View = Page<Assignment>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Assignment>>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let (scope, visible) = member_records::visible_members(run, org).await?;
        let mut units = match caller.person() {
            Some(_) => {
                let facts = context.facts(tx, caller, org).await?;
                (!facts.is_staff()).then(|| facts.units())
            }
            None => None,
        };
        if let Some(unit) = self.unit_id {
            let visible = units.as_ref().is_none_or(|units| units.contains(&unit));
            units = Some(visible.then_some(unit).into_iter().collect());
        }
        let after = self.page.after(tx, caller)?;
        let filter = storage::Filter {
            units: units.as_ref(),
            member: self.member_id,
            // Members see assignments by unit; a service account sees none of a protected family.
            among: visible.as_ref().filter(|_| caller.person().is_none()),
            now: tx.now(),
        };
        let rows = storage::list(tx, &scope, &filter, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: AssignmentId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("assignments/{id}")).await?)
}

/// Begins an assignment of a teacher; returns `None` if the teacher holds it. One that has run out is ended
/// first, so that it may be given again.
pub(crate) async fn begin(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
    kind: AssignmentKind,
    own_end: Option<OwnEnd>,
) -> Result<Option<AssignmentId>, Error> {
    let row = new(tx, scope, (member, unit, kind), own_end);
    let inserted = insert_all(tx, scope, std::slice::from_ref(&row)).await?;
    Ok(inserted.contains(&row.id).then_some(row.id))
}

/// Begins assignments without an end of their own, as [`begin`] does, as many as one statement takes. Returns
/// `false` for each that its teacher holds.
pub(crate) async fn begin_all(
    tx: &Tx,
    scope: &OrgScope,
    of: &[(MemberId, UnitId, AssignmentKind)],
) -> Result<Vec<bool>, Error> {
    let rows: Vec<Assignment> = of.iter().map(|place| new(tx, scope, *place, None)).collect();
    let inserted = insert_all(tx, scope, &rows).await?;
    Ok(rows.iter().map(|row| inserted.contains(&row.id)).collect())
}

fn new(
    tx: &Tx,
    scope: &OrgScope,
    (member_id, unit_id, kind): (MemberId, UnitId, AssignmentKind),
    own_end: Option<OwnEnd>,
) -> Assignment {
    Assignment {
        org_id: scope.org_id(),
        id: tx.env().id(),
        member_id,
        unit_id,
        kind,
        create_time: tx.now(),
        own_end,
        end_time: None,
    }
}

/// Inserts assignments with their own ends. Returns the ids of those that their teachers did not hold.
async fn insert_all(tx: &Tx, scope: &OrgScope, rows: &[Assignment]) -> Result<BTreeSet<AssignmentId>, Error> {
    let org = scope.org_id();
    let members = rows.iter().map(|row| row.member_id).collect();
    for id in storage::end_expired(tx, scope, &members, tx.now()).await? {
        ended(tx, org, id).await?;
    }
    let inserted = storage::insert_all(tx, scope, rows).await?;
    let begun: Vec<&Assignment> = rows.iter().filter(|row| inserted.contains(&row.id)).collect();
    for row in &begun {
        if let Some(end) = row.own_end {
            endings::schedule(tx, org, EndingKind::Assignment, row.id, end.time).await?;
        }
    }
    events::all_begun(tx, org, &begun).await?;
    Ok(inserted)
}

/// Moves the lasting assignments of an expected teacher to the member with whose record the teacher's is
/// joined, who is a teacher. They keep the time of their beginning, which decides whether one is a
/// substitution. One that a decision ended for the member does not begin again.
pub(crate) async fn hand_over(tx: &Tx, scope: &OrgScope, from: MemberId, to: MemberId) -> Result<(), Error> {
    for id in lasting_ids::<storage::Assignments>(tx, scope, from).await? {
        let row = storage::find(tx, scope, id).await?;
        let row = row.ok_or_else(|| Error::unknown(KIND, id))?;
        if !storage::end(tx, scope, id, false, tx.now()).await? {
            continue;
        }
        ended(tx, scope.org_id(), id).await?;
        let is_over = row.own_end.is_some_and(|end| end.time <= tx.now());
        if is_over || is_ended_by_decision(tx, scope, to, row.unit_id, row.kind).await? {
            continue;
        }
        let row = Assignment {
            id: tx.env().id(),
            member_id: to,
            ..row
        };
        insert_all(tx, scope, std::slice::from_ref(&row)).await?;
    }
    Ok(())
}

/// Ends every assignment of a member who leaves or is no longer a teacher.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    for id in end_facts_of::<storage::Assignments>(tx, scope, member, tx.now()).await? {
        ended(tx, scope.org_id(), id).await?;
    }
    Ok(())
}

/// Ends an assignment whose time has come. Does nothing if it has ended otherwise.
pub(crate) async fn end_due(tx: &Tx, scope: &OrgScope, id: AssignmentId) -> Result<(), Error> {
    if storage::end(tx, scope, id, false, tx.now()).await? {
        ended(tx, scope.org_id(), id).await?;
    }
    Ok(())
}

/// Returns those latest assignments of these members, by unit and the number of the kind, that a decision
/// ended. An import does not give them again (F9).
pub(crate) async fn ended_by_decision(
    tx: &Tx,
    scope: &OrgScope,
    members: &BTreeSet<MemberId>,
) -> Result<BTreeSet<(MemberId, UnitId, i32)>, Error> {
    Ok(storage::latest_ended_by_decision(tx, scope, members).await?)
}

/// Whether a decision ended the latest assignment of this kind that the member had in the unit.
pub(crate) async fn is_ended_by_decision(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
    kind: AssignmentKind,
) -> Result<bool, Error> {
    let ended = ended_by_decision(tx, scope, &BTreeSet::from([member])).await?;
    Ok(ended.contains(&(member, unit, kind.number())))
}

/// Returns the assignments of a member that have not ended.
pub(crate) async fn lasting_of(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<AssignmentId>, Error> {
    Ok(lasting_ids::<storage::Assignments>(tx, scope, member).await?)
}

/// Begins an assignment again that ended with the role of its teacher, who has the role again and whose
/// record is locked. `since` is the time at which the role was lost.
pub(crate) async fn restore(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    id: AssignmentId,
    since: DateTime<Utc>,
) -> Result<Restored<AssignmentId>, Error> {
    let row = storage::find(tx, scope, id).await?;
    let row = row.ok_or_else(|| Error::unknown(KIND, id))?;
    if is_ended_by_decision(tx, scope, row.member_id, row.unit_id, row.kind).await? {
        return Ok(Restored::Hindered(Obstacle::DecidedSince));
    }
    if let Some(later) = storage::latest_since(tx, scope, &row, since).await? {
        let has_run_out = later.own_end.is_some_and(|end| end.time <= tx.now());
        return Ok(if later.end_time.is_some() || has_run_out {
            Restored::Hindered(Obstacle::DecidedSince)
        } else {
            Restored::Lasts
        });
    }
    if row.own_end.is_some_and(|end| end.time <= tx.now()) {
        return Ok(Restored::Hindered(Obstacle::Expired));
    }
    if !context.has_unit(tx, scope.org_id(), row.unit_id).await? {
        return Ok(Restored::Hindered(Obstacle::UnitUnknown));
    }
    let begun = begin(tx, scope, row.member_id, row.unit_id, row.kind, row.own_end).await?;
    Ok(begun.map_or(Restored::Lasts, Restored::Begun))
}

/// Publishes the end of an assignment and forgets its time.
async fn ended(tx: &Tx, org: OrgId, id: AssignmentId) -> Result<(), Error> {
    endings::forget(tx, org, EndingKind::Assignment, id).await?;
    events::ended(tx, org, id).await
}
