//! The right to decide about a relation, and the parts that the acts share.
mod children;
mod confirm;
mod hand_over;
mod limit;
mod list;
mod notice;
mod of_age;
mod propose;
mod restore;
mod source;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::{Caller, Decision, OrgScope, authorize, belongs};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{GuardianshipId, MemberId, OrgId, RelationLimitId};
use parta_roster::{MemberContext, RelationKind};
use serde::{Deserialize, Serialize};

pub(crate) use children::{GetChildRecord, ProtectFamily, SetBirthDate};
pub(crate) use confirm::{ConfirmGuardianship, ConfirmGuardianships};
pub(crate) use hand_over::{hand_over, may_hand_over};
pub(crate) use limit::LimitGuardianship;
pub(crate) use list::ListGuardianships;
pub(crate) use notice::{awaited, decides_for, informed_guardians, is_protected, relation};
pub(crate) use of_age::{ChooseAdultAccess, end_due, is_of_age};
pub(crate) use propose::{ProposeGuardianship, establish, establish_all};
pub(crate) use restore::{all_of, lasting_of, lock_people, restore};
pub(crate) use source::{Family, Obstacle, family, obstacle, obstacles};

use super::{
    events,
    model::{AdultAccess, Guardianship, GuardianshipView},
    policy,
    storage::{self, Side},
};
use crate::{
    context::{Context, Run},
    endings::{self, EndingKind},
    error::Error,
    member_records,
    notices::{self, Notice},
};

const KIND: &str = "guardianship";

/// The proof that the caller may decide about this relation. Its row and the records of the two people are
/// locked.
pub(crate) struct MayDecide {
    scope: OrgScope,
    facts: MemberContext,
    row: Guardianship,
}

/// The outcome of an act about one relation.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decided {
    guardianship_id: GuardianshipId,
}

impl Stored for Decided {}

/// Decides whether the member may decide about relations of a child.
async fn decision_about(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    facts: &MemberContext,
    child: &MemberContext,
) -> Result<Decision, Error> {
    let org = scope.org_id();
    let home = context.roster.home_units(tx, org, &child.enrolled_in).await?;
    Ok(policy::decide(facts, child.member_id, &home))
}

/// Refuses if the matter is the caller's own (F6).
async fn require_second_person(
    tx: &Tx,
    scope: &OrgScope,
    caller: MemberId,
    guardian: MemberId,
    child: MemberId,
) -> Result<(), Error> {
    let guardians = storage::guardians_of(tx, scope, child).await?;
    if policy::is_own_matter(caller, guardian, &guardians) {
        return Err(Error::second_person_required());
    }
    Ok(())
}

async fn check_decides(
    run: Run<'_>,
    org: OrgId,
    row: &Guardianship,
) -> Result<(OrgScope, MemberContext), Error> {
    let Run { context, tx, caller } = run;
    let facts = context.facts(tx, caller, org).await?;
    // The check whether the member may touch the relation follows below.
    let scope = belongs(caller, org)?;
    let unknown = || Error::unknown(KIND, row.id);
    let child = context
        .contexts_of(tx, org, row.child_id)
        .await?
        .ok_or_else(unknown)?;
    let decision = decision_about(context, tx, &scope, &facts, &child).await?;
    if !policy::see(&facts, row.guardian_id, row.child_id, decision.is_allowed()) {
        return Err(unknown());
    }
    let scope = authorize(caller, org, decision)?;
    require_second_person(tx, &scope, facts.member_id, row.guardian_id, row.child_id).await?;
    Ok((scope, facts))
}

/// Decides whether the caller may decide about a relation and locks it. A caller who may not see it gets
/// NOT_FOUND. An ended relation is found too.
async fn may_decide(run: Run<'_>, org: OrgId, id: GuardianshipId) -> Result<MayDecide, Error> {
    let Run { context, tx, caller } = run;
    context.facts(tx, caller, org).await?;
    let scope = belongs(caller, org)?;
    let unknown = || Error::unknown(KIND, id);
    let row = storage::find(tx, &scope, id).await?.ok_or_else(unknown)?;
    check_decides(run, org, &row).await?;
    // The two people first, in the order in which an admission locks them.
    member_records::storage::lock(tx, &scope, row.guardian_id).await?;
    member_records::storage::lock(tx, &scope, row.child_id).await?;
    let row = storage::lock(tx, &scope, id).await?.ok_or_else(unknown)?;
    // While this call waited for the locks, the caller may have lost the right.
    let (scope, facts) = check_decides(run, org, &row).await?;
    Ok(MayDecide { scope, facts, row })
}

/// Loads a relation with the limits in force between the two.
async fn view(tx: &Tx, scope: &OrgScope, id: GuardianshipId) -> Result<GuardianshipView, Error> {
    let row = storage::find(tx, scope, id).await?;
    let row = row.ok_or_else(|| Error::unknown(KIND, id))?;
    let in_force = storage::limits::find(tx, scope, (row.guardian_id, row.child_id)).await?;
    Ok(GuardianshipView {
        awaits_head: in_force.awaits_head(tx.now()),
        row,
        in_force,
    })
}

