//! The calls to membership that admit a person, cancel that, and end invitations.
use std::time::Duration;

use parta_grpc::RequestExt as _;
use parta_ids::{InvitationId, JoinRequestId, MemberId, OrgId, TypedId as _, Uuid, optional_text};
use parta_proto_membership::internal::v1::{
    AdmitMemberRequest, AdmitMemberResponse, CancelAdmissionRequest, CancelAdmissionResponse,
    EndInvitationsRequest, admission_service_client::AdmissionServiceClient,
};
use parta_status::RpcError;
use tonic::{Code, IntoRequest as _, Status};

use super::model::Reservation;
use crate::{
    context::Context,
    error::{INVITATION_ENDED, RATE_LIMITED},
    invitations::{Invitation, role_to_proto},
};

/// Deadline of one call.
const ATTEMPT: Duration = Duration::from_secs(15);

/// A person whom membership admitted.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) member_id: MemberId,
    /// Whether the person was a member before, so that nobody new joined.
    pub(super) already_member: bool,
    /// Membership's consistency token.
    pub(super) consistency_token: String,
}

/// A refusal of membership that ends the acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reason, which the reservation keeps.
    pub(crate) reason: String,
    /// When another acceptance may succeed, if membership says so. It is not kept.
    pub(crate) retry_after: Option<Duration>,
}

/// The decision of membership.
#[derive(Debug)]
pub(super) enum Verdict {
    Admitted(Admitted),
    /// Staff decides about this request.
    Requested(JoinRequestId),
    /// A refusal that a repetition would not change.
    Refused(Refusal),
    /// The call failed without a decision, and membership no longer works on it.
    Failed,
    /// The deadline passed; membership may still be working on the call.
    TimedOut,
}

/// Calls membership. The decision is the same however often it is called with this reservation.
pub(super) async fn admit(
    context: &Context,
    invitation: &Invitation,
    reservation: &Reservation,
) -> Result<Verdict, RpcError> {
    let request = request(invitation, reservation).into_request().idempotent();
    let channel = context.clients.client("membership").map_err(RpcError::internal)?;
    let response = tokio::time::timeout(ATTEMPT, async {
        AdmissionServiceClient::new(channel).admit_member(request).await
    });
    let status = match response.await {
        Err(_) => return Ok(Verdict::TimedOut),
        Ok(Ok(response)) => return verdict_of(response.into_inner()),
        Ok(Err(status)) => status,
    };
    if let Some(refusal) = final_refusal(&status) {
        return Ok(Verdict::Refused(refusal));
    }
    tracing::info!(code = ?status.code(), reservation.id = %reservation.id, "membership did not decide about an admission");
    Ok(Verdict::Failed)
}

/// Calls membership, which refuses the admission for ever or returns its result. Only a response
/// decides: after any failure, it is unknown whether the person was admitted.
pub(super) async fn cancel(
    context: &Context,
    invitation: &Invitation,
    reservation: &Reservation,
) -> Result<Verdict, RpcError> {
    let request = CancelAdmissionRequest {
        request_id: reservation.id.uuid().to_string(),
        admission: Some(request(invitation, reservation)),
    };
    let request = request.into_request().idempotent();
    let channel = context.clients.client("membership").map_err(RpcError::internal)?;
    let call = async {
        AdmissionServiceClient::new(channel)
            .cancel_admission(request)
            .await
    };
    match tokio::time::timeout(ATTEMPT, call).await {
        Err(_) => Ok(Verdict::TimedOut),
        Ok(Ok(response)) => match response.into_inner() {
            CancelAdmissionResponse {
                admission: Some(admitted),
                consistency_token,
            } => verdict_of(AdmitMemberResponse {
                consistency_token,
                ..admitted
            }),
            _ => Ok(Verdict::Refused(Refusal {
                reason: INVITATION_ENDED.to_owned(),
                retry_after: None,
            })),
        },
        Ok(Err(status)) => {
            tracing::info!(code = ?status.code(), reservation.id = %reservation.id, "membership did not cancel an admission");
            Ok(Verdict::Failed)
        }
    }
}

/// Calls membership, which ends the requests by revoked links and admits nobody by them later. An error names
/// the reason or the code.
pub(super) async fn end_invitations(
    context: &Context,
    org: OrgId,
    invitations: &[InvitationId],
    request_id: Uuid,
) -> Result<(), String> {
    let request = EndInvitationsRequest {
        request_id: request_id.to_string(),
        org_id: org.to_string(),
        invitation_ids: invitations.iter().map(ToString::to_string).collect(),
    };
    let request = request.into_request().idempotent();
    let channel = context
        .clients
        .client("membership")
        .map_err(|error| error.to_string())?;
    let call = async {
        AdmissionServiceClient::new(channel)
            .end_invitations(request)
            .await
    };
    let Ok(response) = tokio::time::timeout(ATTEMPT, call).await else {
        return Err("no response in time".to_owned());
    };
    match response {
        Ok(_) => Ok(()),
        // A message may name a person.
        Err(status) => Err(RpcError::from_status(&status).map_or_else(
            || status.code().to_string(),
            |refusal| refusal.reason().to_owned(),
        )),
    }
}

fn verdict_of(response: AdmitMemberResponse) -> Result<Verdict, RpcError> {
    let AdmitMemberResponse {
        member_id,
        already_member,
        consistency_token,
        join_request_id,
    } = response;
    let invalid = |error| RpcError::internal(format!("membership returned an invalid id: {error}"));
    if !join_request_id.is_empty() {
        return Ok(Verdict::Requested(join_request_id.parse().map_err(invalid)?));
    }
    Ok(Verdict::Admitted(Admitted {
        member_id: member_id.parse().map_err(invalid)?,
        already_member,
        consistency_token,
    }))
}

fn request(invitation: &Invitation, reservation: &Reservation) -> AdmitMemberRequest {
    let draft = &invitation.draft;
    AdmitMemberRequest {
        request_id: reservation.id.uuid().to_string(),
        org_id: draft.org_id.to_string(),
        invitation_id: invitation.id.to_string(),
        flow_id: reservation.flow_id.to_string(),
        role: role_to_proto(draft.role).into(),
        unit_id: optional_text(draft.unit_id),
        child_id: optional_text(draft.child_id),
        claim_member_id: optional_text(draft.claim_member_id),
        issuer_id: optional_text(reservation.issuer_id),
        open: !draft.is_named(),
        recipient_address: draft.recipient_address.clone().unwrap_or_default(),
    }
}

/// The reason of a refusal that a repetition would not change. After any other failure the use stays
/// reserved.
fn final_refusal(status: &Status) -> Option<Refusal> {
    let is_final = matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
    );
    let refusal = RpcError::from_status(status)?;
    // A person who has made too many requests tries again later, by another acceptance. The use of the
    // link is not reserved until then.
    let is_final = is_final || refusal.reason() == RATE_LIMITED;
    is_final.then(|| Refusal {
        reason: refusal.reason().to_owned(),
        retry_after: refusal.retry_delay(),
    })
}
