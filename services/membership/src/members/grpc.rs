//! `parta.membership.v1.MemberService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::{Edge, PageRequest};
use parta_ids::{MemberId, optional_text};
use parta_mutations::etag;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, member_service_server::MemberService};
use parta_roster::Role;
use parta_status::{FieldViolations, field, not_found};
use tonic::{Request, Response, Status};

use super::{
    operations::{CreateMember, GetMembers, ListMembers},
    release::ReleaseProfile,
    unlock::UnlockMember,
};
use crate::{
    context::Context,
    departures::RemoveMember,
    member_records::{LeaveReason, MemberView, events::roles},
    names::{CorrectName, FormerName, ListFormerNames},
    roles::{
        ChangeRoles, ListVerificationRequests, RefuseVerification, RequestVerification, SetVerification,
        VerificationRequest, VerifyTeachers, decode_roles,
    },
};

/// The maximum number of members that one call returns by their ids.
const BATCH_MAX: usize = 200;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Members {
    edge: Edge<Context>,
}

impl Members {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

pub(crate) fn to_proto(view: &MemberView) -> pb::Member {
    let member = &view.member;
    pb::Member {
        id: member.id.to_string(),
        org_id: member.org_id.to_string(),
        full_name: member.full_name.clone(),
        state: pb::MemberState::from(member.state).into(),
        roles: roles(member),
        teacher_verified: member.teacher_verified,
        unit_ids: view.units.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp(member.create_time)),
        etag: etag(member.revision),
        absent: view.absent,
        namesake_of_staff: view.namesake_of_staff,
        joined_member_id: optional_text(member.joined_id),
    }
}

fn verification_request(request: &VerificationRequest) -> pb::VerificationRequest {
    pb::VerificationRequest {
        member_id: request.member_id.to_string(),
        evidence: request.evidence.clone(),
        create_time: Some(timestamp(request.create_time)),
    }
}

/// The ids of members of a request, 1 to [`BATCH_MAX`].
fn member_ids(violations: &mut FieldViolations, ids: &[String]) -> Vec<MemberId> {
    violations.check(
        (1..=BATCH_MAX).contains(&ids.len()),
        "member_ids",
        "must have 1 to 200 ids",
    );
    let mut found = Vec::with_capacity(ids.len().min(BATCH_MAX));
    for (index, id) in ids.iter().take(BATCH_MAX).enumerate() {
        found.extend(field::id::<MemberId>(
            violations,
            &format!("member_ids[{index}]"),
            id,
        ));
    }
    found
}

fn former_name(former: &FormerName) -> pb::FormerName {
    pb::FormerName {
        full_name: former.full_name.clone(),
        end_time: Some(timestamp(former.end_time)),
        corrector_id: optional_text(former.corrector_id),
    }
}

fn role(violations: &mut FieldViolations, path: &str, role: pb::Role) -> Option<Role> {
    let known = Role::try_from(role).ok();
    violations.check(known.is_some(), path, "must name a role");
    known
}

/// The reason of a removal; a decision unless the request names another one.
fn leave_reason(violations: &mut FieldViolations, number: i32) -> LeaveReason {
    match pb::LeaveReason::try_from(number) {
        Ok(pb::LeaveReason::Unspecified | pb::LeaveReason::Decision) => LeaveReason::Decision,
        Ok(pb::LeaveReason::Graduated) => LeaveReason::Graduated,
        Ok(pb::LeaveReason::Deceased) => LeaveReason::Deceased,
        Ok(pb::LeaveReason::Source) | Err(_) => {
            violations.add("reason", "must be a decision, the graduation or the death");
            LeaveReason::Decision
        }
    }
}

