use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, Principal, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{MemberId, OrgId, SuspensionId};
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use super::{
    events,
    model::{DECISION_TIME, Suspension},
    policy, storage,
};
use crate::{
    context::{Context, Decider, Run},
    error::Error,
    member_records::{self, Member},
    notices::{self, Notice},
};

const KIND: &str = "suspension";

/// The outcome of SuspendMember and of a decision about a suspension.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Suspended {
    suspension_id: SuspensionId,
}

impl Stored for Suspended {}

async fn load(tx: &Tx, scope: &OrgScope, id: SuspensionId) -> Result<Suspension, Error> {
    let row = storage::find(tx, scope, id).await?;
    row.ok_or_else(|| Error::unknown(KIND, id))
}

async fn audit(tx: &Tx, caller: &Caller, row: &Suspension) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, row.org_id, format!("suspensions/{}", row.id)).await?)
}

/// Suspends a member at once.
#[derive(Debug)]
pub(crate) struct SuspendMember {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    /// `None` for all roles.
    pub(crate) roles: Option<BTreeSet<Role>>,
    pub(crate) cause: String,
}

impl Mutation for SuspendMember {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Suspended;
    type View = Suspension;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context
            .authorize(tx, caller, self.org_id, policy::suspend)
            .await?)
    }

    async fn act(&self, run: Run<'_>, suspender: &Decider) -> Result<Suspended, Error> {
        let Run { tx, caller, .. } = run;
        let scope = &suspender.scope;
        let both = (suspender, self.member_id);
        member_records::lock_both_to_decide(self, run, both).await?;
        let present = storage::list_of(tx, scope, [self.member_id]).await?;
        if present.iter().any(|row| row.covers(self.roles.as_ref())) {
            return Err(Error::already_suspended());
        }
        let row = Suspension {
            org_id: self.org_id,
            id: tx.env().id(),
            member_id: self.member_id,
            roles: self.roles.clone(),
            create_time: tx.now(),
            suspender_id: Some(suspender.member_id),
            cause: self.cause.clone(),
            confirm_time: None,
            confirmer_id: None,
            end_time: None,
            ender_id: None,
            end_cause: None,
        };
        storage::insert(tx, scope, &row).await?;
        events::suspended(tx, &row).await?;
        let suspension_id = row.id;
        notices::deliver(tx, self.org_id, Notice::SuspensionBegun { suspension_id }).await?;
        let to_decide = Notice::SuspensionToDecide {
            suspension_id,
            decider_id: None,
        };
        notices::deliver(tx, self.org_id, to_decide).await?;
        audit(tx, caller, &row).await?;
        Ok(Suspended {
            suspension_id: row.id,
        })
    }

    async fn view(&self, run: Run<'_>, by: &Decider, outcome: &Suspended) -> Result<Suspension, Error> {
        load(run.tx, &by.scope, outcome.suspension_id).await
    }
}

/// Begins a suspension again that the restored database has lost. Does nothing if it knows the suspension, or
/// if the member has left or is unknown.
pub(crate) async fn begin_again(
    tx: &Tx,
    scope: &OrgScope,
    id: SuspensionId,
    member_id: MemberId,
    roles: &BTreeSet<Role>,
    cause: &str,
) -> Result<(), Error> {
    let member = member_records::storage::lock(tx, scope, member_id).await?;
    let is_present = member.is_some_and(|member| member.state != State::Left);
    if !is_present || storage::find(tx, scope, id).await?.is_some() {
        return Ok(());
    }
    let row = Suspension {
        org_id: scope.org_id(),
        id,
        member_id,
        roles: (!roles.is_empty()).then(|| roles.clone()),
        create_time: tx.now(),
        suspender_id: None,
        cause: cause.to_owned(),
        confirm_time: None,
        confirmer_id: None,
        end_time: None,
        ender_id: None,
        end_cause: None,
    };
    storage::insert(tx, scope, &row).await?;
    events::suspended(tx, &row).await
}

/// The proof that the caller may decide about this suspension, whose row is locked.
pub(crate) struct MayDecide {
    scope: OrgScope,
    /// `None` for the operator.
    decider: Option<MemberId>,
    row: Suspension,
}

async fn may_decide(run: Run<'_>, org: OrgId, id: SuspensionId) -> Result<MayDecide, Error> {
    let Run { context, tx, caller } = run;
    let unknown = || Error::unknown(KIND, id);
    if let Principal::Operator { .. } = caller.acting() {
        let scope = authorize(caller, org, policy::decide_as_operator())?;
        let row = storage::lock(tx, &scope, id).await?.ok_or_else(unknown)?;
        return Ok(MayDecide {
            scope,
            decider: None,
            row,
        });
    }
    let authorize = async || context.authorize(tx, caller, org, policy::decide).await;
    let row = storage::lock(tx, &authorize().await?.scope, id).await?;
    let row = row.ok_or_else(unknown)?;
    // The caller may have lost the right while the row was locked.
    let Decider { scope, member_id } = authorize().await?;
    if !policy::is_second_person(member_id, row.member_id, row.suspender_id) {
        return Err(Error::second_person_required());
    }
    Ok(MayDecide {
        scope,
        decider: Some(member_id),
        row,
    })
}

/// Confirms a suspension. Confirming a confirmed one changes nothing.
#[derive(Debug)]
pub(crate) struct ConfirmSuspension {
    pub(crate) org_id: OrgId,
    pub(crate) suspension_id: SuspensionId,
}

