//! Relations that begin again because the loss of a role is undone.
use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{GuardianshipId, MemberId};
use parta_roster::{RelationLimit, Role, State};

use super::{KIND, of_age};
use crate::{
    context::Context,
    endings::{Obstacle, Restored, today},
    error::Error,
    guardianships::{
        events,
        model::{CHILDREN_WITHOUT_ORDER, Guardianship},
        policy,
        storage::{self, Side, limits::Pair},
    },
    member_records,
};

/// Returns the relations of a member on one side that have not ended.
pub(crate) async fn lasting_of(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    side: Side,
) -> Result<Vec<GuardianshipId>, Error> {
    Ok(storage::lasting_of(tx, scope, (member, side)).await?)
}

/// Returns all relations of a member on either side, also those that have ended.
pub(crate) async fn all_of(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<GuardianshipId>, Error> {
    Ok(storage::all_of(tx, scope, member).await?)
}

/// Locks the people of these relations, and returns the guardian and the child of each. An act about a
/// relation locks the guardian first and then the child, so that the guardians are locked first, in the order
/// of their ids, and then the children.
pub(crate) async fn lock_people(
    tx: &Tx,
    scope: &OrgScope,
    ids: &[GuardianshipId],
) -> Result<BTreeSet<Pair>, Error> {
    let mut pairs = BTreeSet::new();
    for id in ids {
        let row = storage::find(tx, scope, *id).await?;
        pairs.extend(row.map(|row| (row.guardian_id, row.child_id)));
    }
    let guardians: BTreeSet<MemberId> = pairs.iter().map(|(guardian, _)| *guardian).collect();
    let children: BTreeSet<MemberId> = pairs.iter().map(|(_, child)| *child).collect();
    for member in guardians.into_iter().chain(children) {
        member_records::storage::lock(tx, scope, member).await?;
    }
    Ok(pairs)
}

/// Begins a relation again that ended with a role of one of the two, who are locked. `restorer` gives
/// the role back, and `pairs` are the relations that ended with it.
pub(crate) async fn restore(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    (restorer, pairs): (MemberId, &BTreeSet<Pair>),
    id: GuardianshipId,
) -> Result<Restored<GuardianshipId>, Error> {
    let ended = storage::find(tx, scope, id).await?;
    let ended = ended.ok_or_else(|| Error::unknown(KIND, id))?;
    let child = member_records::storage::lock(tx, scope, ended.child_id).await?;
    let guardian = member_records::storage::find(tx, scope, ended.guardian_id).await?;
    let latest = storage::find_latest(tx, scope, (ended.guardian_id, ended.child_id)).await?;
    if latest.as_ref().is_some_and(|row| !row.has_ended()) {
        return Ok(Restored::Lasts);
    }
    if latest.is_some_and(|row| row.end_cause.is_some() || row.ended_by_order) {
        return Ok(Restored::Hindered(Obstacle::DecidedSince));
    }
    let is_guardian = guardian.is_some_and(|row| row.state != State::Left && row.has(Role::Parent));
    let is_pupil = child.is_some_and(|row| row.state != State::Left && row.has(Role::Pupil));
    if !is_guardian || !is_pupil {
        return Ok(Restored::Hindered(Obstacle::PersonAbsent));
    }
    if let Some(obstacle) = hindrance(tx, scope, (restorer, pairs), &ended).await? {
        return Ok(Restored::Hindered(obstacle));
    }
    let begun = Guardianship {
        id: tx.env().id(),
        create_time: tx.now(),
        end_time: None,
        ..ended
    };
    if !storage::insert(tx, scope, &begun).await? {
        return Ok(Restored::Lasts);
    }
    events::established(tx, &begun).await?;
    let birth_date = storage::children::find(tx, scope, begun.child_id)
        .await?
        .birth_date;
    if let Some(birth_date) = birth_date {
        let today = today(&context.roster, tx, scope.org_id()).await?;
        of_age::apply(tx, scope, &[(begun.child_id, birth_date)], today).await?;
    }
    Ok(Restored::Begun(begun.id))
}

/// Returns the reason why the rules of today do not let `restorer` confirm the relation.
async fn hindrance(
    tx: &Tx,
    scope: &OrgScope,
    (restorer, pairs): (MemberId, &BTreeSet<Pair>),
    row: &Guardianship,
) -> Result<Option<Obstacle>, Error> {
    let mut guardians = storage::guardians_of(tx, scope, row.child_id).await?;
    // The relation of the restorer to the child may have ended with the same role.
    let of_child = pairs.iter().filter(|(_, child)| *child == row.child_id);
    guardians.extend(of_child.map(|(guardian, _)| *guardian));
    let record = storage::children::find(tx, scope, row.child_id).await?;
    if policy::is_own_matter(restorer, row.guardian_id, &guardians) || record.protected {
        return Ok(Some(Obstacle::SecondPersonRequired));
    }
    let in_force = storage::limits::find(tx, scope, (row.guardian_id, row.child_id)).await?;
    if in_force.limits().forbids(RelationLimit::Ended) {
        return Ok(Some(Obstacle::RelationLimited));
    }
    let children = storage::count_children(tx, scope, row.guardian_id).await?;
    let needs_order = row.confirmed && row.order.is_none() && children >= CHILDREN_WITHOUT_ORDER;
    Ok(needs_order.then_some(Obstacle::OrderRequired))
}