#[tonic::async_trait]
impl MemberService for Members {
    async fn get_member(
        &self,
        request: Request<pb::GetMemberRequest>,
    ) -> Result<Response<pb::GetMemberResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            Some(GetMembers {
                org_id: org_id?,
                member_ids: vec![member_id?],
            })
        })?;
        let found = self.edge.query(&call, &query).await?;
        let view = found
            .first()
            .ok_or_else(|| not_found("member", &call.request().member_id))?;
        Ok(Response::new(pb::GetMemberResponse {
            member: Some(to_proto(view)),
        }))
    }

    async fn batch_get_members(
        &self,
        request: Request<pb::BatchGetMembersRequest>,
    ) -> Result<Response<pb::BatchGetMembersResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_ids = member_ids(v, &r.member_ids);
            Some(GetMembers {
                org_id: org_id?,
                member_ids,
            })
        })?;
        let found = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::BatchGetMembersResponse {
            members: found.iter().map(to_proto).collect(),
        }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let unit_id = field::optional_id(v, "unit_id", &r.unit_id);
            let role = (r.role != 0).then(|| role(v, "role", r.role()));
            let filter = format!("{}/{}/{}/{}", r.org_id, r.unit_id, r.role, r.include_left);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListMembers {
                org_id: org_id?,
                unit_id,
                role: role.flatten(),
                include_left: r.include_left,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListMembersResponse {
            members: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn create_member(
        &self,
        request: Request<pb::CreateMemberRequest>,
    ) -> Result<Response<pb::CreateMemberResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let full_name = field::name(v, "full_name", &r.full_name, 1..=200);
            let unit_id = field::optional_id(v, "unit_id", &r.unit_id);
            let role = role(v, "role", r.role());
            let of_pupil = unit_id.is_none() || role == Some(Role::Pupil);
            v.check(of_pupil, "unit_id", "is for pupils only");
            Some(CreateMember {
                org_id: org_id?,
                full_name,
                role: role?,
                unit_id,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateMemberResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn change_member_roles(
        &self,
        request: Request<pb::ChangeMemberRolesRequest>,
    ) -> Result<Response<pb::ChangeMemberRolesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let roles = decode_roles(v, &r.roles);
            Some(ChangeRoles {
                org_id: org_id?,
                member_id: member_id?,
                roles: roles?,
                etag: r.etag.clone(),
                preview_etag: r.preview_etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let (member, role_change_id) = &done.view;
        Ok(Response::new(pb::ChangeMemberRolesResponse {
            member: Some(to_proto(member)),
            role_change_id: optional_text(*role_change_id),
            consistency_token: done.consistency_token,
        }))
    }

    async fn verify_teacher(
        &self,
        request: Request<pb::VerifyTeacherRequest>,
    ) -> Result<Response<pb::VerifyTeacherResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let ground = field::text(v, "evidence", &r.evidence, 1..=500, false);
            Some(SetVerification {
                org_id: org_id?,
                member_id: member_id?,
                verified: true,
                ground,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::VerifyTeacherResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn verify_teachers(
        &self,
        request: Request<pb::VerifyTeachersRequest>,
    ) -> Result<Response<pb::VerifyTeachersResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_ids = member_ids(v, &r.member_ids);
            let once: BTreeSet<_> = member_ids.iter().collect();
            v.check(
                once.len() == member_ids.len(),
                "member_ids",
                "must name each member once",
            );
            let ground = field::text(v, "evidence", &r.evidence, 1..=500, false);
            Some(VerifyTeachers {
                org_id: org_id?,
                member_ids,
                ground,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::VerifyTeachersResponse {
            members: done.view.iter().map(to_proto).collect(),
            consistency_token: done.consistency_token,
        }))
    }

    async fn request_verification(
        &self,
        request: Request<pb::RequestVerificationRequest>,
    ) -> Result<Response<pb::RequestVerificationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let evidence = field::text(v, "evidence", &r.evidence, 1..=500, false);
            Some(RequestVerification {
                org_id: org_id?,
                evidence,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RequestVerificationResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn refuse_verification(
        &self,
        request: Request<pb::RefuseVerificationRequest>,
    ) -> Result<Response<pb::RefuseVerificationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            Some(RefuseVerification {
                org_id: org_id?,
                member_id: member_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RefuseVerificationResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_verification_requests(
        &self,
        request: Request<pb::ListVerificationRequestsRequest>,
    ) -> Result<Response<pb::ListVerificationRequestsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.org_id.clone());
            Some(ListVerificationRequests {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListVerificationRequestsResponse {
            requests: page.items.iter().map(verification_request).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn withdraw_teacher_verification(
        &self,
        request: Request<pb::WithdrawTeacherVerificationRequest>,
    ) -> Result<Response<pb::WithdrawTeacherVerificationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let ground = field::text(v, "cause", &r.cause, 1..=500, false);
            Some(SetVerification {
                org_id: org_id?,
                member_id: member_id?,
                verified: false,
                ground,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::WithdrawTeacherVerificationResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn correct_member_name(
        &self,
        request: Request<pb::CorrectMemberNameRequest>,
    ) -> Result<Response<pb::CorrectMemberNameResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let full_name = field::name(v, "full_name", &r.full_name, 1..=200);
            Some(CorrectName {
                org_id: org_id?,
                member_id: member_id?,
                full_name,
                sealed: r.sealed,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CorrectMemberNameResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_former_names(
        &self,
        request: Request<pb::ListFormerNamesRequest>,
    ) -> Result<Response<pb::ListFormerNamesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let filter = format!("{}/{}", r.org_id, r.member_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListFormerNames {
                org_id: org_id?,
                member_id: member_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListFormerNamesResponse {
            former_names: page.items.iter().map(former_name).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            let cause = field::text(v, "cause", &r.cause, 0..=500, false);
            let reason = leave_reason(v, r.reason);
            let may_have_cause = matches!(reason, LeaveReason::Decision | LeaveReason::Deceased);
            v.check(
                cause.is_empty() || may_have_cause,
                "cause",
                "is for a removal by decision or after a death only",
            );
            Some(RemoveMember {
                org_id: org_id?,
                member_id: member_id?,
                etag: r.etag.clone(),
                cause: (!cause.is_empty()).then_some(cause),
                reason,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RemoveMemberResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
    async fn unlock_member_sign_in(
        &self,
        request: Request<pb::UnlockMemberSignInRequest>,
    ) -> Result<Response<pb::UnlockMemberSignInResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            Some(UnlockMember {
                org_id: org_id?,
                member_id: member_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::UnlockMemberSignInResponse {
            was_locked: done.view,
            consistency_token: done.consistency_token,
        }))
    }

    async fn release_profile(
        &self,
        request: Request<pb::ReleaseProfileRequest>,
    ) -> Result<Response<pb::ReleaseProfileResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            Some(ReleaseProfile {
                org_id: org_id?,
                member_id: member_id?,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ReleaseProfileResponse {
            member: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}
