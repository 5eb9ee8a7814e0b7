//! `parta.membership.v1.EnrollmentService`: decodes, calls the edge, encodes.
use parta_edge::Edge;
use parta_proto_membership::v1::{self as pb, enrollment_service_server::EnrollmentService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::operations::EnrollPupil;
use crate::context::Context;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Enrollments {
    edge: Edge<Context>,
}

impl Enrollments {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

#[tonic::async_trait]
impl EnrollmentService for Enrollments {
    async fn enroll_pupil(
        &self,
        request: Request<pb::EnrollPupilRequest>,
    ) -> Result<Response<pb::EnrollPupilResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let unit_id = field::id(v, "unit_id", &r.unit_id);
            Some(EnrollPupil {
                org_id: org_id?,
                member_id: member_id?,
                unit_id: unit_id?,
                from_unit_id: None,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::EnrollPupilResponse {
            enrollment_id: done.view.to_string(),
            consistency_token: done.consistency_token,
        }))
    }

    async fn transfer_pupil(
        &self,
        request: Request<pb::TransferPupilRequest>,
    ) -> Result<Response<pb::TransferPupilResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let from_unit_id = field::id(v, "from_unit_id", &r.from_unit_id);
            let to_unit_id = field::id(v, "to_unit_id", &r.to_unit_id);
            Some(EnrollPupil {
                org_id: org_id?,
                member_id: member_id?,
                unit_id: to_unit_id?,
                from_unit_id: Some(from_unit_id?),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::TransferPupilResponse {
            enrollment_id: done.view.to_string(),
            consistency_token: done.consistency_token,
        }))
    }
}
