//! Events of acting heads in the feed of membership. `state` publishes one in the transaction of its
//! change.
use parta_database::{StorageError, Tx};
use parta_ids::{MemberId, OrgId};
use parta_proto_membership::v1::{ActingHeadAppointed, ActingHeadEnded, membership_event::Payload};

use super::{model::ActingHead, storage};
use crate::{error::Error, feed::state};

fn appointment(row: &ActingHead) -> Payload {
    Payload::ActingHeadAppointed(ActingHeadAppointed {
        member_id: row.member_id.to_string(),
    })
}

pub(super) async fn appointed(tx: &Tx, row: &ActingHead) -> Result<(), Error> {
    state(tx, row.org_id, appointment(row)).await
}

pub(super) async fn ended(tx: &Tx, org: OrgId, member: MemberId) -> Result<(), Error> {
    let ended = ActingHeadEnded {
        member_id: member.to_string(),
    };
    state(tx, org, Payload::ActingHeadEnded(ended)).await
}

/// Events that establish the present acting head from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let row = storage::find_current(tx, org).await?;
    Ok(row.iter().map(appointment).collect())
}
