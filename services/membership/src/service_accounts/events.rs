//! Events of service accounts in the feed of membership.
use parta_database::Tx;
use parta_ids::{OrgId, ServiceAccountId};
use parta_proto_membership::v1::{ServiceAccountRevoked, membership_event::Payload};

use crate::{error::Error, feed::state};

pub(super) async fn revoked(tx: &Tx, org: OrgId, id: ServiceAccountId) -> Result<(), Error> {
    let revoked = ServiceAccountRevoked {
        service_account_id: id.to_string(),
    };
    state(tx, org, Payload::ServiceAccountRevoked(revoked)).await
}
