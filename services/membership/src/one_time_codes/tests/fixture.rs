//! A class with its leader, a pupil and two parents, and the calls of the tests.
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, OneTimeCodeState, Role},
};
use parta_testkit::TestDatabase;
use tonic::{Request, Status};

use crate::tests::test_env::{MemberSession, Person, TestEnv, by, org, reason, unit};

pub(super) const ADMINISTRATOR: &str = "+79160000001";
pub(super) const PUPIL: &str = "+79161111111";
pub(super) const MOTHER: &str = "+79162222222";
pub(super) const LEADER: &str = "+79163333333";
pub(super) const FATHER: &str = "+79164444444";

pub(super) struct School {
    pub(super) env: TestEnv,
    pub(super) administrator: MemberSession,
    /// Another administrator.
    pub(super) second: MemberSession,
    pub(super) leader: MemberSession,
    pub(super) pupil: MemberSession,
    /// A confirmed guardian of the pupil.
    pub(super) mother: MemberSession,
    /// A parent whose relation nobody has confirmed.
    pub(super) father: MemberSession,
}

impl School {
    pub(super) async fn open(database: TestDatabase) -> Self {
        let env = TestEnv::open(database).await;
        let administrator = env.administrator(1).await;
        let leader = env.class_teacher(&administrator, LEADER, unit(1)).await;
        let pupil = env.join_pupil(PUPIL, "Ян Котов", 1).await;
        let of_child = |r: &mut AdmitMemberRequest| r.child_id = pupil.member_id.clone();
        let mother = env.join(MOTHER, "Мария Котова", Role::Parent, of_child).await;
        let father = env.join(FATHER, "Пётр Котов", Role::Parent, of_child).await;
        let second = env.join("+79165555555", "Иван Орлов", Role::Staff, |_| ()).await;
        let school = Self {
            env,
            administrator,
            second,
            leader,
            pupil,
            mother,
            father,
        };
        let roles = [Role::Staff, Role::Administrator];
        school.set_roles(&school.second.member_id, &roles).await;
        school.confirm_relation(&school.mother.member_id).await;
        school
    }

    pub(super) async fn set_roles(&self, member_id: &str, roles: &[Role]) {
        let changed = self.env.change_roles(&self.administrator, member_id, roles);
        changed.await.unwrap();
    }

    /// Confirms the relation of a guardian to the pupil.
    pub(super) async fn confirm_relation(&self, guardian: &str) {
        let request = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            page_size: 200,
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let listed = api
            .list_guardianships(by(&self.administrator.token, request))
            .await;
        let all = listed.unwrap().into_inner().guardianships;
        let relation = all.iter().rfind(|relation| relation.guardian_id == guardian);
        let request = pb::ConfirmGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.unwrap().id.clone(),
            kind: 0,
            order: None,
        };
        let request = by(&self.administrator.token, request);
        api.confirm_guardianship(request).await.unwrap();
    }

    pub(super) fn wanted(&self, member_id: &str) -> pb::IssueOneTimeCodeRequest {
        pb::IssueOneTimeCodeRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
        }
    }

    pub(super) async fn issue_as(
        &self,
        request: Request<pb::IssueOneTimeCodeRequest>,
    ) -> Result<pb::IssueOneTimeCodeResponse, Status> {
        let mut api = self.env.one_time_codes();
        Ok(api.issue_one_time_code(request).await?.into_inner())
    }

    pub(super) async fn issue(
        &self,
        caller: &MemberSession,
        member: &MemberSession,
    ) -> Result<pb::IssueOneTimeCodeResponse, Status> {
        self.issue_as(by(&caller.token, self.wanted(&member.member_id)))
            .await
    }

    /// The text of a code that the caller gives to a member.
    pub(super) async fn code(&self, caller: &MemberSession, member: &MemberSession) -> String {
        self.issue(caller, member).await.unwrap().code
    }

    /// The reason for which the caller gives no code to a member.
    pub(super) async fn refused(&self, caller: &MemberSession, member_id: &str) -> String {
        reason(&self.issue_as(by(&caller.token, self.wanted(member_id))).await)
    }

    pub(super) async fn redeem_as(
        &self,
        request_id: &str,
        code: &str,
    ) -> Result<pb::RedeemOneTimeCodeResponse, Status> {
        let request = pb::RedeemOneTimeCodeRequest {
            request_id: request_id.to_owned(),
            code: code.to_owned(),
        };
        let mut api = self.env.one_time_codes();
        Ok(api.redeem_one_time_code(request).await?.into_inner())
    }

    /// Signs in with a code.
    pub(super) async fn redeem(&self, code: &str) -> Result<Person, Status> {
        let started = self.redeem_as(&self.env.act(), code).await?;
        Ok(Person {
            account_id: started.account_id,
            session_id: started.session_id,
            refresh_token: started.refresh_token,
            token: started.access_token,
        })
    }

    /// The reason for which nobody signs in with a code.
    pub(super) async fn not_redeemed(&self, code: &str) -> String {
        reason(&self.redeem(code).await)
    }

    pub(super) async fn state(
        &self,
        caller: &MemberSession,
        member: &MemberSession,
    ) -> Result<pb::OneTimeCode, Status> {
        let request = pb::GetOneTimeCodeRequest {
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
        };
        let mut api = self.env.one_time_codes();
        let found = api.get_one_time_code(by(&caller.token, request)).await?;
        Ok(found.into_inner().one_time_code.unwrap())
    }

    pub(super) fn confirmation(&self, code: &pb::OneTimeCode) -> pb::ConfirmOneTimeCodeRequest {
        pb::ConfirmOneTimeCodeRequest {
            request_id: self.env.act(),
            org_id: code.org_id.clone(),
            member_id: code.member_id.clone(),
            use_time: code.use_time,
        }
    }

    pub(super) async fn confirm_as(
        &self,
        request: Request<pb::ConfirmOneTimeCodeRequest>,
    ) -> Result<OneTimeCodeState, Status> {
        let mut api = self.env.one_time_codes();
        let confirmed = api.confirm_one_time_code(request).await?.into_inner();
        Ok(confirmed.one_time_code.unwrap().state())
    }

    pub(super) async fn confirm(
        &self,
        caller: &MemberSession,
        code: &pb::OneTimeCode,
    ) -> Result<OneTimeCodeState, Status> {
        self.confirm_as(by(&caller.token, self.confirmation(code))).await
    }

    pub(super) fn revocation(&self, member: &MemberSession) -> pb::RevokeOneTimeCodeRequest {
        pb::RevokeOneTimeCodeRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
        }
    }

    pub(super) async fn revoke(&self, caller: &MemberSession, member: &MemberSession) -> Result<(), Status> {
        let mut api = self.env.one_time_codes();
        let request = by(&caller.token, self.revocation(member));
        api.revoke_one_time_code(request).await.map(drop)
    }

    /// The reason for which a session is over; OK while it is not.
    pub(super) async fn ended(&self, person: &Person) -> String {
        reason(&self.env.member_session(org(1), person.clone()).await)
    }

    /// The notices that an address has received with this text.
    pub(super) async fn notices(&self, phone: &str, text: &str) -> usize {
        let messages = self.env.messages(phone).await;
        messages.iter().filter(|message| message.contains(text)).count()
    }
}

/// Whether a token of the organization reads personal and named chats only since a time.
pub(super) fn is_restricted(token: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    !claims["reads_since"].is_null()
}
