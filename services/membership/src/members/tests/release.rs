//! The release of a record that the wrong person claimed (R71, F10).
use chrono::TimeDelta;
use parta_ids::InvitationId;
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, AssignmentKind, MemberState, Role},
};
use parta_service_testkit::fields;
use parta_testkit::{TestDatabase, on_both};
use tokio::time::Instant;
use tonic::Status;

use super::{change_roles, create};
use crate::tests::test_env::{MemberSession, Person, TestEnv, by, org, reason, unit};

struct School {
    env: TestEnv,
    administrator: MemberSession,
    /// The class teacher of the first class.
    teacher: MemberSession,
}

impl School {
    async fn open(database: TestDatabase) -> Self {
        let env = TestEnv::open(database).await;
        let administrator = env.administrator(1).await;
        let teacher = env
            .join("+79163333333", "Олег Волков", Role::Teacher, |_| ())
            .await;
        let id = &teacher.member_id;
        env.verify_teacher(&administrator, id).await.unwrap();
        let kind = AssignmentKind::ClassTeacher;
        env.assign(&administrator, id, unit(1), kind).await.unwrap();
        Self {
            env,
            administrator,
            teacher,
        }
    }

    async fn expected(&self, name: &str, role: Role) -> String {
        let class = if role == Role::Pupil {
            unit(1).to_string()
        } else {
            String::new()
        };
        let made = create(&self.env, &self.administrator, name, role, &class).await;
        made.unwrap().id
    }

    /// Accepts a new link as this person.
    async fn accept(
        &self,
        person: &Person,
        role: Role,
        change: impl FnOnce(&mut AdmitMemberRequest),
    ) -> Result<(), Status> {
        let link = self.env.env.id::<InvitationId>().to_string();
        let mut request = AdmitMemberRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            flow_id: self.env.flow(person, &link).await,
            invitation_id: link,
            role: role.into(),
            ..Default::default()
        };
        change(&mut request);
        self.env.admission().admit_member(request).await.map(|_| ())
    }

    /// Claims an expected record with a new account.
    async fn claim(&self, phone: &str, name: &str, role: Role, record: &str) -> MemberSession {
        let claims = |request: &mut AdmitMemberRequest| request.claim_member_id = record.to_owned();
        self.env.join(phone, name, role, claims).await
    }

    fn release(&self, record: &str) -> pb::ReleaseProfileRequest {
        pb::ReleaseProfileRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: record.to_owned(),
            etag: String::new(),
        }
    }

    async fn call(
        &self,
        caller: &MemberSession,
        request: pb::ReleaseProfileRequest,
    ) -> Result<pb::Member, Status> {
        let mut api = self.env.members();
        let released = api.release_profile(by(&caller.token, request)).await?;
        Ok(released.into_inner().member.unwrap())
    }

    async fn refusal(&self, caller: &MemberSession, record: &str) -> String {
        reason(&self.call(caller, self.release(record)).await)
    }

    async fn relations(&self, child: &str) -> Vec<String> {
        let request = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            child_id: child.to_owned(),
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let request = by(&self.administrator.token, request);
        let listed = api.list_guardianships(request).await.unwrap().into_inner();
        let ids = listed.guardianships.into_iter();
        ids.map(|relation| relation.guardian_id).collect()
    }

    async fn assignments(&self, member: &str) -> usize {
        let request = pb::ListAssignmentsRequest {
            org_id: org(1).to_string(),
            member_id: member.to_owned(),
            ..Default::default()
        };
        let mut api = self.env.assignments();
        let listed = api.list_assignments(by(&self.administrator.token, request)).await;
        listed.unwrap().into_inner().assignments.len()
    }

    /// The reason for which a process that has received the revocations refuses a token; `None` if it
    /// accepts the token.
    async fn refusal_of_token(&self, token: &str) -> Option<String> {
        let responses = self.env.revocations("chat", "").await.unwrap();
        let sessions = responses.iter().flat_map(|response| &response.session_ids);
        let revoked = parta_access::Revoked {
            sessions: sessions.map(|id| id.parse().unwrap()).collect(),
            service_account_keys: Vec::new(),
        };
        let verifier = self.env.new_verifier();
        verifier
            .record_revocations(Instant::now(), Some(&revoked))
            .unwrap();
        let refused = verifier.caller(token, "rpc").await.err();
        refused.map(|error| error.reason().to_owned())
    }
}

