use chrono::NaiveDate;
use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{DutyId, MemberId, OrgId};
use parta_roster::{DutyKind, DutyScope, Role, State};
use serde::{Deserialize, Serialize};

use super::{events, model::Duty, policy, storage};
use crate::{
    context::{Context, Decider, Run},
    endings::{self, EndingKind, Obstacle, Restored},
    error::Error,
    member_records,
    orders::{self, Order},
    storage::{end_facts_of, lasting_ids},
};

const KIND: &str = "duty";

/// The outcome of AssignDuty.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    duty_id: DutyId,
}

impl Stored for Assigned {}

async fn load(tx: &Tx, scope: &OrgScope, id: DutyId) -> Result<Duty, Error> {
    let row = storage::find(tx, scope, id).await?;
    row.ok_or_else(|| Error::unknown(KIND, id))
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: DutyId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("duties/{id}")).await?)
}

/// Assigns a duty to a member of the staff.
#[derive(Debug)]
pub(crate) struct AssignDuty {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) kind: DutyKind,
    pub(crate) scope: DutyScope,
    pub(crate) order: Option<Order>,
    pub(crate) until: NaiveDate,
}

/// Whether the scope fits the kind, and its unit or pupils are known. Locks the pupils.
async fn is_in_scope(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    kind: DutyKind,
    of_duty: &DutyScope,
) -> Result<bool, Error> {
    match of_duty {
        DutyScope::Organization | DutyScope::Unit(_) if kind.needs_named_pupils() => Ok(false),
        DutyScope::Organization => Ok(true),
        DutyScope::Unit(unit) => context.has_unit(tx, scope.org_id(), *unit).await,
        DutyScope::Pupils(pupils) => {
            // In the order of their ids, as every act locks members.
            for pupil in pupils {
                let row = member_records::storage::lock(tx, scope, *pupil).await?;
                if !row.is_some_and(|row| row.state != State::Left && row.has(Role::Pupil)) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

impl Mutation for AssignDuty {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Assigned;
    type View = Duty;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context.authorize(tx, caller, self.org_id, policy::manage).await?)
    }

    async fn act(&self, run: Run<'_>, assigner: &Decider) -> Result<Assigned, Error> {
        let Run { context, tx, caller } = run;
        assigner.require_second_person(self.member_id)?;
        let scope = &assigner.scope;
        let order = orders::require(&context.roster, tx, self.org_id, self.order.as_ref()).await?;
        let due_time = endings::due_time(&context.roster, tx, self.org_id, self.until).await?;
        let of = (scope, self.member_id);
        let member = member_records::lock_to_decide(self, run, of).await?;
        if !member.roles.iter().any(|role| role.is_staff()) {
            return Err(Error::not_staff());
        }
        if !is_in_scope(context, tx, scope, self.kind, &self.scope).await? {
            return Err(Error::out_of_scope());
        }
        let duty = Duty {
            org_id: self.org_id,
            id: tx.env().id(),
            member_id: self.member_id,
            kind: self.kind,
            scope: self.scope.clone(),
            order: order.clone(),
            create_time: tx.now(),
            until: self.until,
            due_time,
            end_time: None,
            end_cause: None,
        };
        begin(tx, scope, &duty).await?;
        audit(tx, caller, self.org_id, duty.id).await?;
        Ok(Assigned { duty_id: duty.id })
    }

    async fn view(&self, run: Run<'_>, by: &Decider, outcome: &Assigned) -> Result<Duty, Error> {
        load(run.tx, &by.scope, outcome.duty_id).await
    }
}

/// Inserts a duty, publishes it and schedules its end.
async fn begin(tx: &Tx, scope: &OrgScope, duty: &Duty) -> Result<(), Error> {
    storage::insert(tx, scope, duty).await?;
    events::assigned(tx, duty).await?;
    endings::schedule(tx, duty.org_id, EndingKind::Duty, duty.id, duty.due_time).await?;
    Ok(())
}

#[derive(Debug)]
pub(crate) struct EndDuty {
    pub(crate) org_id: OrgId,
    pub(crate) duty_id: DutyId,
    pub(crate) cause: String,
}

impl Mutation for EndDuty {
    type Context = Context;
    type Grant = (OrgScope, Duty);
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<(OrgScope, Duty), Error> {
        let Run { context, tx, caller } = run;
        let authorize = async || context.authorize(tx, caller, self.org_id, policy::manage).await;
        let duty = storage::lock(tx, &authorize().await?.scope, self.duty_id).await?;
        let duty = duty.ok_or_else(|| Error::unknown(KIND, self.duty_id))?;
        // The caller may have lost the role while the row was locked.
        let ender = authorize().await?;
        ender.require_second_person(duty.member_id)?;
        Ok((ender.scope, duty))
    }

    async fn act(&self, run: Run<'_>, (scope, duty): &(OrgScope, Duty)) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        if duty.has_ended() {
            return Err(Error::unknown(KIND, duty.id));
        }
        storage::end(tx, scope, duty.id, tx.now(), &self.cause).await?;
        ended(tx, scope, duty.id).await?;
        audit(tx, caller, self.org_id, duty.id).await
    }

    async fn view(&self, _: Run<'_>, _: &(OrgScope, Duty), (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Lists the duties that have not ended.
#[derive(Debug)]
pub(crate) struct ListDuties {
    pub(crate) org_id: OrgId,
    /// Only those of this holder.
    pub(crate) member_id: Option<MemberId>,
    pub(crate) page: PageRequest,
}

impl Query for ListDuties {
    type Context = Context;
    type View = Page<Duty>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Duty>>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let facts = context.facts(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::list(&facts))?;
        let after = self.page.after(tx, caller)?;
        let own = facts.member_id;
        let rows = if facts.is_administration() {
            storage::list(tx, &scope, self.member_id, after, self.page.limit()).await?
        } else if self.member_id.is_none_or(|member| member == own) {
            storage::list(tx, &scope, Some(own), after, self.page.limit()).await?
        } else {
            Vec::new()
        };
        let page = self.page.page(tx, caller, rows, |row| row.id);
        Ok(Read::audited(page, org, "duties"))
    }
}

/// Ends every duty of a member who leaves or does not work in the organization any longer.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    for id in end_facts_of::<storage::Duties>(tx, scope, member, tx.now()).await? {
        ended(tx, scope, id).await?;
    }
    Ok(())
}

