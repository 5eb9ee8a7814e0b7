//! The call to membership that names the authors of entries.
use std::collections::BTreeSet;

use parta_access::Caller;
use parta_grpc::{RequestExt as _, ServiceChannel};
use parta_ids::{MemberId, OrgId};
use parta_proto_membership::internal::v1::{
    GetNamesRequest, MemberName, name_service_client::NameServiceClient,
};
use parta_status::{RpcError, unavailable};
use tonic::{Code, IntoRequest as _, Status};

/// Returns the names of these members, by their ids, for a caller who can read what they wrote.
pub(super) async fn of(
    membership: &ServiceChannel,
    caller: &Caller,
    org: OrgId,
    members: &BTreeSet<MemberId>,
) -> Result<Vec<MemberName>, RpcError> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let Some(token) = caller.token.clone() else {
        return Err(RpcError::internal("the request of a person has no token"));
    };
    let request = GetNamesRequest {
        org_id: org.to_string(),
        member_ids: members.iter().map(ToString::to_string).collect(),
    };
    let request = request.into_request().idempotent().on_behalf(token);
    let response = NameServiceClient::new(membership.clone())
        .get_names(request)
        .await
        .map_err(|status| refusal(&status))?;
    let mut named = response.into_inner().members;
    named.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    Ok(named)
}

/// A refusal of membership, for example of a member who has just left, is the caller's. Anything else is a
/// failure of the dependency.
fn refusal(status: &Status) -> RpcError {
    match (status.code(), RpcError::from_status(status)) {
        (Code::NotFound | Code::FailedPrecondition | Code::PermissionDenied, Some(refusal)) => refusal,
        _ => unavailable("membership"),
    }
}
