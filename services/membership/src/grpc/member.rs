//! Members.
use parta_ids::MemberId;
use parta_proto::parta::membership::v1::{self as pb, member_service_server::MemberService};
use parta_status::{invalid, not_found};
use parta_storage::Mutation;
use tonic::{Request, Response};

use super::{Answer, convert};
use crate::{operations::App, storage::members::Filter};

#[tonic::async_trait]
impl MemberService for App {
    async fn get_member(&self, request: Request<pb::GetMemberRequest>) -> Answer<pb::GetMemberResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = convert::ids::<MemberId>(&request.org_id, "member_id", &request.member_id)?;
        let member = self.get_members(&caller, org, &[id]).await?.pop();
        let member = Some(member.ok_or_else(|| not_found("member", id))?);
        Ok(Response::new(pb::GetMemberResponse { member }))
    }

    async fn batch_get_members(
        &self,
        request: Request<pb::BatchGetMembersRequest>,
    ) -> Answer<pb::BatchGetMembersResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        if !(1..=200).contains(&request.member_ids.len()) {
            return Err(invalid("member_ids", "must have 1 to 200 ids").into());
        }
        let ids = request
            .member_ids
            .iter()
            .map(|id| convert::id("member_ids", id))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Response::new(pb::BatchGetMembersResponse {
            members: self.get_members(&caller, org, &ids).await?,
        }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Answer<pb::ListMembersResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        let unit = convert::optional_id("unit_id", &request.unit_id)?;
        let role = match request.role {
            0 => None,
            _ => Some(convert::role("role", request.role())?),
        };
        let asked = format!(
            "{org}/{}/{}/{}",
            request.unit_id, request.role, request.include_left
        );
        let page = convert::page(request.page_size, &request.page_token, asked)?;
        let filter = Filter {
            role,
            include_left: request.include_left,
            ..Filter::default()
        };
        Ok(Response::new(
            self.list_members(&caller, org, unit, filter, page).await?,
        ))
    }

    async fn create_member(
        &self,
        request: Request<pb::CreateMemberRequest>,
    ) -> Answer<pb::CreateMemberResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.create_member(&caller, &mutation, &convert::new_member(&request)?)
                .await?,
        ))
    }

    async fn change_member_roles(
        &self,
        request: Request<pb::ChangeMemberRolesRequest>,
    ) -> Answer<pb::ChangeMemberRolesResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "member_id", &request.member_id)?;
        let roles = convert::roles_in("roles", &request.roles)?;
        Ok(Response::new(
            self.change_roles(&caller, &mutation, org, id, &roles, &request.etag)
                .await?,
        ))
    }

    async fn verify_teacher(
        &self,
        request: Request<pb::VerifyTeacherRequest>,
    ) -> Answer<pb::VerifyTeacherResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "member_id", &request.member_id)?;
        let evidence = convert::text("evidence", &request.evidence, 500)?;
        Ok(Response::new(
            self.set_verified(&caller, &mutation, org, id, true, &evidence)
                .await?,
        ))
    }

    async fn withdraw_teacher_verification(
        &self,
        request: Request<pb::WithdrawTeacherVerificationRequest>,
    ) -> Answer<pb::WithdrawTeacherVerificationResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "member_id", &request.member_id)?;
        let cause = convert::text("cause", &request.cause, 500)?;
        let done = self
            .set_verified(&caller, &mutation, org, id, false, &cause)
            .await?;
        Ok(Response::new(pb::WithdrawTeacherVerificationResponse {
            member: done.member,
            consistency_token: done.consistency_token,
        }))
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Answer<pb::RemoveMemberResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "member_id", &request.member_id)?;
        Ok(Response::new(
            self.remove_member(&caller, &mutation, org, id, &request.etag)
                .await?,
        ))
    }
}
