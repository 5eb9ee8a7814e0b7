//! `parta.membership.v1.RoleService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::{Edge, PageRequest};
use parta_ids::optional_text;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, role_service_server::RoleService, undo_refusal};
use parta_roster::Role;
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    model::{EndedGrounds, RoleChange, Subject, VerificationEnd},
    preview::PreviewRoleChange,
    undo::{ListRoleChanges, UndoRoleChange},
    verification_end::{AnnounceVerificationEnd, CancelVerificationEnd, ListVerificationEnds},
};
use crate::{
    acting_heads::{ActingHead, AppointActingHead, EndActingHead, GetActingHead},
    context::Context,
    members, orders,
};

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Roles {
    edge: Edge<Context>,
}

impl Roles {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

/// Decodes all roles that a member shall have.
pub(crate) fn decode_roles(violations: &mut FieldViolations, numbers: &[i32]) -> Option<BTreeSet<Role>> {
    // Not the accessor of prost, which leaves unknown numbers out.
    let role = |number: &i32| Role::try_from(pb::Role::try_from(*number).ok()?).ok();
    let roles: Option<_> = numbers.iter().map(role).collect();
    let known = !numbers.is_empty() && roles.is_some();
    violations.check(known, "roles", "must name at least one role, and no unknown ones");
    roles
}

fn numbers(roles: &BTreeSet<Role>) -> Vec<i32> {
    roles.iter().map(|role| pb::Role::from(*role).into()).collect()
}

fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn facts(roles: &BTreeSet<Role>, resting: &EndedGrounds) -> pb::RoleFacts {
    pb::RoleFacts {
        roles: numbers(roles),
        badge: resting.badge,
        assignment_ids: texts(&resting.assignments),
        duty_ids: texts(&resting.duties),
        enrollment_ids: texts(&resting.enrollments),
        guardianship_ids: texts(&resting.guardianships),
        acting_head_ids: texts(&resting.acting_heads),
    }
}

fn role_change(change: &RoleChange) -> pb::RoleChange {
    pb::RoleChange {
        id: change.id.to_string(),
        member_id: change.member_id.to_string(),
        ended: Some(facts(&change.lost, &change.ended)),
        author_id: change.author_id.to_string(),
        create_time: Some(timestamp(change.create_time)),
        undo_expire_time: change.undo_expire_time().map(timestamp),
        undoer_id: optional_text(change.undoer_id),
    }
}

fn refusal((subject, obstacle): &(Subject, i32)) -> pb::UndoRefusal {
    let subject = match subject {
        Subject::Role(bit) => {
            let role = Role::set_of(*bit).into_iter().next().map(pb::Role::from);
            undo_refusal::Subject::Role(role.unwrap_or_default().into())
        }
        Subject::Badge => undo_refusal::Subject::Badge(true),
        Subject::Assignment(id) => undo_refusal::Subject::AssignmentId(id.to_string()),
        Subject::Duty(id) => undo_refusal::Subject::DutyId(id.to_string()),
        Subject::Enrollment(id) => undo_refusal::Subject::EnrollmentId(id.to_string()),
        Subject::ActingHead(id) => undo_refusal::Subject::ActingHeadId(id.to_string()),
        Subject::Guardianship(id) => undo_refusal::Subject::GuardianshipId(id.to_string()),
    };
    pb::UndoRefusal {
        subject: Some(subject),
        obstacle: *obstacle,
    }
}

fn acting_head(row: &ActingHead) -> pb::ActingHead {
    pb::ActingHead {
        id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        order: Some(orders::to_proto(&row.order)),
        until_date: row.until.to_string(),
        appointer_id: row.appointer_id.to_string(),
        create_time: Some(timestamp(row.create_time)),
    }
}

fn verification_end(end: &VerificationEnd) -> pb::VerificationEnd {
    pb::VerificationEnd {
        member_id: end.member_id.to_string(),
        last_date: end.last_date.to_string(),
        cause: end.cause.clone(),
        announcer_id: end.announcer_id.to_string(),
        create_time: Some(timestamp(end.create_time)),
    }
}

#[tonic::async_trait]
impl RoleService for Roles {
    async fn preview_role_change(
        &self,
        request: Request<pb::PreviewRoleChangeRequest>,
    ) -> Result<Response<pb::PreviewRoleChangeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let roles = decode_roles(v, &r.roles);
            Some(PreviewRoleChange {
                org_id: org_id?,
                member_id: member_id?,
                roles: roles?,
            })
        })?;
        let preview = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::PreviewRoleChangeResponse {
            added_roles: numbers(&preview.added),
            ending: Some(facts(&preview.lost, &preview.ending)),
            preview_etag: preview.etag,
        }))
    }

    async fn undo_role_change(
        &self,
        request: Request<pb::UndoRoleChangeRequest>,
    ) -> Result<Response<pb::UndoRoleChangeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let role_change_id = field::id(v, "role_change_id", &r.role_change_id);
            Some(UndoRoleChange {
                org_id: org_id?,
                role_change_id: role_change_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let undone = done.view;
        Ok(Response::new(pb::UndoRoleChangeResponse {
            member: Some(members::to_proto(&undone.member)),
            restored: Some(facts(&undone.roles, &undone.restored)),
            refusals: undone.refused.iter().map(refusal).collect(),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_role_changes(
        &self,
        request: Request<pb::ListRoleChangesRequest>,
    ) -> Result<Response<pb::ListRoleChangesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::optional_id(v, "member_id", &r.member_id);
            let filter = format!("{}/{}", r.org_id, r.member_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListRoleChanges {
                org_id: org_id?,
                member_id,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListRoleChangesResponse {
            role_changes: page.items.iter().map(role_change).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn announce_verification_end(
        &self,
        request: Request<pb::AnnounceVerificationEndRequest>,
    ) -> Result<Response<pb::AnnounceVerificationEndResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let last_date = field::date(v, "last_date", &r.last_date);
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(AnnounceVerificationEnd {
                org_id: org_id?,
                member_id: member_id?,
                last_date: last_date?,
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::AnnounceVerificationEndResponse {
            verification_end: Some(verification_end(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn cancel_verification_end(
        &self,
        request: Request<pb::CancelVerificationEndRequest>,
    ) -> Result<Response<pb::CancelVerificationEndResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            Some(CancelVerificationEnd {
                org_id: org_id?,
                member_id: member_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CancelVerificationEndResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_verification_ends(
        &self,
        request: Request<pb::ListVerificationEndsRequest>,
    ) -> Result<Response<pb::ListVerificationEndsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.org_id.clone());
            Some(ListVerificationEnds {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListVerificationEndsResponse {
            verification_ends: page.items.iter().map(verification_end).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn appoint_acting_head(
        &self,
        request: Request<pb::AppointActingHeadRequest>,
    ) -> Result<Response<pb::AppointActingHeadResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let order = orders::decode(v, r.order.as_ref());
            let until = field::date(v, "until_date", &r.until_date);
            Some(AppointActingHead {
                org_id: org_id?,
                member_id: member_id?,
                order,
                until: until?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::AppointActingHeadResponse {
            acting_head: Some(acting_head(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn end_acting_head(
        &self,
        request: Request<pb::EndActingHeadRequest>,
    ) -> Result<Response<pb::EndActingHeadResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let acting_head_id = field::id(v, "acting_head_id", &r.acting_head_id);
            let cause = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(EndActingHead {
                org_id: org_id?,
                acting_head_id: acting_head_id?,
                cause,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::EndActingHeadResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_acting_head(
        &self,
        request: Request<pb::GetActingHeadRequest>,
    ) -> Result<Response<pb::GetActingHeadResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            Some(GetActingHead { org_id: org_id? })
        })?;
        let found = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetActingHeadResponse {
            acting_head: found.as_ref().map(acting_head),
        }))
    }
}
