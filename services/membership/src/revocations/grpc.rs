//! `parta.membership.internal.v1.RevocationService`: decodes, reads the list, encodes.
use std::sync::Arc;

use futures::{StreamExt as _, stream, stream::BoxStream};
use parta_edge::Edge;
use parta_proto_membership::internal::v1::{self as pb, revocation_service_server::RevocationService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::{model::RevocationList, operations::RevocationReader};
use crate::context::Context;

/// The largest number of ids of a kind in one response.
const IDS_PER_RESPONSE: usize = 10_000;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Revocations {
    edge: Edge<Context>,
    reader: Arc<RevocationReader>,
}

impl Revocations {
    pub(crate) fn new(edge: Edge<Context>, reader: Arc<RevocationReader>) -> Self {
        Self { edge, reader }
    }
}

fn texts(ids: &[impl ToString], part: usize) -> Vec<String> {
    let ids = ids.chunks(IDS_PER_RESPONSE).nth(part).unwrap_or_default();
    ids.iter().map(ToString::to_string).collect()
}

/// The responses that make up a list, one at least.
fn responses(list: Arc<RevocationList>) -> impl Iterator<Item = pb::GetRevocationsResponse> {
    let (sessions, keys) = (&list.revoked.sessions, &list.revoked.service_account_keys);
    let parts = sessions.len().max(keys.len()).div_ceil(IDS_PER_RESPONSE);
    (0..parts.max(1)).map(move |part| pb::GetRevocationsResponse {
        revision: list.revision.clone(),
        unchanged: false,
        session_ids: texts(&list.revoked.sessions, part),
        service_account_key_ids: texts(&list.revoked.service_account_keys, part),
    })
}

#[tonic::async_trait]
impl RevocationService for Revocations {
    type GetRevocationsStream = BoxStream<'static, Result<pb::GetRevocationsResponse, Status>>;

    async fn get_revocations(
        &self,
        request: Request<pb::GetRevocationsRequest>,
    ) -> Result<Response<Self::GetRevocationsStream>, Status> {
        let call = self.edge.enter(request).await?;
        let known =
            call.query(|v, r| Some(field::text(v, "known_revision", &r.known_revision, 0..=64, false)))?;
        let list = self.reader.current().await?;
        if list.revision == known {
            let unchanged = pb::GetRevocationsResponse {
                revision: known,
                unchanged: true,
                ..Default::default()
            };
            return Ok(Response::new(stream::iter([Ok(unchanged)]).boxed()));
        }
        Ok(Response::new(stream::iter(responses(list).map(Ok)).boxed()))
    }
}
