//! `parta.membership.v1.GuardianshipService`: decodes, calls the edge, encodes.
use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, guardianship_service_server::GuardianshipService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::{
    Guardianship,
    operations::{ConfirmGuardianship, EndGuardianship, ListGuardianships},
};
use crate::context::Context;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Guardianships {
    edge: Edge<Context>,
}

impl Guardianships {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(row: &Guardianship) -> pb::Guardianship {
    pb::Guardianship {
        id: row.id.to_string(),
        guardian_id: row.guardian_id.to_string(),
        child_id: row.child_id.to_string(),
        confirmed: row.confirmed,
        create_time: Some(timestamp(row.create_time)),
    }
}

#[tonic::async_trait]
impl GuardianshipService for Guardianships {
    async fn list_guardianships(
        &self,
        request: Request<pb::ListGuardianshipsRequest>,
    ) -> Result<Response<pb::ListGuardianshipsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let child_id = field::optional_id(v, "child_id", &r.child_id);
            let filter = format!("{}/{}/{}", r.org_id, r.child_id, r.pending_only);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListGuardianships {
                org_id: org_id?,
                child_id,
                pending_only: r.pending_only,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListGuardianshipsResponse {
            guardianships: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn confirm_guardianship(
        &self,
        request: Request<pb::ConfirmGuardianshipRequest>,
    ) -> Result<Response<pb::ConfirmGuardianshipResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let guardianship_id = field::id(v, "guardianship_id", &r.guardianship_id);
            Some(ConfirmGuardianship {
                org_id: org_id?,
                guardianship_id: guardianship_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ConfirmGuardianshipResponse {
            guardianship: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn end_guardianship(
        &self,
        request: Request<pb::EndGuardianshipRequest>,
    ) -> Result<Response<pb::EndGuardianshipResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let guardianship_id = field::id(v, "guardianship_id", &r.guardianship_id);
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(EndGuardianship {
                org_id: org_id?,
                guardianship_id: guardianship_id?,
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::EndGuardianshipResponse {
            consistency_token: done.consistency_token,
        }))
    }
}
