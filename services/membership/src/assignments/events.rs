//! Events of assignments in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{AssignmentId, OrgId};
use parta_proto::timestamp;
use parta_proto_membership::v1::{AssignmentCreated, AssignmentEnded, membership_event::Payload};

use super::{Assignment, storage};
use crate::{
    error::Error,
    feed::{state, states},
};

fn beginning(row: &Assignment) -> Payload {
    Payload::AssignmentCreated(AssignmentCreated {
        assignment_id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        unit_id: row.unit_id.to_string(),
        kind: row.kind.number(),
        substitution: row.is_substitution(),
        begin_time: Some(timestamp(row.create_time)),
    })
}

pub(super) async fn all_begun(tx: &Tx, org: OrgId, rows: &[&Assignment]) -> Result<(), Error> {
    states(tx, org, rows.iter().copied().map(beginning).collect()).await
}

pub(super) async fn ended(tx: &Tx, org: OrgId, id: AssignmentId) -> Result<(), Error> {
    let ended = AssignmentEnded {
        assignment_id: id.to_string(),
    };
    state(tx, org, Payload::AssignmentEnded(ended)).await
}

/// Events that establish the present assignments from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_current(tx, org).await?;
    Ok(rows.iter().map(beginning).collect())
}
