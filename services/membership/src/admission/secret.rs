//! The join flow of a person and a link, which is derived: the same however often a ticket is made.
use parta_access::Secrets;
use parta_ids::{AccountId, FlowId, TypedId as _};
use sha2::{Digest as _, Sha256};

use crate::context::derived_uuid;

/// The join flow of a person and the secret of a link.
pub(super) fn join_flow(secrets: &Secrets, account: AccountId, link: &str) -> FlowId {
    let link = Sha256::digest(link.trim().as_bytes());
    let parts = [&account.uuid().as_bytes()[..], &link].concat();
    FlowId::from_uuid(derived_uuid(secrets.hmac("membership.join", &parts)))
}
