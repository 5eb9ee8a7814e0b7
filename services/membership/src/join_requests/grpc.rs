//! `parta.membership.v1.JoinRequestService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::{Edge, PageRequest};
use parta_ids::{JoinRequestId, optional_text};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, join_request_service_server::JoinRequestService};
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    model::{JoinRequest, RequestState, Suggested, Verdict},
    operations::{
        DecideJoinRequests, ListJoinRequests, ListOwnJoinRequests, OwnRequest, WithdrawJoinRequest,
    },
};
use crate::context::Context;

/// The largest number of decisions of one call.
const MAX_DECISIONS: usize = 100;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct JoinRequests {
    edge: Edge<Context>,
}

impl JoinRequests {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(row: &JoinRequest) -> pb::JoinRequest {
    let terms = &row.terms;
    pb::JoinRequest {
        id: row.id.to_string(),
        org_id: terms.org_id.to_string(),
        full_name: row.full_name.clone(),
        role: pb::Role::from(terms.role).into(),
        unit_id: optional_text(terms.unit_id),
        child_id: optional_text(terms.child_id),
        claim_member_id: optional_text(terms.claim_member_id),
        invitation_id: terms.invitation_id.to_string(),
        issuer_id: optional_text(terms.issuer_id),
        returning: row.returning,
        state: row.state.number(),
        create_time: Some(timestamp(row.create_time)),
        decide_time: row.decide_time.map(timestamp),
        decider_id: optional_text(row.decider_id),
        member_id: optional_text(row.member_id),
        suggested_member_ids: Vec::new(),
        namesake_of_staff: false,
    }
}

fn suggested(row: &Suggested) -> pb::JoinRequest {
    pb::JoinRequest {
        suggested_member_ids: row.member_ids.iter().map(ToString::to_string).collect(),
        namesake_of_staff: row.namesake_of_staff,
        ..to_proto(&row.request)
    }
}

fn own(row: &OwnRequest) -> pb::OwnJoinRequest {
    let request = &row.request;
    pb::OwnJoinRequest {
        id: request.id.to_string(),
        org_id: request.terms.org_id.to_string(),
        organization_display_name: row.organization_display_name.clone(),
        role: pb::Role::from(request.terms.role).into(),
        state: request.state.number(),
        create_time: Some(timestamp(request.create_time)),
        decide_time: request.decide_time.map(timestamp),
    }
}

fn verdicts(
    v: &mut FieldViolations,
    request: &pb::DecideJoinRequestsRequest,
) -> Vec<(JoinRequestId, Verdict)> {
    let count = request.decisions.len();
    v.check(
        (1..=MAX_DECISIONS).contains(&count),
        "decisions",
        "must have 1 to 100 decisions",
    );
    let (mut seen, mut verdicts) = (BTreeSet::new(), Vec::new());
    for (index, decision) in request.decisions.iter().take(MAX_DECISIONS).enumerate() {
        let path = |field: &str| format!("decisions[{index}].{field}");
        let id = field::id(v, &path("join_request_id"), &decision.join_request_id);
        let member = field::optional_id(v, &path("member_id"), &decision.member_id);
        v.check(
            decision.accept || decision.member_id.is_empty(),
            path("member_id"),
            "is allowed only with accept",
        );
        let Some(id) = id else { continue };
        v.check(seen.insert(id), path("join_request_id"), "must be decided once");
        let verdict = if decision.accept {
            Verdict::Accept(member)
        } else {
            Verdict::Refuse
        };
        verdicts.push((id, verdict));
    }
    verdicts
}

#[tonic::async_trait]
impl JoinRequestService for JoinRequests {
    async fn list_join_requests(
        &self,
        request: Request<pb::ListJoinRequestsRequest>,
    ) -> Result<Response<pb::ListJoinRequestsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let unit_id = field::optional_id(v, "unit_id", &r.unit_id);
            let state = match r.state {
                0 => Some(RequestState::Pending),
                number => RequestState::from_number(number),
            };
            v.check(state.is_some(), "state", "must be a state of a request");
            let key = format!("{}/{}/{}", r.org_id, r.unit_id, r.state);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, key);
            Some(ListJoinRequests {
                org_id: org_id?,
                unit_id,
                state: state?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListJoinRequestsResponse {
            join_requests: page.items.iter().map(suggested).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn decide_join_requests(
        &self,
        request: Request<pb::DecideJoinRequestsRequest>,
    ) -> Result<Response<pb::DecideJoinRequestsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let verdicts = verdicts(v, r);
            Some(DecideJoinRequests {
                org_id: org_id?,
                verdicts,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::DecideJoinRequestsResponse {
            join_requests: done.view.iter().map(to_proto).collect(),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_own_join_requests(
        &self,
        request: Request<pb::ListOwnJoinRequestsRequest>,
    ) -> Result<Response<pb::ListOwnJoinRequestsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, String::new());
            Some(ListOwnJoinRequests { page: page? })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListOwnJoinRequestsResponse {
            join_requests: page.items.iter().map(own).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn withdraw_join_request(
        &self,
        request: Request<pb::WithdrawJoinRequestRequest>,
    ) -> Result<Response<pb::WithdrawJoinRequestResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let id = field::id(v, "join_request_id", &r.join_request_id);
            Some(WithdrawJoinRequest { join_request_id: id? })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::WithdrawJoinRequestResponse {
            join_request: Some(own(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}
