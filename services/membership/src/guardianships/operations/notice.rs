//! The facts about relations on which notices and one-time codes depend.
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{GuardianshipId, MemberId};
use parta_roster::{RelationKind, RelationLimit};

use crate::{
    error::Error,
    guardianships::{model::Guardianship, policy, storage},
};

/// Returns a relation, ended or not.
pub(crate) async fn relation(
    tx: &Tx,
    scope: &OrgScope,
    id: GuardianshipId,
) -> Result<Option<Guardianship>, Error> {
    Ok(storage::find(tx, scope, id).await?)
}

/// Whether the family of a child is protected (R83).
pub(crate) async fn is_protected(tx: &Tx, scope: &OrgScope, child: MemberId) -> Result<bool, Error> {
    Ok(storage::children::find(tx, scope, child).await?.protected)
}

/// Returns those of the members who may decide about the provisional limit of a relation, if it has waited
/// for too long; none if it has not, or if it was decided.
pub(crate) async fn awaited(
    tx: &Tx,
    scope: &OrgScope,
    id: GuardianshipId,
    mut deciders: Vec<MemberId>,
) -> Result<Vec<MemberId>, Error> {
    let Some(row) = storage::find(tx, scope, id).await? else {
        return Ok(Vec::new());
    };
    let in_force = storage::limits::find(tx, scope, (row.guardian_id, row.child_id)).await?;
    if !in_force.awaits_head(tx.now()) {
        return Ok(Vec::new());
    }
    let guardians = storage::guardians_of(tx, scope, row.child_id).await?;
    deciders.retain(|id| !policy::is_own_matter(*id, row.guardian_id, &guardians));
    Ok(deciders)
}

/// The kind of the relation of a guardian to a child and whether a limit forbids something; `None` if the
/// relation is not confirmed, or is about the chats and calls of the unit only, because the student is of
/// age.
async fn in_force(
    tx: &Tx,
    scope: &OrgScope,
    pair: (MemberId, MemberId),
    forbidden: &[RelationLimit],
) -> Result<Option<(RelationKind, bool)>, Error> {
    let row = storage::find_between(tx, scope, pair).await?;
    let Some(row) = row.filter(|row| row.confirmed && !row.unit_rooms_only) else {
        return Ok(None);
    };
    let limits = storage::limits::find(tx, scope, pair).await?.limits();
    let limited = forbidden.iter().any(|limit| limits.forbids(*limit));
    Ok(Some((row.kind, limited)))
}

/// Whether a guardian may decide for a child: by a confirmed relation of a kind that decides, without a limit
/// of contact or decisions (F12, F13).
pub(crate) async fn decides_for(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    child: MemberId,
) -> Result<bool, Error> {
    let limits = [RelationLimit::NoContact, RelationLimit::NoDecisions];
    let relation = in_force(tx, scope, (guardian, child), &limits).await?;
    Ok(relation.is_some_and(|(kind, limited)| kind != RelationKind::Trusted && !limited))
}

/// The guardians of a child who get notices about the account of the child: by a confirmed relation
/// without a limit of contact.
pub(crate) async fn informed_guardians(
    tx: &Tx,
    scope: &OrgScope,
    child: MemberId,
) -> Result<Vec<MemberId>, Error> {
    let mut informed = Vec::new();
    for guardian in storage::guardians_of(tx, scope, child).await? {
        let relation = in_force(tx, scope, (guardian, child), &[RelationLimit::NoContact]).await?;
        if relation.is_some_and(|(_, limited)| !limited) {
            informed.push(guardian);
        }
    }
    Ok(informed)
}
