use chrono::NaiveDate;
use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::{Mutation, Query, Read, Stored};
use parta_ids::{ActingHeadId, MemberId, OrgId};
use parta_roster::Role;
use serde::{Deserialize, Serialize};

use super::{events, model::ActingHead, policy, storage};
use crate::{
    context::{Context, Decider, Run},
    endings::{self, EndingKind},
    error::Error,
    member_records,
    orders::{self, Order},
    storage::{end_facts_of, lasting_ids},
};

const KIND: &str = "acting_head";

/// The outcome of AppointActingHead.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Appointed {
    acting_head_id: ActingHeadId,
}

impl Stored for Appointed {}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: ActingHeadId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("acting-heads/{id}")).await?)
}

/// Lets a deputy act as the head until a day.
#[derive(Debug)]
pub(crate) struct AppointActingHead {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) order: Option<Order>,
    pub(crate) until: NaiveDate,
}

impl Mutation for AppointActingHead {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Appointed;
    type View = ActingHead;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context
            .authorize(tx, caller, self.org_id, policy::appoint)
            .await?)
    }

    async fn act(&self, run: Run<'_>, appointer: &Decider) -> Result<Appointed, Error> {
        let Run { context, tx, caller } = run;
        appointer.require_second_person(self.member_id)?;
        let scope = &appointer.scope;
        let order = orders::require(&context.roster, tx, self.org_id, self.order.as_ref()).await?;
        let due_time = endings::due_time(&context.roster, tx, self.org_id, self.until).await?;
        let of = (scope, self.member_id);
        let member = member_records::lock_to_decide(self, run, of).await?;
        if !member.has(Role::Deputy) {
            return Err(Error::not_a_deputy());
        }
        let row = ActingHead {
            org_id: self.org_id,
            id: tx.env().id(),
            member_id: self.member_id,
            order: order.clone(),
            appointer_id: appointer.member_id,
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
        run: Run<'_>,
        appointer: &Decider,
        outcome: &Appointed,
    ) -> Result<ActingHead, Error> {
        let row = storage::find(run.tx, &appointer.scope, outcome.acting_head_id).await?;
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

    async fn authorize(&self, run: Run<'_>) -> Result<(OrgScope, ActingHead), Error> {
        let Run { context, tx, caller } = run;
        let authorize = async || context.authorize(tx, caller, self.org_id, policy::appoint).await;
        let row = storage::lock(tx, &authorize().await?.scope, self.acting_head_id).await?;
        let row = row.ok_or_else(|| Error::unknown(KIND, self.acting_head_id))?;
        // The caller may have lost the role while the row was locked.
        let ender = authorize().await?;
        ender.require_second_person(row.member_id)?;
        Ok((ender.scope, row))
    }

    async fn act(&self, run: Run<'_>, (scope, row): &(OrgScope, ActingHead)) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        if row.end_time.is_some() {
            return Err(Error::unknown(KIND, row.id));
        }
        storage::end(tx, scope, row.id, tx.now(), &self.cause).await?;
        ended(tx, scope, row.id, row.member_id).await?;
        audit(tx, caller, self.org_id, row.id).await
    }

    async fn view(&self, _: Run<'_>, _: &(OrgScope, ActingHead), (): &()) -> Result<(), Error> {
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

    async fn run(&self, run: Run<'_>) -> Result<Read<Option<ActingHead>>, Error> {
        let Run { context, tx, caller } = run;
        let reader = context.authorize(tx, caller, self.org_id, policy::read).await?;
        Ok(Read::plain(
            storage::find_current(tx, reader.scope.org_id()).await?,
        ))
    }
}

/// Returns the appointments of a member that have not ended.
pub(crate) async fn lasting_of(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<ActingHeadId>, Error> {
    Ok(lasting_ids::<storage::ActingHeads>(tx, scope, member).await?)
}

/// Ends the appointment of a member who leaves or is no longer a deputy.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    for id in end_facts_of::<storage::ActingHeads>(tx, scope, member, tx.now()).await? {
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
