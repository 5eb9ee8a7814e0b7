//! The facts on which notices about relations depend.
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{GuardianshipId, MemberId};

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
