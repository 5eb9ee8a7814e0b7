//! Events of guardianships in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{GuardianshipId, MemberId, OrgId};
use parta_proto::timestamp;
use parta_proto_membership::v1::{
    FamilyProtectionChanged, GuardianshipChanged, GuardianshipEnded, GuardianshipEstablished,
    RelationLimit as PbLimit, RelationLimited, membership_event::Payload,
};
use parta_roster::RelationLimits;

use super::{Guardianship, storage};
use crate::{
    error::Error,
    feed::{state, states},
};

fn establishment(row: &Guardianship) -> Payload {
    Payload::GuardianshipEstablished(GuardianshipEstablished {
        guardianship_id: row.id.to_string(),
        guardian_id: row.guardian_id.to_string(),
        child_id: row.child_id.to_string(),
        confirmed: row.confirmed,
        kind: row.kind.number(),
        unit_rooms_only: row.unit_rooms_only,
        begin_time: Some(timestamp(row.create_time)),
    })
}

pub(super) async fn established(tx: &Tx, row: &Guardianship) -> Result<(), Error> {
    state(tx, row.org_id, establishment(row)).await
}

pub(super) async fn all_established(tx: &Tx, org: OrgId, rows: &[Guardianship]) -> Result<(), Error> {
    states(tx, org, rows.iter().map(establishment).collect()).await
}

pub(super) async fn changed(tx: &Tx, row: &Guardianship) -> Result<(), Error> {
    let changed = GuardianshipChanged {
        guardianship_id: row.id.to_string(),
        confirmed: row.confirmed,
        kind: row.kind.number(),
        unit_rooms_only: row.unit_rooms_only,
    };
    state(tx, row.org_id, Payload::GuardianshipChanged(changed)).await
}

pub(super) async fn ended(tx: &Tx, org: OrgId, id: GuardianshipId) -> Result<(), Error> {
    let ended = GuardianshipEnded {
        guardianship_id: id.to_string(),
    };
    state(tx, org, Payload::GuardianshipEnded(ended)).await
}

fn limitation(guardian: MemberId, child: MemberId, limits: RelationLimits) -> Payload {
    Payload::RelationLimited(RelationLimited {
        guardian_id: guardian.to_string(),
        child_id: child.to_string(),
        limits: limits.iter().map(|limit| PbLimit::from(limit).into()).collect(),
    })
}

pub(super) async fn limited(
    tx: &Tx,
    org: OrgId,
    (guardian, child): (MemberId, MemberId),
    limits: RelationLimits,
) -> Result<(), Error> {
    state(tx, org, limitation(guardian, child, limits)).await
}

fn protection(child: MemberId, protected: bool) -> Payload {
    Payload::FamilyProtectionChanged(FamilyProtectionChanged {
        child_id: child.to_string(),
        protected,
    })
}

pub(super) async fn protection_changed(
    tx: &Tx,
    org: OrgId,
    child: MemberId,
    protected: bool,
) -> Result<(), Error> {
    state(tx, org, protection(child, protected)).await
}

/// Events that establish the present relations, limits and protected families from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_current(tx, org).await?;
    let mut events: Vec<_> = rows.iter().map(establishment).collect();
    for ((guardian, child), in_force) in storage::limits::list_in_force(tx, org).await? {
        events.push(limitation(guardian, child, in_force.limits()));
    }
    for child in storage::children::list_protected(tx, org).await? {
        events.push(protection(child, true));
    }
    Ok(events)
}
