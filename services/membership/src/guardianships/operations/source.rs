//! The questions of an import before it relates a parent to a child, or removes one of them.
use std::collections::{BTreeMap, BTreeSet};

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
    let mut all = obstacles(tx, scope, &BTreeSet::from([guardian])).await?;
    Ok(all.remove(&(guardian, child)))
}

/// Returns which children an import does not relate to these guardians, and why.
pub(crate) async fn obstacles(
    tx: &Tx,
    scope: &OrgScope,
    guardians: &BTreeSet<MemberId>,
) -> Result<BTreeMap<(MemberId, MemberId), Obstacle>, Error> {
    let latest = storage::list_latest(tx, scope, guardians).await?;
    let in_force = storage::limits::list_of_guardians(tx, scope, guardians).await?;
    let pairs: BTreeSet<_> = latest.keys().chain(in_force.keys()).copied().collect();
    let found = pairs.into_iter().filter_map(|pair| {
        let row = latest.get(&pair);
        if row.is_some_and(|row| !row.has_ended()) {
            return None;
        }
        // A relation that ended with a member's leaving, or with a role, has no cause of its own.
        if row.is_some_and(|row| row.end_cause.is_some() || row.ended_by_order) {
            return Some((pair, Obstacle::Ended));
        }
        let in_force = in_force.get(&pair)?;
        match (in_force.is_ended_by_order(), in_force.limits().is_empty()) {
            (true, _) => Some((pair, Obstacle::Ended)),
            (false, false) => Some((pair, Obstacle::Limited)),
            (false, true) => None,
        }
    });
    Ok(found.collect())
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
