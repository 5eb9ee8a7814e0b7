//! Acts of a member in the first organization that the tests of several features need.
use parta_database::StorageError;
use parta_ids::{OrgId, TypedId as _, UnitId};
use parta_proto_membership::v1::{self as pb, AssignmentKind, Role};
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Status;

use super::{MemberSession, TestEnv, by, org, unit};

impl TestEnv {
    /// Makes the second unit a group that crosses classes.
    pub(crate) async fn make_second_unit_a_group(&self) {
        let sql = "UPDATE roster_unit SET kind = 3 WHERE unit_id = $1";
        let values = [unit(2).uuid().into()];
        let statement = &Statement::from_sql_and_values(self.db.backend(), sql, values);
        let changed: Result<(), StorageError> = self
            .db
            .write(|tx| async move {
                tx.execute_raw(statement.clone()).await?;
                Ok(())
            })
            .await;
        changed.unwrap();
    }

    pub(crate) async fn change_roles(
        &self,
        caller: &MemberSession,
        member_id: &str,
        roles: &[Role],
    ) -> Result<pb::Member, Status> {
        let request = self.previewed(caller, org(1), member_id, roles).await;
        let request = by(&caller.token, request);
        let changed = self.members().change_member_roles(request).await?;
        Ok(changed.into_inner().member.unwrap())
    }

    /// Admits a second administrator of the first organization, who is a member of the staff.
    pub(crate) async fn second_administrator(&self, first: &MemberSession) -> MemberSession {
        let second = self
            .join("+79165555555", "Павел Соколов", Role::Staff, |_| ())
            .await;
        let roles = [Role::Staff, Role::Administrator];
        self.change_roles(first, &second.member_id, &roles).await.unwrap();
        second
    }

    /// A request of ChangeMemberRoles with the etag of its preview, or without one if the preview is refused.
    pub(crate) async fn previewed(
        &self,
        caller: &MemberSession,
        org: OrgId,
        member_id: &str,
        roles: &[Role],
    ) -> pb::ChangeMemberRolesRequest {
        let roles: Vec<i32> = roles.iter().map(|role| i32::from(*role)).collect();
        let preview = pb::PreviewRoleChangeRequest {
            org_id: org.to_string(),
            member_id: member_id.to_owned(),
            roles: roles.clone(),
        };
        let preview = self.roles().preview_role_change(by(&caller.token, preview)).await;
        pb::ChangeMemberRolesRequest {
            request_id: self.act(),
            org_id: org.to_string(),
            member_id: member_id.to_owned(),
            roles,
            etag: String::new(),
            preview_etag: preview.map_or_else(|_| String::new(), |preview| preview.into_inner().preview_etag),
        }
    }

    /// Removes a member, for a cause or for none if it is empty.
    pub(crate) async fn remove(
        &self,
        caller: &MemberSession,
        member_id: &str,
        cause: &str,
    ) -> Result<pb::Member, Status> {
        self.remove_for(caller, member_id, (cause, pb::LeaveReason::Unspecified))
            .await
    }

    /// Removes a member for a cause, or an empty one, and a reason.
    pub(crate) async fn remove_for(
        &self,
        caller: &MemberSession,
        member_id: &str,
        (cause, reason): (&str, pb::LeaveReason),
    ) -> Result<pb::Member, Status> {
        let request = pb::RemoveMemberRequest {
            request_id: self.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            etag: String::new(),
            cause: cause.to_owned(),
            reason: reason.into(),
        };
        let request = by(&caller.token, request);
        let removed = self.members().remove_member(request).await?;
        Ok(removed.into_inner().member.unwrap())
    }

    /// Creates the record of a person who has not joined.
    pub(crate) async fn create_member(
        &self,
        caller: &MemberSession,
        full_name: &str,
        role: Role,
        unit: Option<UnitId>,
    ) -> Result<pb::Member, Status> {
        let request = pb::CreateMemberRequest {
            request_id: self.act(),
            org_id: org(1).to_string(),
            full_name: full_name.to_owned(),
            role: role.into(),
            unit_id: unit.map(|unit| unit.to_string()).unwrap_or_default(),
        };
        let request = by(&caller.token, request);
        let created = self.members().create_member(request).await?;
        Ok(created.into_inner().member.unwrap())
    }

    pub(crate) async fn enroll(
        &self,
        caller: &MemberSession,
        member_id: &str,
        unit: UnitId,
    ) -> Result<(), Status> {
        let request = pb::EnrollPupilRequest {
            request_id: self.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            unit_id: unit.to_string(),
        };
        let request = by(&caller.token, request);
        self.enrollments().enroll_pupil(request).await.map(drop)
    }

    /// A verified teacher who is the class teacher of a unit.
    pub(crate) async fn class_teacher(
        &self,
        administrator: &MemberSession,
        phone: &str,
        unit: UnitId,
    ) -> MemberSession {
        let teacher = self.join(phone, "Олег Волков", Role::Teacher, |_| ()).await;
        let id = &teacher.member_id;
        self.verify_teacher(administrator, id).await.unwrap();
        let kind = AssignmentKind::ClassTeacher;
        self.assign(administrator, id, unit, kind).await.unwrap();
        teacher
    }

    /// Signs a member in again, because the tokens have expired.
    pub(crate) async fn sign_in_again(&self, phone: &str, member: &MemberSession) -> MemberSession {
        let flow = self.request_code(phone).await.unwrap().flow_id;
        self.verify(&flow, &self.code(phone).await).await.unwrap();
        let account = &member.person.account_id;
        let person = self.start(&flow, account, "").await.unwrap();
        self.member_session(org(1), person).await.unwrap()
    }
}
