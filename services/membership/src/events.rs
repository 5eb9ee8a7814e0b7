//! What the service tells others, and the state of it for whoever begins to follow its feed.
//!
//! A fact goes into the feed and into the service's own half of the roster projection in one transaction: policies here
//! decide by the same projection as everywhere else, and never by an older one.
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parta_feed::{self as feed, EventPayload as _, HandleError, Handler as _};
use parta_ids::{InvitationId, MemberId, OrgId, TypedId as _};
use parta_proto::parta::membership::v1::{
    self as pb, MemberAdmitted, MemberChanged, Role as PbRole, membership_event::Payload,
};
use parta_roster::{Members, NoObserver, Role};
use parta_status::RpcError;
use parta_storage::{StorageError, Tx};

use crate::{
    assignments, enrollments,
    error::Error,
    guardianships,
    storage::members::{self, Member},
};

/// States a fact.
pub(crate) async fn state(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let mut event = payload.clone().into_event();
    event.org_id = org.to_string();
    let projected = Members::new(Arc::new(NoObserver)).apply(tx, &event).await;
    projected.map_err(|error| match error {
        HandleError::Storage(error) => Error::Storage(error),
        HandleError::Failed(why) => Error::Refused(RpcError::internal(why)),
    })?;
    feed::append_event(tx, org, payload);
    Ok(())
}

/// The form in which counts of an import are kept.
pub(crate) fn counts_kept(counts: &pb::RosterImportCounts) -> Vec<u8> {
    prost::Message::encode_to_vec(counts)
}

/// Counts as they were kept.
pub(crate) fn counts_of(kept: &[u8]) -> pb::RosterImportCounts {
    prost::Message::decode(kept).unwrap_or_default()
}

pub(crate) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    // Below 2e9 even in a leap second.
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn roles(mask: i32) -> Vec<i32> {
    Role::set_of(mask)
        .into_iter()
        .map(|role| PbRole::from(role).into())
        .collect()
}

pub(crate) fn admitted(row: &Member) -> Payload {
    Payload::MemberAdmitted(MemberAdmitted {
        member_id: MemberId::from_uuid(row.member_id).to_string(),
        state: row.state,
        roles: roles(row.roles),
        teacher_verified: row.teacher_verified,
        invitation_id: row
            .invitation_id
            .map(|id| InvitationId::from_uuid(id).to_string())
            .unwrap_or_default(),
    })
}

pub(crate) fn changed(row: &Member) -> Payload {
    Payload::MemberChanged(MemberChanged {
        member_id: MemberId::from_uuid(row.member_id).to_string(),
        state: row.state,
        roles: roles(row.roles),
        teacher_verified: row.teacher_verified,
    })
}

/// Events that build the present state from nothing.
pub(crate) async fn snapshot(tx: Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let members = members::list_for_snapshot(&tx, org).await;
    let members = members.map_err(|error| RpcError::from(StorageError::from(error)))?;
    let mut events: Vec<_> = members
        .iter()
        .map(|row| (OrgId::from_uuid(row.org_id), admitted(row)))
        .collect();
    events.extend(assignments::snapshot(&tx, org).await?);
    events.extend(enrollments::snapshot(&tx, org).await?);
    events.extend(guardianships::snapshot(&tx, org).await?);
    Ok(events)
}
