//! `parta.membership.v1.DutyService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::{Edge, PageRequest};
use parta_ids::MemberId;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, duty_scope::Scope, duty_service_server::DutyService};
use parta_roster::{DutyKind, DutyScope};
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    events,
    model::Duty,
    operations::{AssignDuty, EndDuty, ListDuties},
};
use crate::{context::Context, orders};

/// The maximum number of pupils that a duty names.
const PUPILS_MAX: usize = 50;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Duties {
    edge: Edge<Context>,
}

impl Duties {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(row: &Duty) -> pb::Duty {
    pb::Duty {
        id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        kind: pb::DutyKind::from(row.kind).into(),
        scope: Some(events::scope(&row.scope)),
        order: Some(orders::to_proto(&row.order)),
        until_date: row.until.to_string(),
        create_time: Some(timestamp(row.create_time)),
    }
}

fn kind(violations: &mut FieldViolations, kind: pb::DutyKind) -> Option<DutyKind> {
    let known = DutyKind::try_from(kind).ok();
    violations.check(known.is_some(), "kind", "must name a kind of duty");
    known
}

fn pupils(violations: &mut FieldViolations, pupils: &pb::DutyPupils) -> Option<BTreeSet<MemberId>> {
    let path = "scope.pupils.member_ids";
    let count = pupils.member_ids.len();
    let fits = (1..=PUPILS_MAX).contains(&count);
    violations.check(fits, path, "must have 1 to 50 ids");
    if !fits {
        return None;
    }
    let mut ids = BTreeSet::new();
    for (index, id) in pupils.member_ids.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(id) = field::id::<MemberId>(violations, &path, id) {
            violations.check(ids.insert(id), path, "must be named once");
        }
    }
    Some(ids)
}

fn scope(violations: &mut FieldViolations, scope: Option<&pb::DutyScope>) -> Option<DutyScope> {
    match scope.and_then(|scope| scope.scope.as_ref()) {
        Some(Scope::Organization(true)) => Some(DutyScope::Organization),
        Some(Scope::UnitId(unit)) => field::id(violations, "scope.unit_id", unit).map(DutyScope::Unit),
        Some(Scope::Pupils(named)) => pupils(violations, named).map(DutyScope::Pupils),
        Some(Scope::Organization(false)) => {
            violations.add("scope.organization", "must be true");
            None
        }
        None => {
            violations.add("scope", "must name the organization, a unit or pupils");
            None
        }
    }
}

#[tonic::async_trait]
impl DutyService for Duties {
    async fn assign_duty(
        &self,
        request: Request<pb::AssignDutyRequest>,
    ) -> Result<Response<pb::AssignDutyResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let kind = kind(v, r.kind());
            let scope = scope(v, r.scope.as_ref());
            let order = orders::decode(v, r.order.as_ref());
            let until = field::date(v, "until_date", &r.until_date);
            Some(AssignDuty {
                org_id: org_id?,
                member_id: member_id?,
                kind: kind?,
                scope: scope?,
                order,
                until: until?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::AssignDutyResponse {
            duty: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn end_duty(
        &self,
        request: Request<pb::EndDutyRequest>,
    ) -> Result<Response<pb::EndDutyResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let duty_id = field::id(v, "duty_id", &r.duty_id);
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(EndDuty {
                org_id: org_id?,
                duty_id: duty_id?,
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::EndDutyResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_duties(
        &self,
        request: Request<pb::ListDutiesRequest>,
    ) -> Result<Response<pb::ListDutiesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::optional_id(v, "member_id", &r.member_id);
            let filter = format!("{}/{}", r.org_id, r.member_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListDuties {
                org_id: org_id?,
                member_id,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListDutiesResponse {
            duties: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
