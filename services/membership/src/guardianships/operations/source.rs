//! The questions of an import before it relates a parent to a child, or removes one of them.
use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::MemberId;

use crate::{error::Error, guardianships::storage};

/// The reason why an import does not relate two people (F9, F13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A decision, an order or the 18th birthday ended their latest relation.
    Ended,
    /// A limit is in force between the two.
    Limited,
}

/// Returns why an import does not relate these two people; `None` if they are related, or may be.
pub(crate) async fn obstacle(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    child: MemberId,
) -> Result<Option<Obstacle>, Error> {
    let pair = (guardian, child);
    let latest = storage::find_latest(tx, scope, pair).await?;
    if latest.as_ref().is_some_and(|row| !row.has_ended()) {
        return Ok(None);
    }
    // A relation that ended with a member's leaving, or with a role, has no cause of its own.
    if latest.is_some_and(|row| row.end_cause.is_some() || row.ended_by_order) {
        return Ok(Some(Obstacle::Ended));
    }
    let in_force = storage::limits::find(tx, scope, pair).await?;
    Ok(
        match (in_force.is_ended_by_order(), in_force.limits().is_empty()) {
            (true, _) => Some(Obstacle::Ended),
            (false, false) => Some(Obstacle::Limited),
            (false, true) => None,
        },
    )
}

/// The people about whose relations a person does not decide (F6).
#[derive(Debug, Clone, Default)]
pub(crate) struct Family {
    /// The children whose guardian the person is.
    pub(crate) children: BTreeSet<MemberId>,
    /// All guardians of these children.
    pub(crate) guardians: BTreeSet<MemberId>,
}

/// Loads the family of a person: relations that have not ended, and those that an order has ended.
pub(crate) async fn family(tx: &Tx, scope: &OrgScope, person: MemberId) -> Result<Family, Error> {
    let children = storage::children_of(tx, scope, person).await?;
    let mut guardians = BTreeSet::new();
    for child in &children {
        guardians.extend(storage::guardians_of(tx, scope, *child).await?);
    }
    Ok(Family { children, guardians })
}
