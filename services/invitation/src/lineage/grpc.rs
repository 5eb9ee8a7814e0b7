//! Lineage in `parta.invitation.v1.InvitationService`: decodes, calls the edge, encodes.
use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_invitation::v1 as pb;
use parta_status::field;
use tonic::{Request, Response, Status};

use super::operations::ListInvitationUses;
use crate::{acceptance::LinkUse, context::Context};

/// The part of the server that lists the uses of links.
#[derive(Clone)]
pub(crate) struct Lineage {
    edge: Edge<Context>,
}

impl Lineage {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }

    pub(crate) async fn list_uses(
        &self,
        request: Request<pb::ListInvitationUsesRequest>,
    ) -> Result<Response<pb::ListInvitationUsesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let invitation_id = field::id(v, "invitation_id", &r.invitation_id);
            let filter = format!("{}/{}", r.org_id, r.invitation_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListInvitationUses {
                org_id: org_id?,
                invitation_id: invitation_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListInvitationUsesResponse {
            uses: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

fn to_proto(link_use: &LinkUse) -> pb::InvitationUse {
    pb::InvitationUse {
        member_id: link_use.member_id.to_string(),
        use_time: Some(timestamp(link_use.use_time)),
    }
}