/// Ends a limit and forgets the time of its end.
async fn end_limit(tx: &Tx, scope: &OrgScope, id: RelationLimitId) -> Result<(), Error> {
    storage::limits::end(tx, scope, id, tx.now()).await?;
    endings::forget(tx, scope.org_id(), EndingKind::RelationLimit, id).await?;
    Ok(())
}

/// Ends a relation without an order. Limits between the two people stay.
#[derive(Debug)]
pub(crate) struct EndGuardianship {
    pub(crate) org_id: OrgId,
    pub(crate) guardianship_id: GuardianshipId,
    pub(crate) cause: String,
}

impl Mutation for EndGuardianship {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        may_decide(run, self.org_id, self.guardianship_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let MayDecide { scope, row, .. } = grant;
        if row.has_ended() {
            return Err(Error::unknown(KIND, row.id));
        }
        let row = Guardianship {
            end_time: Some(tx.now()),
            end_cause: Some(self.cause.clone()),
            ..row.clone()
        };
        storage::update(tx, scope, &row).await?;
        events::ended(tx, row.org_id, row.id).await?;
        let guardianship_id = row.id;
        notices::deliver(tx, row.org_id, Notice::RelationLimited { guardianship_id }).await?;
        audit(tx, caller, &row).await
    }

    async fn view(&self, _: Run<'_>, _: &MayDecide, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

async fn audit(tx: &Tx, caller: &Caller, row: &Guardianship) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, row.org_id, format!("guardianships/{}", row.id)).await?)
}

/// Inserts a relation that is not confirmed; returns `false` if the two are related.
async fn insert(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    child: MemberId,
    kind: RelationKind,
) -> Result<bool, Error> {
    let inserted = insert_all(tx, scope, &[(guardian, child)], kind).await?;
    Ok(inserted.contains(&true))
}

/// Inserts relations that are not confirmed, as many as one statement takes; returns `false` for each pair
/// that is related.
async fn insert_all(
    tx: &Tx,
    scope: &OrgScope,
    pairs: &[(MemberId, MemberId)],
    kind: RelationKind,
) -> Result<Vec<bool>, Error> {
    let row = |(guardian_id, child_id): &(MemberId, MemberId)| Guardianship {
        org_id: scope.org_id(),
        id: tx.env().id(),
        guardian_id: *guardian_id,
        child_id: *child_id,
        kind,
        confirmed: false,
        approver_id: None,
        order: None,
        unit_rooms_only: false,
        adult_access: AdultAccess::NotChosen,
        create_time: tx.now(),
        end_time: None,
        end_cause: None,
        ended_by_order: false,
    };
    let mut rows: Vec<Guardianship> = pairs.iter().map(row).collect();
    let inserted = storage::insert_all(tx, scope, &rows).await?;
    let is_new: Vec<bool> = rows.iter().map(|row| inserted.contains(&row.id)).collect();
    rows.retain(|row| inserted.contains(&row.id));
    events::all_established(tx, scope.org_id(), &rows).await?;
    Ok(is_new)
}

/// Ends every relation of a member on one side, because the member leaves or loses the role for it.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId, side: Side) -> Result<(), Error> {
    for id in storage::end_all_of(tx, scope, (member, side), None, tx.now()).await? {
        events::ended(tx, scope.org_id(), id).await?;
    }
    Ok(())
}

/// Ends the relations of a guardian to children that began at this time or later, because another person
/// brought them.
pub(crate) async fn end_begun_since(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    since: DateTime<Utc>,
) -> Result<(), Error> {
    let of = (guardian, Side::Guardian);
    for id in storage::end_all_of(tx, scope, of, Some(since), tx.now()).await? {
        events::ended(tx, scope.org_id(), id).await?;
    }
    Ok(())
}

/// Whether a matter of the other member is the member's own (F6): the member is a guardian of the other, or
/// both are guardians of one child.
pub(crate) async fn are_family(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    other: MemberId,
) -> Result<bool, Error> {
    let own = storage::children_of(tx, scope, member).await?;
    let theirs = storage::children_of(tx, scope, other).await?;
    Ok(own.contains(&other) || !own.is_disjoint(&theirs))
}

/// Ends a relation that had ended before the database was restored. Does nothing if it has ended.
pub(crate) async fn end_again(
    tx: &Tx,
    scope: &OrgScope,
    id: GuardianshipId,
    cause: &str,
) -> Result<(), Error> {
    let row = storage::lock(tx, scope, id).await?;
    if let Some(row) = row.filter(|row| !row.has_ended()) {
        let row = Guardianship {
            end_time: Some(tx.now()),
            end_cause: Some(cause.to_owned()),
            ..row
        };
        storage::update(tx, scope, &row).await?;
        events::ended(tx, row.org_id, row.id).await?;
    }
    Ok(())
}

/// The units whose members a teacher sees as their leader, for the list.
fn led_units(facts: &MemberContext) -> BTreeSet<parta_ids::UnitId> {
    if facts.is_cleared() {
        facts.class_teacher_of.clone()
    } else {
        BTreeSet::new()
    }
}
