//! `parta.membership.v1.AssignmentService`: decodes, calls the edge, encodes.
use parta_edge::{Edge, PageRequest};
use parta_proto::{time, timestamp};
use parta_proto_membership::v1::{self as pb, assignment_service_server::AssignmentService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::{
    Assignment, AssignmentKind,
    operations::{CreateAssignment, EndAssignment, ListAssignments},
};
use crate::context::Context;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Assignments {
    edge: Edge<Context>,
}

impl Assignments {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(row: &Assignment) -> pb::Assignment {
    pb::Assignment {
        id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        unit_id: row.unit_id.to_string(),
        kind: row.kind.number(),
        create_time: Some(timestamp(row.create_time)),
        expire_time: row.own_end.map(|end| timestamp(end.time)),
        substitution: row.is_substitution(),
        until_date: row
            .own_end
            .and_then(|end| end.until)
            .map(|day| day.to_string())
            .unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl AssignmentService for Assignments {
    async fn create_assignment(
        &self,
        request: Request<pb::CreateAssignmentRequest>,
    ) -> Result<Response<pb::CreateAssignmentResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let unit_id = field::id(v, "unit_id", &r.unit_id);
            let kind = AssignmentKind::from_number(r.kind);
            v.check(kind.is_some(), "kind", "must be a kind of assignment");
            let expire_time = r.expire_time.as_ref().map(time);
            v.check(expire_time != Some(None), "expire_time", "must be a time");
            let until = (!r.until_date.is_empty()).then(|| field::date(v, "until_date", &r.until_date));
            let is_one = expire_time.is_none() || until.is_none();
            v.check(is_one, "until_date", "must not be set beside expire_time");
            Some(CreateAssignment {
                org_id: org_id?,
                member_id: member_id?,
                unit_id: unit_id?,
                kind: kind?,
                expire_time: expire_time.flatten(),
                until: until.flatten(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateAssignmentResponse {
            assignment: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn end_assignment(
        &self,
        request: Request<pb::EndAssignmentRequest>,
    ) -> Result<Response<pb::EndAssignmentResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let assignment_id = field::id(v, "assignment_id", &r.assignment_id);
            Some(EndAssignment {
                org_id: org_id?,
                assignment_id: assignment_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::EndAssignmentResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_assignments(
        &self,
        request: Request<pb::ListAssignmentsRequest>,
    ) -> Result<Response<pb::ListAssignmentsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let unit_id = field::optional_id(v, "unit_id", &r.unit_id);
            let member_id = field::optional_id(v, "member_id", &r.member_id);
            let filter = format!("{}/{}/{}", r.org_id, r.unit_id, r.member_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListAssignments {
                org_id: org_id?,
                unit_id,
                member_id,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListAssignmentsResponse {
            assignments: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
