//! `parta.membership.v1.SuspensionService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, suspension_service_server::SuspensionService};
use parta_roster::Role;
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    events,
    model::{DECISION_TIME, Suspension},
    operations::{
        ConfirmSuspension, ListOverdueSuspensions, ListSuspensions, ReinstateMember, SuspendMember,
    },
};
use crate::context::Context;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Suspensions {
    edge: Edge<Context>,
}

impl Suspensions {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(row: &Suspension) -> pb::Suspension {
    pb::Suspension {
        id: row.id.to_string(),
        org_id: row.org_id.to_string(),
        member_id: row.member_id.to_string(),
        roles: events::roles(row),
        create_time: Some(timestamp(row.create_time)),
        suspender_id: parta_ids::optional_text(row.suspender_id),
        cause: row.cause.clone(),
        confirm_time: row.confirm_time.map(timestamp),
        confirmer_id: parta_ids::optional_text(row.confirmer_id),
        decision_due_time: Some(timestamp(row.create_time + DECISION_TIME)),
    }
}

/// The suspended roles; `None` for all.
fn roles(violations: &mut FieldViolations, request: &pb::SuspendMemberRequest) -> Option<BTreeSet<Role>> {
    let mut roles = BTreeSet::new();
    for (index, number) in request.roles.iter().enumerate() {
        let path = format!("roles[{index}]");
        let role = pb::Role::try_from(*number).ok();
        match role.and_then(|role| Role::try_from(role).ok()) {
            Some(role) => violations.check(roles.insert(role), path, "must be named once"),
            None => violations.add(path, "must name a role"),
        }
    }
    (!request.roles.is_empty()).then_some(roles)
}

#[tonic::async_trait]
impl SuspensionService for Suspensions {
    async fn suspend_member(
        &self,
        request: Request<pb::SuspendMemberRequest>,
    ) -> Result<Response<pb::SuspendMemberResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let roles = roles(v, r);
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(SuspendMember {
                org_id: org_id?,
                member_id: member_id?,
                roles,
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::SuspendMemberResponse {
            suspension: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn confirm_suspension(
        &self,
        request: Request<pb::ConfirmSuspensionRequest>,
    ) -> Result<Response<pb::ConfirmSuspensionResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let suspension_id = field::id(v, "suspension_id", &r.suspension_id);
            Some(ConfirmSuspension {
                org_id: org_id?,
                suspension_id: suspension_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ConfirmSuspensionResponse {
            suspension: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn reinstate_member(
        &self,
        request: Request<pb::ReinstateMemberRequest>,
    ) -> Result<Response<pb::ReinstateMemberResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let suspension_id = field::id(v, "suspension_id", &r.suspension_id);
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(ReinstateMember {
                org_id: org_id?,
                suspension_id: suspension_id?,
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ReinstateMemberResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_suspensions(
        &self,
        request: Request<pb::ListSuspensionsRequest>,
    ) -> Result<Response<pb::ListSuspensionsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.org_id.clone());
            Some(ListSuspensions {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListSuspensionsResponse {
            suspensions: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_overdue_suspensions(
        &self,
        request: Request<pb::ListOverdueSuspensionsRequest>,
    ) -> Result<Response<pb::ListOverdueSuspensionsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, String::new());
            Some(ListOverdueSuspensions { page: page? })
        })?;
        let page = self.edge.query(&call, &query).await?;
        let without_cause = |row: &Suspension| pb::Suspension {
            cause: String::new(),
            ..to_proto(row)
        };
        Ok(Response::new(pb::ListOverdueSuspensionsResponse {
            suspensions: page.items.iter().map(without_cause).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
