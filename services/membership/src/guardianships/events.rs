//! Events of guardianships in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{GuardianshipId, OrgId};
use parta_proto_membership::v1::{
    GuardianshipChanged, GuardianshipEnded, GuardianshipEstablished, membership_event::Payload,
};

use super::{Guardianship, storage};
use crate::{error::Error, feed::state};

fn establishment(row: &Guardianship) -> Payload {
    Payload::GuardianshipEstablished(GuardianshipEstablished {
        guardianship_id: row.id.to_string(),
        guardian_id: row.guardian_id.to_string(),
        child_id: row.child_id.to_string(),
        confirmed: row.confirmed,
    })
}

pub(super) async fn established(tx: &Tx, row: &Guardianship) -> Result<(), Error> {
    state(tx, row.org_id, establishment(row)).await
}

pub(super) async fn confirmed(tx: &Tx, row: &Guardianship) -> Result<(), Error> {
    let changed = GuardianshipChanged {
        guardianship_id: row.id.to_string(),
        confirmed: row.confirmed,
    };
    state(tx, row.org_id, Payload::GuardianshipChanged(changed)).await
}

pub(super) async fn ended(tx: &Tx, org: OrgId, id: GuardianshipId) -> Result<(), Error> {
    let ended = GuardianshipEnded {
        guardianship_id: id.to_string(),
    };
    state(tx, org, Payload::GuardianshipEnded(ended)).await
}

/// Events that establish the present relations from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_current(tx, org).await?;
    Ok(rows.iter().map(establishment).collect())
}