// The record of a teacher continues without everything that the wrong person brought or was given: the
// badge, the role of an administrator, a child of their own. The tasks of the record stay.
// Covers: R71 allowed, F10 allowed, F10 refused
on_both!(
    released_record_keeps_the_roster_and_no_more,
    |database| async move {
        let school = School::open(database).await;
        let env = &school.env;
        let child = school.expected("Ян Котов", Role::Pupil).await;
        let record = school.expected("Ольга Белова", Role::Teacher).await;
        let wrong = school
            .claim("+79161111111", "Мария Котова", Role::Teacher, &record)
            .await;
        assert_eq!(wrong.member_id, record);
        env.verify_teacher(&school.administrator, &record).await.unwrap();
        let kind = AssignmentKind::SubjectTeacher;
        env.assign(&school.administrator, &record, unit(2), kind)
            .await
            .unwrap();
        let names_child = |request: &mut AdmitMemberRequest| request.child_id.clone_from(&child);
        school
            .accept(&wrong.person, Role::Parent, names_child)
            .await
            .unwrap();
        let roles = [Role::Teacher, Role::Parent, Role::Administrator];
        change_roles(env, &school.administrator, &record, &roles, "")
            .await
            .unwrap();
        assert_eq!(school.relations(&child).await, std::slice::from_ref(&record));

        let request = school.release(&record);
        let released = school.call(&school.administrator, request.clone()).await.unwrap();
        assert_eq!(released.state(), MemberState::Expected);
        assert_eq!(released.roles, [i32::from(Role::Teacher)]);
        assert!(!released.teacher_verified);
        assert_eq!(school.assignments(&record).await, 1);
        assert!(school.relations(&child).await.is_empty());
        // The account has lost the record at once, whatever its tokens say.
        let gone = env.list(&wrong).await;
        assert_eq!(reason(&gone), "NOT_FOUND");
        let refused = env.member_session(org(1), wrong.person.clone()).await;
        assert_eq!(reason(&refused.map(|_| ())), "NOT_FOUND");
        // A repetition succeeds, and another act has nothing to release.
        let again = school.call(&school.administrator, request).await.unwrap();
        assert_eq!(again.etag, released.etag);
        let refused = school.refusal(&school.administrator, &record).await;
        assert_eq!(refused, "PROFILE_NOT_RELEASABLE");

        let right = school
            .claim("+79162222222", "Ольга Белова", Role::Teacher, &record)
            .await;
        assert_eq!(right.member_id, record);
        let snapshot = env.snapshot(org(1)).await;
        let seen = snapshot.iter().find(|member| member.member_id == record).unwrap();
        assert_eq!(
            (seen.roles.clone(), seen.teacher_verified),
            (released.roles, false)
        );
        assert_eq!(seen.release_count, 1);
        env.list(&right).await.unwrap();
        school.env.close().await;
    }
);