impl Mutation for ConfirmSuspension {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = Suspended;
    type View = Suspension;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        may_decide(run, self.org_id, self.suspension_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<Suspended, Error> {
        let Run { tx, caller, .. } = run;
        let MayDecide { scope, decider, row } = grant;
        if row.has_ended() {
            return Err(Error::unknown(KIND, row.id));
        }
        if row.confirm_time.is_none() {
            let row = Suspension {
                confirm_time: Some(tx.now()),
                confirmer_id: *decider,
                ..row.clone()
            };
            storage::update(tx, scope, &row).await?;
            audit(tx, caller, &row).await?;
        }
        Ok(Suspended {
            suspension_id: row.id,
        })
    }

    async fn view(&self, run: Run<'_>, grant: &MayDecide, outcome: &Suspended) -> Result<Suspension, Error> {
        load(run.tx, &grant.scope, outcome.suspension_id).await
    }
}

/// Lifts a suspension.
#[derive(Debug)]
pub(crate) struct ReinstateMember {
    pub(crate) org_id: OrgId,
    pub(crate) suspension_id: SuspensionId,
    pub(crate) cause: String,
}

impl Mutation for ReinstateMember {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        may_decide(run, self.org_id, self.suspension_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let MayDecide { scope, decider, row } = grant;
        if row.has_ended() {
            return Err(Error::unknown(KIND, row.id));
        }
        let row = Suspension {
            end_time: Some(tx.now()),
            ender_id: *decider,
            end_cause: Some(self.cause.clone()),
            ..row.clone()
        };
        storage::update(tx, scope, &row).await?;
        events::reinstated(tx, &row).await?;
        audit(tx, caller, &row).await
    }

    async fn view(&self, _: Run<'_>, _: &MayDecide, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Lists the suspensions of the organization that were not lifted.
#[derive(Debug)]
pub(crate) struct ListSuspensions {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListSuspensions {
    type Context = Context;
    type View = Page<Suspension>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Suspension>>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let reader = context.authorize(tx, caller, org, policy::suspend).await?;
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &reader.scope, reader.member_id, after, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, |row| row.id);
        Ok(Read::audited(page, org, "suspensions"))
    }
}

/// Lists the suspensions of all organizations that nobody has decided in time.
#[derive(Debug)]
pub(crate) struct ListOverdueSuspensions {
    pub(crate) page: PageRequest,
}

impl Query for ListOverdueSuspensions {
    type Context = Context;
    type View = Page<Suspension>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Suspension>>, Error> {
        let Run { tx, caller, .. } = run;
        let after = self.page.after(tx, caller)?;
        let before = tx.now() - DECISION_TIME;
        let rows = storage::list_undecided(tx, before, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

/// Returns those of the members of whom a role is suspended.
pub(crate) async fn absent(
    tx: &Tx,
    scope: &OrgScope,
    members: &[Member],
) -> Result<BTreeSet<MemberId>, Error> {
    let rows = storage::list_of(tx, scope, members.iter().map(|member| member.id)).await?;
    let suspends = |member: &Member, row: &Suspension| {
        let held = |roles: &BTreeSet<Role>| !roles.is_disjoint(&member.roles);
        row.member_id == member.id && row.roles.as_ref().is_none_or(held)
    };
    let is_absent = |member: &&Member| rows.iter().any(|row| suspends(member, row));
    Ok(members.iter().filter(is_absent).map(|member| member.id).collect())
}

/// Returns those of the members whose role is not suspended.
pub(crate) async fn in_force(
    tx: &Tx,
    scope: &OrgScope,
    members: Vec<Member>,
    role: Role,
) -> Result<Vec<Member>, Error> {
    let rows = storage::list_of(tx, scope, members.iter().map(|member| member.id)).await?;
    let suspended = |member: &Member| {
        let role = BTreeSet::from([role]);
        rows.iter()
            .any(|row| row.member_id == member.id && row.covers(Some(&role)))
    };
    Ok(members.into_iter().filter(|member| !suspended(member)).collect())
}

/// Returns the member whom a suspension stops; `None` if it was lifted.
pub(crate) async fn suspended(
    tx: &Tx,
    scope: &OrgScope,
    id: SuspensionId,
) -> Result<Option<MemberId>, Error> {
    let row = storage::find(tx, scope, id).await?;
    Ok(row.filter(|row| !row.has_ended()).map(|row| row.member_id))
}

/// Returns those of the members of the administration who may decide about a suspension; none if it was
/// decided.
pub(crate) async fn second_persons(
    tx: &Tx,
    scope: &OrgScope,
    id: SuspensionId,
    mut administration: Vec<MemberId>,
) -> Result<Vec<MemberId>, Error> {
    let row = storage::find(tx, scope, id).await?;
    let Some(row) = row.filter(|row| !row.has_ended() && row.confirm_time.is_none()) else {
        return Ok(Vec::new());
    };
    administration.retain(|id| policy::is_second_person(*id, row.member_id, row.suspender_id));
    Ok(administration)
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let suspended = Suspended {
            suspension_id: SuspensionId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"suspension_id\":\"{}\"}}", suspended.suspension_id);
        let stored = suspended.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Suspended::decode(&stored).unwrap(), suspended);
    }
}
