//! The join flow of a person and a link, which is derived: the same however often a ticket is made.
use parta_access::{LinkDigest, Secrets};
use parta_ids::{AccountId, FlowId, TypedId as _};

use crate::context::derived_uuid;

/// The join flow of a person and a link.
pub(super) fn join_flow(secrets: &Secrets, account: AccountId, link: &LinkDigest) -> FlowId {
    let parts = [&account.uuid().as_bytes()[..], link.as_bytes()].concat();
    FlowId::from_uuid(derived_uuid(secrets.hmac("membership.join", &parts)))
}