// The record has a new owner at once, so that a token of the earlier one must not act for it. The
// sessions of the account continue elsewhere, and for its own record in the same organization.
// Covers: F10 refused, R29 refused
on_both!(release_revokes_the_tokens_for_the_record, |database| async move {
    let school = School::open(database).await;
    let record = school.expected("Ян Котов", Role::Pupil).await;
    let mother = school
        .claim("+79161111111", "Мария Котова", Role::Pupil, &record)
        .await;
    // She ends one of two sessions before the release.
    let second = school.env.again(&mother, "+79161111111").await;
    let end = pb::EndSessionRequest {
        request_id: school.env.act(),
        ..Default::default()
    };
    let mut api = school.env.authentication();
    api.end_session(by(&second.person.token, end)).await.unwrap();
    assert_eq!(school.refusal_of_token(&mother.token).await, None);
    school
        .call(&school.teacher, school.release(&record))
        .await
        .unwrap();
    let right = school
        .claim("+79162222222", "Ян Котов", Role::Pupil, &record)
        .await;
    for token in [&mother.token, &second.token] {
        let refused = school.refusal_of_token(token).await;
        assert_eq!(refused.as_deref(), Some("CREDENTIAL_REVOKED"));
    }
    assert_eq!(school.refusal_of_token(&right.token).await, None);
    // The mother joins by her own link and needs no other session.
    let names_child = |request: &mut AdmitMemberRequest| request.child_id.clone_from(&record);
    school
        .accept(&mother.person, Role::Parent, names_child)
        .await
        .unwrap();
    let own = school.env.member_session(org(1), mother.person.clone()).await;
    let own = own.unwrap();
    assert_ne!(own.member_id, record);
    assert_eq!(school.refusal_of_token(&own.token).await, None);
    school.env.close().await;
});

// Covers: R71 refused, F10 refused, F6 refused
on_both!(release_needs_a_right_and_another_person, |database| async move {
    let school = School::open(database).await;
    let env = &school.env;
    let pupil = school.expected("Ян Котов", Role::Pupil).await;
    let session = school
        .claim("+79161111111", "Ян Котов", Role::Pupil, &pupil)
        .await;
    let colleague = school.expected("Ольга Белова", Role::Teacher).await;
    let other = school
        .claim("+79162222222", "Ольга Белова", Role::Teacher, &colleague)
        .await;
    let administrator = &school.administrator;
    // A teacher of no class, a pupil, and the leader about a colleague.
    assert_eq!(school.refusal(&other, &pupil).await, "PERMISSION_DENIED");
    assert_eq!(school.refusal(&session, &pupil).await, "PERMISSION_DENIED");
    assert_eq!(
        school.refusal(&school.teacher, &colleague).await,
        "PERMISSION_DENIED"
    );
    // Only the administration learns which ids exist.
    let unknown = env.env.id::<parta_ids::MemberId>().to_string();
    assert_eq!(
        school.refusal(&school.teacher, &unknown).await,
        "PERMISSION_DENIED"
    );
    assert_eq!(school.refusal(administrator, &unknown).await, "NOT_FOUND");
    // Only an administrator touches an administrator, and nobody their own record.
    let deputy = env.join("+79164444444", "Пётр Заяц", Role::Staff, |_| ()).await;
    let roles = [Role::Deputy];
    change_roles(env, administrator, &deputy.member_id, &roles, "")
        .await
        .unwrap();
    let roles = [Role::Teacher, Role::Administrator];
    change_roles(env, administrator, &colleague, &roles, "")
        .await
        .unwrap();
    assert_eq!(school.refusal(&deputy, &colleague).await, "PERMISSION_DENIED");
    let own = school.refusal(&other, &colleague).await;
    assert_eq!(own, "SECOND_PERSON_REQUIRED");
    // A class teacher who is the mother releases neither the child nor the father.
    let names_child = |request: &mut AdmitMemberRequest| request.child_id.clone_from(&pupil);
    school
        .accept(&school.teacher.person, Role::Parent, names_child)
        .await
        .unwrap();
    let father = school.expected("Иван Котов", Role::Parent).await;
    let claims = |request: &mut AdmitMemberRequest| {
        request.claim_member_id.clone_from(&father);
        request.child_id.clone_from(&pupil);
    };
    env.join("+79165555555", "Иван Котов", Role::Parent, claims).await;
    let roles = [Role::Teacher, Role::Parent, Role::Deputy];
    change_roles(env, administrator, &school.teacher.member_id, &roles, "")
        .await
        .unwrap();
    for record in [&pupil, &father] {
        let refused = school.refusal(&school.teacher, record).await;
        assert_eq!(refused, "SECOND_PERSON_REQUIRED");
    }
    school.call(&deputy, school.release(&pupil)).await.unwrap();
    school.env.close().await;
});

