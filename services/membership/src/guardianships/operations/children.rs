use chrono::NaiveDate;
use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::{Mutation, Query, Read};
use parta_ids::{MemberId, OrgId};
use parta_roster::{Role, State};
use parta_status::invalid;

use super::{of_age, require_second_person};
use crate::{
    context::{Context, Run},
    endings::today,
    error::Error,
    guardianships::{events, model::ChildRecord, policy, storage},
    member_records,
    orders::{self, Order},
};

async fn may_administer(run: Run<'_>, org: OrgId) -> Result<OrgScope, Error> {
    let Run { context, tx, caller } = run;
    Ok(context
        .authorize(tx, caller, org, policy::administer)
        .await?
        .scope)
}

/// Locks the record of the child, who is a pupil who has not left, and checks again that the caller may
/// administer, because the caller may have lost the right while this call waited.
async fn lock_child(run: Run<'_>, scope: &OrgScope, child: MemberId) -> Result<ChildRecord, Error> {
    let row = member_records::storage::lock(run.tx, scope, child).await?;
    let row = row.ok_or_else(|| Error::unknown("member", child))?;
    if row.state == State::Left || !row.has(Role::Pupil) {
        return Err(Error::child_unknown());
    }
    may_administer(run, scope.org_id()).await?;
    Ok(storage::children::find(run.tx, scope, child).await?)
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, child: MemberId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("members/{child}")).await?)
}

/// Protects the family of a child, or lifts the protection (R83).
#[derive(Debug)]
pub(crate) struct ProtectFamily {
    pub(crate) org_id: OrgId,
    pub(crate) child_id: MemberId,
    pub(crate) protected: bool,
    pub(crate) order: Option<Order>,
}

impl Mutation for ProtectFamily {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        let Run { context, tx, caller } = run;
        let decider = context
            .authorize(tx, caller, self.org_id, policy::administer)
            .await?;
        let (scope, own) = (decider.scope, decider.member_id);
        require_second_person(tx, &scope, own, self.child_id, self.child_id).await?;
        Ok(scope)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<(), Error> {
        let Run { context, tx, caller } = run;
        let mut record = lock_child(run, scope, self.child_id).await?;
        let order = orders::require(&context.roster, tx, self.org_id, self.order.as_ref()).await?;
        let is_older = |set: &Order| order.date < set.date;
        if record.protected && !self.protected && record.order.as_ref().is_some_and(is_older) {
            return Err(Error::order_required());
        }
        let changes = record.protected != self.protected;
        record.protected = self.protected;
        record.order = Some(order.clone());
        storage::children::save(tx, scope, &record).await?;
        if changes {
            events::protection_changed(tx, self.org_id, self.child_id, self.protected).await?;
        }
        audit(tx, caller, self.org_id, self.child_id).await
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct SetBirthDate {
    pub(crate) org_id: OrgId,
    pub(crate) child_id: MemberId,
    pub(crate) birth_date: NaiveDate,
}

impl Mutation for SetBirthDate {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_administer(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<(), Error> {
        let Run { context, tx, caller } = run;
        let mut record = lock_child(run, scope, self.child_id).await?;
        let today = today(&context.roster, tx, self.org_id).await?;
        if self.birth_date > today {
            return Err(invalid("birth_date", "must not be in the future").into());
        }
        record.birth_date = Some(self.birth_date);
        storage::children::save(tx, scope, &record).await?;
        // A date entered late has effect from now.
        of_age::apply(tx, scope, &[(self.child_id, self.birth_date)], today).await?;
        of_age::schedule(&context.roster, tx, scope, self.child_id, self.birth_date).await?;
        audit(tx, caller, self.org_id, self.child_id).await
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// The part of the record of a child that the administration sees.
#[derive(Debug)]
pub(crate) struct ChildRecordView {
    pub(crate) birth_date: Option<NaiveDate>,
    pub(crate) protected: bool,
}

#[derive(Debug)]
pub(crate) struct GetChildRecord {
    pub(crate) org_id: OrgId,
    pub(crate) child_id: MemberId,
}

impl Query for GetChildRecord {
    type Context = Context;
    type View = ChildRecordView;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<ChildRecordView>, Error> {
        let Run { context, tx, .. } = run;
        let scope = may_administer(run, self.org_id).await?;
        let known = context.contexts_of(tx, self.org_id, self.child_id).await?;
        known.ok_or_else(|| Error::unknown("member", self.child_id))?;
        let record = storage::children::find(tx, &scope, self.child_id).await?;
        let view = ChildRecordView {
            birth_date: record.birth_date,
            protected: record.protected,
        };
        Ok(Read::audited(view, self.org_id, "child_records"))
    }
}
