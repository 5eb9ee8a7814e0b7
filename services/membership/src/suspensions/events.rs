//! Events of suspensions in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::OrgId;
use parta_proto_membership::v1::{
    MemberReinstated, MemberSuspended, Role as PbRole, membership_event::Payload,
};

use super::{model::Suspension, storage};
use crate::{error::Error, feed::state};

/// The roles of a suspension as numbers of the API; none for all roles.
pub(super) fn roles(row: &Suspension) -> Vec<i32> {
    let roles = row.roles.iter().flatten();
    roles.map(|role| PbRole::from(*role).into()).collect()
}

fn suspension(row: &Suspension) -> Payload {
    Payload::MemberSuspended(MemberSuspended {
        suspension_id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        roles: roles(row),
    })
}

pub(super) async fn suspended(tx: &Tx, row: &Suspension) -> Result<(), Error> {
    state(tx, row.org_id, suspension(row)).await
}

pub(super) async fn reinstated(tx: &Tx, row: &Suspension) -> Result<(), Error> {
    let reinstated = MemberReinstated {
        suspension_id: row.id.to_string(),
    };
    state(tx, row.org_id, Payload::MemberReinstated(reinstated)).await
}

/// Events that establish the present suspensions from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_current(tx, org).await?;
    Ok(rows.iter().map(suspension).collect())
}