/// Ends a duty whose last day is over. Does nothing if it has ended otherwise.
pub(crate) async fn end_due(tx: &Tx, scope: &OrgScope, id: DutyId) -> Result<(), Error> {
    if storage::end_due(tx, scope, id, tx.now()).await? {
        ended(tx, scope, id).await?;
    }
    Ok(())
}

/// Ends a duty that had ended before the database was restored. Does nothing if it has ended.
pub(crate) async fn end_again(tx: &Tx, scope: &OrgScope, id: DutyId, cause: &str) -> Result<(), Error> {
    let duty = storage::lock(tx, scope, id).await?;
    if duty.is_some_and(|duty| !duty.has_ended()) {
        storage::end(tx, scope, id, tx.now(), cause).await?;
        ended(tx, scope, id).await?;
    }
    Ok(())
}

/// Returns the duties of a member that have not ended.
pub(crate) async fn lasting_of(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<Vec<DutyId>, Error> {
    Ok(lasting_ids::<storage::Duties>(tx, scope, member).await?)
}

/// Returns the duties that name a member among their pupils, also those that have ended.
pub(crate) async fn naming(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<Vec<DutyId>, Error> {
    Ok(storage::naming(tx, scope, member).await?)
}

/// Begins a duty again that ended with the last staff role of its holder, who has one again and whose
/// record is locked. `begun` are the duties that began again before it by the same act.
pub(crate) async fn restore(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    id: DutyId,
    begun: &[DutyId],
) -> Result<Restored<DutyId>, Error> {
    let ended = load(tx, scope, id).await?;
    let is_same = |other: &Duty| other.kind == ended.kind && other.scope == ended.scope;
    if storage::list_lasting(tx, scope, ended.member_id)
        .await?
        .iter()
        .any(is_same)
    {
        return Ok(Restored::Lasts);
    }
    let latest = storage::latest(tx, scope, (ended.member_id, ended.kind), begun).await?;
    let is_decided = latest.is_some_and(|latest| {
        let is_later = ended.end_time.is_some_and(|time| latest.create_time > time);
        is_later && (latest.end_cause.is_some() || latest.scope != ended.scope)
    });
    if ended.end_cause.is_some() || is_decided {
        return Ok(Restored::Hindered(Obstacle::DecidedSince));
    }
    if ended.due_time <= tx.now() {
        return Ok(Restored::Hindered(Obstacle::Expired));
    }
    if !is_in_scope(context, tx, scope, ended.kind, &ended.scope).await? {
        let obstacle = match ended.scope {
            DutyScope::Pupils(_) => Obstacle::PersonAbsent,
            DutyScope::Organization | DutyScope::Unit(_) => Obstacle::UnitUnknown,
        };
        return Ok(Restored::Hindered(obstacle));
    }
    let duty = Duty {
        id: tx.env().id(),
        create_time: tx.now(),
        end_time: None,
        ..ended
    };
    begin(tx, scope, &duty).await?;
    Ok(Restored::Begun(duty.id))
}

/// Publishes the end of a duty and forgets its time.
async fn ended(tx: &Tx, scope: &OrgScope, id: DutyId) -> Result<(), Error> {
    endings::forget(tx, scope.org_id(), EndingKind::Duty, id).await?;
    events::ended(tx, scope.org_id(), id).await
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let assigned = Assigned {
            duty_id: DutyId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"duty_id\":\"{}\"}}", assigned.duty_id);
        let stored = assigned.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Assigned::decode(&stored).unwrap(), assigned);
    }
}
