use chrono::{DateTime, NaiveDate, Utc};
use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Query, Read, Stored};
use parta_ids::{ActingHeadId, MemberId, OrgId};
use parta_roster::{Role, State};
use parta_status::invalid;
use serde::{Deserialize, Serialize};

use super::{events, model::ActingHead, policy, storage};
use crate::{
    context::Context,
    endings::{self, EndingKind},
    error::Error,
    member_records,
    orders::{self, Order},
};

const KIND: &str = "acting_head";

/// The outcome of AppointActingHead.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Appointed {
    acting_head_id: ActingHeadId,
}

impl Stored for Appointed {}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: ActingHeadId) -> Result<(), Error> {
    let object = format!("organizations/{org}/acting-heads/{id}");
    Ok(parta_audit::record(tx, caller, Some(org), object).await?)
}

async fn may_appoint(
    context: &Context,
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
) -> Result<(OrgScope, MemberId), Error> {
    let facts = context.facts(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::appoint(&facts))?;
    Ok((scope, facts.member_id))
}

/// Lets a deputy act as the head until a day.
#[derive(Debug)]
pub(crate) struct AppointActingHead {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) order: Option<Order>,
    pub(crate) until: NaiveDate,
}

impl AppointActingHead {
    /// Returns when the last day is over. Refuses a day that is over.
    async fn due_time(&self, context: &Context, tx: &Tx) -> Result<DateTime<Utc>, Error> {
        let zone = endings::time_zone(&context.roster, tx, self.org_id).await?;
        let due = endings::end_of_day(self.until, zone);
        if due <= tx.now() {
            return Err(invalid("until_date", "must not be in the past").into());
        }
        Ok(due)
    }
}

impl Mutation for AppointActingHead {
    type Context = Context;
    type Grant = (OrgScope, MemberId);
    type Outcome = Appointed;
    type View = ActingHead;
    type Error = Error;

    async fn authorize(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<(OrgScope, MemberId), Error> {
        may_appoint(context, tx, caller, self.org_id).await
    }

    async fn act(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
        (scope, appointer): &(OrgScope, MemberId),
    ) -> Result<Appointed, Error> {
        if *appointer == self.member_id {
            return Err(Error::second_person_required());
        }
        let order = orders::require(&context.roster, tx, self.org_id, self.order.as_ref()).await?;
        let due_time = self.due_time(context, tx).await?;
        let member = member_records::storage::lock(tx, scope, self.member_id).await?;
        let member = member.ok_or_else(|| Error::unknown("member", self.member_id))?;
        // Between the decision and the lock the caller may have lost the role.
        self.authorize(context, tx, caller).await?;
        if member.state == State::Left {
            return Err(Error::member_left());
        }
        if !member.has(Role::Deputy) {
            return Err(Error::not_a_deputy());
        }
        let row = ActingHead {
            org_id: self.org_id,
            id: tx.env().id(),
            member_id: self.member_id,
            order: order.clone(),
            appointer_id: *appointer,
            create_time: tx.now(),
            until: self.until,
            due_time,
            end_time: None,
            end_cause: None,
        };
        if !storage::insert(tx, scope, &row).await? {
            return Err(Error::acting_head_present());
        }
        events::appointed(tx, &row).await?;
        endings::schedule(tx, self.org_id, EndingKind::ActingHead, row.id, due_time).await?;
        audit(tx, caller, self.org_id, row.id).await?;
        Ok(Appointed {
            acting_head_id: row.id,
        })
    }

    async fn view(
        &self,
        _: &Context,
        tx: &Tx,
        (scope, _): &(OrgScope, MemberId),
        outcome: &Appointed,
    ) -> Result<ActingHead, Error> {
        let row = storage::find(tx, scope, outcome.acting_head_id).await?;
        row.ok_or_else(|| Error::unknown(KIND, outcome.acting_head_id))
    }
}

/// Ends the appointment of an acting head before its last day.
#[derive(Debug)]
pub(crate) struct EndActingHead {
    pub(crate) org_id: OrgId,
    pub(crate) acting_head_id: ActingHeadId,
    pub(crate) cause: String,
}

impl Mutation for EndActingHead {
    type Context = Context;
    type Grant = (OrgScope, ActingHead);
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<(OrgScope, ActingHead), Error> {
        let (scope, _) = may_appoint(context, tx, caller, self.org_id).await?;
        let row = storage::lock(tx, &scope, self.acting_head_id).await?;
        let row = row.ok_or_else(|| Error::unknown(KIND, self.acting_head_id))?;
        // The caller may have lost the role while the row was locked.
        let (scope, ender) = may_appoint(context, tx, caller, self.org_id).await?;
        if row.member_id == ender {
            return Err(Error::second_person_required());
        }
        Ok((scope, row))
    }

    async fn act(
        &self,
        _: &Context,
        tx: &Tx,
        caller: &Caller,
        (scope, row): &(OrgScope, ActingHead),
    ) -> Result<(), Error> {
        if row.end_time.is_some() {
            return Err(Error::unknown(KIND, row.id));
        }
        storage::end(tx, scope, row.id, tx.now(), &self.cause).await?;
        ended(tx, scope, row.id, row.member_id).await?;
        audit(tx, caller, self.org_id, row.id).await
    }

    async fn view(&self, _: &Context, _: &Tx, _: &(OrgScope, ActingHead), (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Reads the acting head of the organization.
#[derive(Debug)]
pub(crate) struct GetActingHead {
    pub(crate) org_id: OrgId,
}

impl Query for GetActingHead {
    type Context = Context;
    type View = Option<ActingHead>;
    type Error = Error;

    async fn run(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<Read<Option<ActingHead>>, Error> {
        let facts = context.facts(tx, caller, self.org_id).await?;
        authorize(caller, self.org_id, policy::read(&facts))?;
        Ok(Read::plain(storage::find_current(tx, self.org_id).await?))
    }
}

/// Returns the appointments of a member that have not ended.
pub(crate) async fn lasting_of(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<ActingHeadId>, Error> {
    Ok(storage::lasting_of(tx, scope, member).await?)
}

/// Ends the appointment of a member who leaves or is no longer a deputy.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    for id in storage::end_all_of(tx, scope, member, tx.now()).await? {
        ended(tx, scope, id, member).await?;
    }
    Ok(())
}

/// Ends an appointment whose last day is over. Does nothing if it has ended otherwise.
pub(crate) async fn end_due(tx: &Tx, scope: &OrgScope, id: ActingHeadId) -> Result<(), Error> {
    let row = storage::find(tx, scope, id).await?;
    if let Some(row) = row
        && storage::end_due(tx, scope, id, tx.now()).await?
    {
        ended(tx, scope, id, row.member_id).await?;
    }
    Ok(())
}

/// Publishes the end of an appointment and forgets its time.
async fn ended(tx: &Tx, scope: &OrgScope, id: ActingHeadId, member: MemberId) -> Result<(), Error> {
    endings::forget(tx, scope.org_id(), EndingKind::ActingHead, id).await?;
    events::ended(tx, scope.org_id(), member).await
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let appointed = Appointed {
            acting_head_id: ActingHeadId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"acting_head_id\":\"{}\"}}", appointed.acting_head_id);
        let stored = appointed.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Appointed::decode(&stored).unwrap(), appointed);
    }
}
