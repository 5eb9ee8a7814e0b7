//! Announcements in `parta.call_scheduling.v1.CallService`: decodes requests, calls the edge, and encodes
//! responses.
use std::sync::Arc;

use parta_edge::Edge;
use parta_proto_call_scheduling::v1 as pb;
use parta_status::field;
use tonic::{Request, Response, Status};

use super::operations::{self, AnnounceCall};
use crate::{calls::grpc::call_to_proto, context::Context};

/// Implements the RPC that announces calls.
#[derive(Clone)]
pub(crate) struct Announcements {
    edge: Edge<Context>,
    context: Arc<Context>,
}

impl Announcements {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self { edge, context }
    }

    pub(crate) async fn announce(
        &self,
        request: Request<pb::AnnounceCallRequest>,
    ) -> Result<Response<pb::AnnounceCallResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let call_id = field::id(v, "call_id", &r.call_id);
            Some(AnnounceCall {
                org_id: org_id?,
                call_id: call_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let result = operations::announce(&self.context, call.caller(), done.view).await?;
        if let Some(refusal) = result.refusal {
            return Err(refusal.into());
        }
        Ok(Response::new(pb::AnnounceCallResponse {
            call: Some(call_to_proto(&result.view)),
            consistency_token: result.consistency_token.unwrap_or(done.consistency_token),
        }))
    }
}
