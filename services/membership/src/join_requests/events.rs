//! Events of requests to join in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, optional_text};
use parta_proto_membership::v1::{JoinDecided, JoinRequested, membership_event::Payload};

use super::{
    model::{JoinRequest, RequestState},
    storage,
};
use crate::{error::Error, feed::state};

fn request(row: &JoinRequest) -> Payload {
    Payload::JoinRequested(JoinRequested {
        join_request_id: row.id.to_string(),
        invitation_id: row.terms.invitation_id.to_string(),
    })
}

fn decision(row: &JoinRequest) -> Payload {
    Payload::JoinDecided(JoinDecided {
        join_request_id: row.id.to_string(),
        invitation_id: row.terms.invitation_id.to_string(),
        member_id: optional_text(row.member_id),
    })
}

pub(super) async fn requested(tx: &Tx, row: &JoinRequest) -> Result<(), Error> {
    state(tx, row.terms.org_id, request(row)).await
}

pub(super) async fn decided(tx: &Tx, row: &JoinRequest) -> Result<(), Error> {
    state(tx, row.terms.org_id, decision(row)).await
}

/// Events that establish the present requests from nothing, those that were decided included: invitation
/// gives the use of a refused one back.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_for_snapshot(tx, org).await?;
    let event = |row: &JoinRequest| match row.state {
        RequestState::Pending => request(row),
        _ => decision(row),
    };
    Ok(rows.iter().map(event).collect())
}