// Covers: R71 refused, F10 refused
on_both!(
    release_is_refused_when_no_claim_can_be_taken_back,
    |database| async move {
        let school = School::open(database).await;
        let env = &school.env;
        let administrator = &school.administrator;
        let record = school.expected("Ян Котов", Role::Pupil).await;
        let unclaimed = school.refusal(administrator, &record).await;
        assert_eq!(unclaimed, "PROFILE_NOT_RELEASABLE");
        let joined = &school.teacher.member_id;
        assert_eq!(
            school.refusal(administrator, joined).await,
            "PROFILE_NOT_RELEASABLE"
        );
        school.claim("+79161111111", "Чужой", Role::Pupil, &record).await;
        let stale = pb::ReleaseProfileRequest {
            etag: "0".to_owned(),
            ..school.release(&record)
        };
        let stale = school.call(administrator, stale).await;
        assert_eq!(reason(&stale), "ETAG_MISMATCH");
        // A release would let a suspended person join again.
        let suspend = pb::SuspendMemberRequest {
            request_id: env.act(),
            org_id: org(1).to_string(),
            member_id: record.clone(),
            roles: Vec::new(),
            cause: "Проверка".to_owned(),
        };
        let mut api = env.suspensions();
        api.suspend_member(by(&administrator.token, suspend))
            .await
            .unwrap();
        assert_eq!(
            school.refusal(administrator, &record).await,
            "PROFILE_NOT_RELEASABLE"
        );
        // The roles with which the member was expected are gone.
        let other = school.expected("Ольга Белова", Role::Teacher).await;
        school
            .claim("+79162222222", "Ольга Белова", Role::Teacher, &other)
            .await;
        change_roles(env, administrator, &other, &[Role::Staff], "")
            .await
            .unwrap();
        assert_eq!(
            school.refusal(administrator, &other).await,
            "PROFILE_NOT_RELEASABLE"
        );
        env.remove(administrator, &other, "").await.unwrap();
        assert_eq!(school.refusal(administrator, &other).await, "MEMBER_LEFT");
        let wrong = pb::ReleaseProfileRequest {
            org_id: "org".to_owned(),
            member_id: String::new(),
            ..school.release(&record)
        };
        let wrong = school.call(administrator, wrong).await.unwrap_err();
        assert_eq!(fields(&wrong), ["member_id", "org_id"]);
        school.env.close().await;
    }
);

// A release is listed for as long as a token of the account may live.
on_both!(released_session_is_listed_for_15_minutes, |database| async move {
    let school = School::open(database).await;
    let record = school.expected("Ян Котов", Role::Pupil).await;
    let wrong = school.claim("+79161111111", "Чужой", Role::Pupil, &record).await;
    let by_whom = &school.administrator;
    school.call(by_whom, school.release(&record)).await.unwrap();
    let listed = async || {
        let responses = school.env.revocations("chat", "").await.unwrap();
        responses.iter().map(|one| one.session_ids.len()).sum::<usize>()
    };
    assert_eq!(listed().await, 1);
    school
        .env
        .time
        .advance(parta_access::REVOCATION_LIFETIME - TimeDelta::seconds(1));
    assert_eq!(listed().await, 1);
    school.env.time.advance(TimeDelta::seconds(2));
    assert_eq!(listed().await, 0);
    // The account of then is known for good.
    let db = &school.env.db;
    let sql = "SELECT account_id FROM released_profile";
    let statement = sea_orm::Statement::from_string(db.backend(), sql);
    let rows = sea_orm::ConnectionTrait::query_all_raw(db.conn(), statement).await;
    assert_eq!(rows.unwrap().len(), 1);
    assert!(!wrong.member_id.is_empty());
    school.env.close().await;
});
