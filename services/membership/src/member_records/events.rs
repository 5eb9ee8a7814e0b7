//! Events of members in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, optional_text};
use parta_proto_membership::v1::{MemberAdmitted, MemberChanged, Role as PbRole, membership_event::Payload};

use super::{
    Member,
    storage::{self, state_number},
};
use crate::{
    error::Error,
    feed::{state, states},
};

/// The roles of a member as numbers of the API.
pub(crate) fn roles(member: &Member) -> Vec<i32> {
    member
        .roles
        .iter()
        .map(|role| PbRole::from(*role).into())
        .collect()
}

fn admission(member: &Member) -> Payload {
    Payload::MemberAdmitted(MemberAdmitted {
        member_id: member.id.to_string(),
        state: state_number(member.state),
        roles: roles(member),
        teacher_verified: member.teacher_verified,
        invitation_id: optional_text(member.invitation_id),
        release_count: member.release_count,
        removed_for_cause: member.leave_cause.is_some(),
    })
}

/// Appends that a record was made.
pub(crate) async fn admitted(tx: &Tx, member: &Member) -> Result<(), Error> {
    state(tx, member.org_id, admission(member)).await
}

/// Appends that records of an organization were made.
pub(crate) async fn all_admitted(tx: &Tx, org: OrgId, members: &[Member]) -> Result<(), Error> {
    states(tx, org, members.iter().map(admission).collect()).await
}

/// Appends that a record changed in its state, roles or verification.
pub(crate) async fn changed(tx: &Tx, member: &Member) -> Result<(), Error> {
    let changed = MemberChanged {
        member_id: member.id.to_string(),
        state: state_number(member.state),
        roles: roles(member),
        teacher_verified: member.teacher_verified,
        release_count: member.release_count,
        removed_for_cause: member.leave_cause.is_some(),
    };
    state(tx, member.org_id, Payload::MemberChanged(changed)).await
}

/// Events that establish the present members from nothing, those who have left included.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let members = storage::list_for_snapshot(tx, org).await?;
    Ok(members.iter().map(admission).collect())
}
