//! `parta.membership.v1.GuardianshipService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::{Edge, PageRequest};
use parta_ids::GuardianshipId;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, guardianship_service_server::GuardianshipService};
use parta_roster::{RelationKind, RelationLimit, RelationLimits};
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    model::{AdultAccess, GuardianshipView},
    operations::{
        ChooseAdultAccess, ConfirmGuardianship, ConfirmGuardianships, EndGuardianship, GetChildRecord,
        LimitGuardianship, ListGuardianships, ProposeGuardianship, ProtectFamily, SetBirthDate,
    },
};
use crate::{context::Context, orders};

/// The maximum number of relations that one call confirms.
const BATCH_MAX: usize = 100;

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

fn to_proto(view: &GuardianshipView) -> pb::Guardianship {
    let (row, in_force) = (&view.row, &view.in_force);
    let until = in_force.ordered.as_ref().and_then(|limit| limit.until);
    pb::Guardianship {
        id: row.id.to_string(),
        guardian_id: row.guardian_id.to_string(),
        child_id: row.child_id.to_string(),
        confirmed: row.confirmed,
        create_time: Some(timestamp(row.create_time)),
        kind: row.kind.number(),
        limits: in_force.limits().iter().map(RelationLimit::number).collect(),
        limit_until_date: until.map(|day| day.to_string()).unwrap_or_default(),
        limit_provisional: in_force.provisional.is_some(),
        awaits_head: view.awaits_head,
        ended_by_order: row.ended_by_order,
        awaits_second_confirmation: !row.confirmed && row.approver_id.is_some(),
        unit_rooms_only: row.unit_rooms_only,
    }
}

/// Decodes a kind; unspecified is for the caller to judge.
fn kind(v: &mut FieldViolations, number: i32, required: bool) -> Option<RelationKind> {
    let kind = RelationKind::from_number(number);
    let is_fine = kind.is_some() || (number == 0 && !required);
    v.check(is_fine, "kind", "must name a kind of guardianship");
    kind
}

fn limits(v: &mut FieldViolations, numbers: &[i32]) -> Option<RelationLimits> {
    let limits: Option<RelationLimits> = numbers.iter().map(|n| RelationLimit::from_number(*n)).collect();
    v.check(limits.is_some(), "limits", "must name known limits");
    limits
}

fn ids(v: &mut FieldViolations, texts: &[String]) -> Vec<GuardianshipId> {
    let count = texts.len();
    v.check(
        (1..=BATCH_MAX).contains(&count),
        "guardianship_ids",
        "must have 1 to 100 ids",
    );
    let mut ids = Vec::with_capacity(count.min(BATCH_MAX));
    for (index, id) in texts.iter().take(BATCH_MAX).enumerate() {
        ids.extend(field::id::<GuardianshipId>(
            v,
            &format!("guardianship_ids[{index}]"),
            id,
        ));
    }
    let distinct = ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
    v.check(distinct, "guardianship_ids", "must not name a guardianship twice");
    ids
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

    async fn propose_guardianship(
        &self,
        request: Request<pb::ProposeGuardianshipRequest>,
    ) -> Result<Response<pb::ProposeGuardianshipResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let guardian_id = field::id(v, "guardian_id", &r.guardian_id);
            let child_id = field::id(v, "child_id", &r.child_id);
            let kind = kind(v, r.kind, true);
            Some(ProposeGuardianship {
                org_id: org_id?,
                guardian_id: guardian_id?,
                child_id: child_id?,
                kind: kind?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ProposeGuardianshipResponse {
            guardianship: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
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
            let kind = kind(v, r.kind, false);
            let order = orders::decode(v, r.order.as_ref());
            Some(ConfirmGuardianship {
                org_id: org_id?,
                guardianship_id: guardianship_id?,
                kind,
                order,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ConfirmGuardianshipResponse {
            guardianship: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn confirm_guardianships(
        &self,
        request: Request<pb::ConfirmGuardianshipsRequest>,
    ) -> Result<Response<pb::ConfirmGuardianshipsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let guardianship_ids = ids(v, &r.guardianship_ids);
            let order = orders::decode(v, r.order.as_ref());
            Some(ConfirmGuardianships {
                org_id: org_id?,
                guardianship_ids,
                order,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ConfirmGuardianshipsResponse {
            guardianships: done.view.iter().map(to_proto).collect(),
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

    async fn limit_guardianship(
        &self,
        request: Request<pb::LimitGuardianshipRequest>,
    ) -> Result<Response<pb::LimitGuardianshipResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let guardianship_id = field::id(v, "guardianship_id", &r.guardianship_id);
            let limits = limits(v, &r.limits);
            let order = orders::decode(v, r.order.as_ref());
            let until = (!r.until_date.is_empty()).then(|| field::date(v, "until_date", &r.until_date));
            let ends = limits.is_some_and(|limits| limits.forbids(RelationLimit::Ended));
            let lasts = limits.is_some_and(RelationLimits::is_empty) || ends || r.order.is_none();
            let is_fine = until.is_none() || !lasts;
            v.check(
                is_fine,
                "until_date",
                "is for limits by an order, not for the end",
            );
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(LimitGuardianship {
                org_id: org_id?,
                guardianship_id: guardianship_id?,
                limits: limits?,
                order,
                until: until.flatten(),
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::LimitGuardianshipResponse {
            guardianship: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn protect_family(
        &self,
        request: Request<pb::ProtectFamilyRequest>,
    ) -> Result<Response<pb::ProtectFamilyResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let child_id = field::id(v, "child_id", &r.child_id);
            let order = orders::decode(v, r.order.as_ref());
            Some(ProtectFamily {
                org_id: org_id?,
                child_id: child_id?,
                protected: true,
                order,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ProtectFamilyResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn unprotect_family(
        &self,
        request: Request<pb::UnprotectFamilyRequest>,
    ) -> Result<Response<pb::UnprotectFamilyResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let child_id = field::id(v, "child_id", &r.child_id);
            let order = orders::decode(v, r.order.as_ref());
            Some(ProtectFamily {
                org_id: org_id?,
                child_id: child_id?,
                protected: false,
                order,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::UnprotectFamilyResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn set_birth_date(
        &self,
        request: Request<pb::SetBirthDateRequest>,
    ) -> Result<Response<pb::SetBirthDateResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let child_id = field::id(v, "child_id", &r.child_id);
            let birth_date = field::date(v, "birth_date", &r.birth_date);
            Some(SetBirthDate {
                org_id: org_id?,
                child_id: child_id?,
                birth_date: birth_date?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::SetBirthDateResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_child_record(
        &self,
        request: Request<pb::GetChildRecordRequest>,
    ) -> Result<Response<pb::GetChildRecordResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let child_id = field::id(v, "child_id", &r.child_id);
            Some(GetChildRecord {
                org_id: org_id?,
                child_id: child_id?,
            })
        })?;
        let record = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetChildRecordResponse {
            birth_date: record.birth_date.map(|day| day.to_string()).unwrap_or_default(),
            family_protected: record.protected,
        }))
    }

    async fn choose_adult_access(
        &self,
        request: Request<pb::ChooseAdultAccessRequest>,
    ) -> Result<Response<pb::ChooseAdultAccessResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let guardianship_id = field::id(v, "guardianship_id", &r.guardianship_id);
            let access = AdultAccess::from_number(r.access).filter(|_| r.access != 0);
            v.check(access.is_some(), "access", "must name what stays");
            Some(ChooseAdultAccess {
                org_id: org_id?,
                guardianship_id: guardianship_id?,
                access: access?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ChooseAdultAccessResponse {
            consistency_token: done.consistency_token,
        }))
    }
}
