//! Joining calls in `parta.call_scheduling.v1.CallService`: decodes requests, calls the edge, and encodes
//! responses.
use parta_edge::Edge;
use parta_proto::timestamp;
use parta_proto_call_scheduling::v1 as pb;
use parta_status::field;
use tonic::{Request, Response, Status};

use super::operations::IssueJoinToken;
use crate::{calls::grpc::time, context::Context};

/// Implements the RPC that issues tokens of the media server.
#[derive(Clone)]
pub(crate) struct Join {
    edge: Edge<Context>,
}

impl Join {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }

    pub(crate) async fn issue_token(
        &self,
        request: Request<pb::IssueJoinTokenRequest>,
    ) -> Result<Response<pb::IssueJoinTokenResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let call_id = field::id(v, "call_id", &r.call_id);
            let start_time = time(v, "start_time", r.start_time.as_ref());
            Some(IssueJoinToken {
                org_id: org_id?,
                call_id: call_id?,
                start_time: start_time?,
            })
        })?;
        let issued = self.edge.mutate_unclaimed(&call, &command).await?;
        Ok(Response::new(pb::IssueJoinTokenResponse {
            server_url: issued.server_url,
            token: issued.token,
            room: issued.room,
            expire_time: Some(timestamp(issued.expire_time)),
            lobby: issued.lobby,
        }))
    }
}
