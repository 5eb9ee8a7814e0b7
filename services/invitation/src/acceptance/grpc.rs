//! Acceptance in `parta.invitation.v1.InvitationService`: decodes, calls the edge, encodes.
use std::sync::Arc;

use parta_access::LinkDigest;
use parta_edge::Edge;
use parta_ids::optional_text;
use parta_proto_invitation::v1::{self as pb, accept_invitation_request::Secret};
use tonic::{Request, Response, Status};

use super::{
    ending,
    operations::{self, AcceptInvitation, Accepted},
};
use crate::{
    context::Context,
    invitations::grpc::{Revoked, presented},
};

/// The part of the server that accepts invitations.
#[derive(Clone)]
pub(crate) struct Acceptance {
    edge: Edge<Context>,
    context: Arc<Context>,
}

impl Acceptance {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self { edge, context }
    }

    pub(crate) async fn accept(
        &self,
        request: Request<pb::AcceptInvitationRequest>,
    ) -> Result<Response<pb::AcceptInvitationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let (token, code) = match &r.secret {
                Some(Secret::LinkToken(token)) => (Some(token.as_str()), None),
                Some(Secret::Code(code)) => (None, Some(code.as_str())),
                None => (None, None),
            };
            let secret = presented(v, &self.context.secrets, token, code);
            let link = LinkDigest::of(token.or(code).unwrap_or_default());
            Some(AcceptInvitation { secret, link })
        })?;
        let reserved = self.edge.mutate(&call, &command).await?.view;
        let accepted = operations::finish(&self.context, call.caller(), &reserved).await?;
        Ok(Response::new(to_proto(accepted)))
    }

    /// Ends the requests by revoked links before the revocation returns, if membership responds soon.
    pub(crate) async fn end_requests(&self, revoked: &Revoked) {
        ending::end_soon(&self.context, revoked.org_id, &revoked.invitation_ids).await;
    }
}

fn to_proto(accepted: Accepted) -> pb::AcceptInvitationResponse {
    let reservation = accepted.reservation;
    pb::AcceptInvitationResponse {
        org_id: reservation.org_id.to_string(),
        invitation_id: reservation.invitation_id.to_string(),
        reservation_id: reservation.id.to_string(),
        member_id: optional_text(accepted.member_id),
        join_request_id: optional_text(accepted.join_request_id),
        consistency_token: accepted.consistency_token,
    }
}
