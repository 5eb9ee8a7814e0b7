//! Requests to join: who makes them, who decides, and what a link does not give without a decision.
mod claiming;
mod ended;
mod limits;
mod namesakes;
mod notices;
mod own_matter;
mod roles;

use chrono::TimeDelta;
use parta_ids::{InvitationId, MemberId};
use parta_proto_membership::{
    internal::v1::{AdmitMemberRequest, AdmitMemberResponse},
    v1::{self as pb, AssignmentKind, JoinRequestState, Role},
};
use parta_proto_org_registry::v1::{
    UnitArchived, UnitCreated, UnitKind, org_registry_event::Payload as OrgRegistry,
};
use parta_service_testkit::fields;
use parta_testkit::{TestDatabase, on_both};
use tonic::Status;

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
        let teacher = env.class_teacher(&administrator, "+79163333333", unit(1)).await;
        Self {
            env,
            administrator,
            teacher,
        }
    }

    /// The acceptance of a new link to the first class that names nobody.
    async fn open_link(&self, person: &Person, role: Role) -> AdmitMemberRequest {
        let link = self.env.env.id::<InvitationId>().to_string();
        AdmitMemberRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            flow_id: self.env.flow(person, &link).await,
            invitation_id: link,
            role: role.into(),
            unit_id: unit(1).to_string(),
            issuer_id: self.env.env.id::<MemberId>().to_string(),
            open: true,
            ..Default::default()
        }
    }

    async fn admit(&self, request: AdmitMemberRequest) -> Result<AdmitMemberResponse, Status> {
        let response = self.env.admission().admit_member(request).await?;
        Ok(response.into_inner())
    }

    /// Accepts a new link that names nobody, and returns the request.
    async fn request(&self, person: &Person, role: Role) -> String {
        let requested = self.admit(self.open_link(person, role).await).await.unwrap();
        assert_eq!(requested.member_id, "", "a link that names nobody admits nobody");
        requested.join_request_id
    }

    async fn list(&self, caller: &MemberSession) -> Result<Vec<pb::JoinRequest>, Status> {
        let request = pb::ListJoinRequestsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.join_requests();
        let listed = api.list_join_requests(by(&caller.token, request)).await?;
        Ok(listed.into_inner().join_requests)
    }

    async fn decide(
        &self,
        caller: &MemberSession,
        decisions: &[(&str, bool, &str)],
    ) -> Result<Vec<pb::JoinRequest>, Status> {
        let decision = |(id, accept, member): &(&str, bool, &str)| pb::JoinDecision {
            join_request_id: (*id).to_owned(),
            accept: *accept,
            member_id: (*member).to_owned(),
        };
        let request = pb::DecideJoinRequestsRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            decisions: decisions.iter().map(decision).collect(),
        };
        let mut api = self.env.join_requests();
        let decided = api.decide_join_requests(by(&caller.token, request)).await?;
        Ok(decided.into_inner().join_requests)
    }

    async fn own(&self, person: &Person) -> Vec<pb::OwnJoinRequest> {
        let request = pb::ListOwnJoinRequestsRequest::default();
        let mut api = self.env.join_requests();
        let listed = api.list_own_join_requests(by(&person.token, request)).await;
        listed.unwrap().into_inner().join_requests
    }

    async fn withdraw(&self, person: &Person, id: &str) -> Result<pb::OwnJoinRequest, Status> {
        let request = pb::WithdrawJoinRequestRequest {
            request_id: self.env.act(),
            join_request_id: id.to_owned(),
        };
        let mut api = self.env.join_requests();
        let withdrawn = api.withdraw_join_request(by(&person.token, request)).await?;
        Ok(withdrawn.into_inner().join_request.unwrap())
    }

    async fn remove(&self, member_id: &str) {
        let removed = self.env.remove(&self.administrator, member_id, "Отчислен");
        removed.await.unwrap();
    }

    async fn change_roles(&self, member_id: &str, roles: &[Role]) -> Result<(), Status> {
        let changed = self.env.change_roles(&self.administrator, member_id, roles);
        changed.await.map(drop)
    }

    /// Creates the record of a pupil of a class.
    async fn expected_pupil(&self, full_name: &str, class: u128) -> String {
        let class = Some(unit(class));
        let created = self
            .env
            .create_member(&self.administrator, full_name, Role::Pupil, class);
        created.await.unwrap().id
    }
}

// Case 48: a stranger with a forwarded link makes a request, sees only the school and the state, and is
// a pupil when the leader of the class has accepted.
// Covers: R18 allowed, R18 refused, F9 allowed, F9 refused
on_both!(forwarded_link_only_makes_a_request, |database| async move {
    let school = School::open(database).await;
    let stranger = school.env.newcomer("+79161111111", "Ян Котов").await;
    let link = school.open_link(&stranger, Role::Pupil).await;
    let requested = school.admit(link.clone()).await.unwrap();
    assert_eq!(
        (requested.member_id.as_str(), requested.already_member),
        ("", false)
    );
    let own = school.own(&stranger).await;
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].organization_display_name, "Школа № 5");
    assert_eq!(own[0].state(), JoinRequestState::Pending);
    assert_eq!(
        reason(&school.env.member_session(org(1), stranger.clone()).await),
        "NOT_FOUND"
    );
    // The same person by the same link has one request.
    let again = AdmitMemberRequest {
        request_id: school.env.act(),
        ..link.clone()
    };
    assert_eq!(
        school.admit(again).await.unwrap().join_request_id,
        requested.join_request_id
    );

    let other = school
        .env
        .join("+79164444444", "Вера Орлова", Role::Teacher, |_| ())
        .await;
    school
        .env
        .verify_teacher(&school.administrator, &other.member_id)
        .await
        .unwrap();
    assert_eq!(reason(&school.list(&other).await), "PERMISSION_DENIED");
    school
        .env
        .assign(
            &school.administrator,
            &other.member_id,
            unit(2),
            AssignmentKind::ClassTeacher,
        )
        .await
        .unwrap();
    assert_eq!(school.list(&other).await.unwrap(), []);
    let id = requested.join_request_id.as_str();
    assert_eq!(
        reason(&school.decide(&other, &[(id, true, "")]).await),
        "PERMISSION_DENIED"
    );

    let listed = school.list(&school.teacher).await.unwrap();
    assert_eq!((listed.len(), listed[0].full_name.as_str()), (1, "Ян Котов"));
    assert!(!listed[0].returning);
    let decided = school.decide(&school.teacher, &[(id, true, "")]).await.unwrap();
    assert_eq!(decided[0].state(), JoinRequestState::Accepted);
    assert_eq!(decided[0].decider_id, school.teacher.member_id);
    let pupil = school.env.member_session(org(1), stranger.clone()).await.unwrap();
    assert_eq!(pupil.member_id, decided[0].member_id);
    let members = school.env.list(&school.teacher).await.unwrap();
    assert!(members.contains(&"Ян Котов".to_owned()), "{members:?}");
    let once_more = AdmitMemberRequest {
        request_id: school.env.act(),
        ..link
    };
    let repeated = school.admit(once_more).await.unwrap();
    assert_eq!(
        (repeated.member_id, repeated.already_member),
        (pupil.member_id, true)
    );
    assert_eq!(
        reason(&school.decide(&school.administrator, &[(id, false, "")]).await),
        "JOIN_REQUEST_DECIDED"
    );
    school.env.close().await;
});

// One wrong decision of a list decides nothing.
// Covers: R18 refused
on_both!(decisions_are_all_or_none, |database| async move {
    let school = School::open(database).await;
    let first = school.env.newcomer("+79161111111", "Ян Котов").await;
    let second = school.env.newcomer("+79162222222", "Ева Котова").await;
    let (first, second) = (
        school.request(&first, Role::Pupil).await,
        school.request(&second, Role::Pupil).await,
    );
    let unknown = school.env.env.id::<parta_ids::JoinRequestId>().to_string();
    let wrong = [(first.as_str(), true, ""), (&unknown, true, "")];
    assert_eq!(reason(&school.decide(&school.teacher, &wrong).await), "NOT_FOUND");
    assert_eq!(school.list(&school.teacher).await.unwrap().len(), 2);
    let both = [(second.as_str(), false, ""), (&first, true, "")];
    let decided = school.decide(&school.teacher, &both).await.unwrap();
    let states: Vec<_> = decided.iter().map(pb::JoinRequest::state).collect();
    assert_eq!(states, [JoinRequestState::Refused, JoinRequestState::Accepted]);
    let twice = [(first.as_str(), true, ""), (&first, true, "")];
    assert_eq!(
        fields(&school.decide(&school.teacher, &twice).await.unwrap_err()),
        ["decisions[1].join_request_id"]
    );
    let matched = [(first.as_str(), false, school.teacher.member_id.as_str())];
    assert_eq!(
        fields(&school.decide(&school.teacher, &matched).await.unwrap_err()),
        ["decisions[0].member_id"]
    );
    assert_eq!(
        fields(&school.decide(&school.teacher, &[]).await.unwrap_err()),
        ["decisions"]
    );
    school.env.close().await;
});

// The leader matches the request with the pupil whom the roster expects.
// Covers: R18 allowed, F10 refused
on_both!(request_is_matched_with_an_expected_pupil, |database| async move {
    let school = School::open(database).await;
    let mut expected = Vec::new();
    for class in [1, 2] {
        expected.push(school.expected_pupil("Артём Белов", class).await);
    }
    let person = school.env.newcomer("+79161111111", "артем  белов").await;
    let id = school.request(&person, Role::Pupil).await;
    let listed = school.list(&school.teacher).await.unwrap();
    assert_eq!(listed[0].suggested_member_ids, expected[..1]);
    // The record of another class is not this pupil's.
    assert_eq!(
        reason(&school.decide(&school.teacher, &[(&id, true, &expected[1])]).await),
        "NOT_FOUND"
    );
    let decided = school
        .decide(&school.teacher, &[(&id, true, &expected[0])])
        .await
        .unwrap();
    assert_eq!(decided[0].member_id, expected[0]);
    let pupil = school.env.member_session(org(1), person.clone()).await.unwrap();
    assert_eq!(pupil.member_id, expected[0]);
    // The person has a record and does not get a second one.
    let second = school.expected_pupil("Артём Белов", 1).await;
    let id = school.request(&person, Role::Pupil).await;
    assert_eq!(
        reason(&school.decide(&school.teacher, &[(&id, true, &second)]).await),
        "RECORDS_NOT_JOINABLE"
    );
    school.env.close().await;
});

// Case 11: a link is not enough for an expelled pupil to come back, also not for another profile of the
// same phone. A link for another role is not touched.
// Covers: F9 refused
on_both!(removed_person_requests_to_return, |database| async move {
    let school = School::open(database).await;
    let pupil = school.env.join_pupil("+79161111111", "Ян Котов", 1).await;
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    school.remove(&pupil.member_id).await;
    let same = pupil.person.clone();
    school.env.minute();
    let other_profile = school.env.newcomer("+79161111111", "Иван Котов").await;
    for person in [&same, &other_profile] {
        let named = AdmitMemberRequest {
            open: false,
            ..school.open_link(person, Role::Pupil).await
        };
        let requested = school.admit(named).await.unwrap();
        assert_eq!(requested.member_id, "");
    }
    let listed = school.list(&school.teacher).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|request| request.returning));
    let as_parent = AdmitMemberRequest {
        open: false,
        unit_id: String::new(),
        child_id: child.member_id,
        ..school.open_link(&other_profile, Role::Parent).await
    };
    let parent = school.admit(as_parent).await.unwrap();
    assert_ne!(parent.member_id, "");
    school.env.close().await;
});

// The facts of the decision count: the class was archived, the child has left.
// Covers: F8 refused
on_both!(request_is_judged_when_it_is_decided, |database| async move {
    let school = School::open(database).await;
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    let mother = school.env.newcomer("+79164444444", "Мария Котова").await;
    let of_child = AdmitMemberRequest {
        child_id: child.member_id.clone(),
        ..school.open_link(&mother, Role::Parent).await
    };
    let requested = school.admit(of_child).await.unwrap().join_request_id;
    school.remove(&child.member_id).await;
    assert_eq!(
        reason(
            &school
                .decide(&school.administrator, &[(&requested, true, "")])
                .await
        ),
        "CHILD_UNKNOWN"
    );
    let pupil = school.env.newcomer("+79161111111", "Ян Котов").await;
    let requested = school.request(&pupil, Role::Pupil).await;
    let archived = UnitArchived {
        unit_id: unit(1).to_string(),
        ..Default::default()
    };
    school
        .env
        .test_env
        .apply_org_registry(org(1), OrgRegistry::UnitArchived(archived))
        .await;
    assert_eq!(
        reason(
            &school
                .decide(&school.administrator, &[(&requested, true, "")])
                .await
        ),
        "UNIT_UNKNOWN"
    );
    school.env.close().await;
});

// A request ends by its person, or because nobody decides; the person may make another.
// Covers: R18 allowed
on_both!(request_is_withdrawn_or_expires, |database| async move {
    let school = School::open(database).await;
    let person = school.env.newcomer("+79161111111", "Ян Котов").await;
    let link = school.open_link(&person, Role::Pupil).await;
    let requested = school.admit(link.clone()).await.unwrap().join_request_id;
    let other = school.env.newcomer("+79162222222", "Чужой").await;
    assert_eq!(reason(&school.withdraw(&other, &requested).await), "NOT_FOUND");
    for _ in 0..2 {
        let withdrawn = school.withdraw(&person, &requested).await.unwrap();
        assert_eq!(withdrawn.state(), JoinRequestState::Withdrawn);
    }
    assert_eq!(school.list(&school.teacher).await.unwrap(), []);
    let again = AdmitMemberRequest {
        request_id: school.env.act(),
        ..link
    };
    assert_ne!(school.admit(again).await.unwrap().join_request_id, requested);
    let elsewhere = AdmitMemberRequest {
        org_id: org(2).to_string(),
        ..school.open_link(&other, Role::Pupil).await
    };
    school.admit(elsewhere).await.unwrap();
    school.env.time.advance(TimeDelta::days(31));
    // In both organizations.
    school.env.purge().await;
    let left = school
        .env
        .test_env
        .count_rows("join_request WHERE state = 1")
        .await;
    assert_eq!(left, 0);
    // The session of then has ended.
    let phone = "+79161111111";
    let flow = school.env.request_code(phone).await.unwrap().flow_id;
    school
        .env
        .verify(&flow, &school.env.code(phone).await)
        .await
        .unwrap();
    let person = school.env.start(&flow, &person.account_id, "").await.unwrap();
    let states: Vec<_> = school
        .own(&person)
        .await
        .iter()
        .map(pb::OwnJoinRequest::state)
        .collect();
    assert_eq!(states, [JoinRequestState::Expired, JoinRequestState::Withdrawn]);
    school.env.close().await;
});

// Case 19: a person who left and is expected again continues as the expected member, when staff agree.
// Covers: F10 allowed
on_both!(who_left_and_is_expected_again_joins, |database| async move {
    let school = School::open(database).await;
    let pupil = school.env.join_pupil("+79161111111", "Ян Котов", 1).await;
    school.remove(&pupil.member_id).await;
    let expected = school.expected_pupil("Ян Котов", 1).await;
    let claim = AdmitMemberRequest {
        open: false,
        claim_member_id: expected.clone(),
        ..school.open_link(&pupil.person, Role::Pupil).await
    };
    let requested = school.admit(claim).await.unwrap().join_request_id;
    let decided = school
        .decide(&school.teacher, &[(&requested, true, "")])
        .await
        .unwrap();
    assert_eq!(decided[0].member_id, expected);
    let back = school.env.member_session(org(1), pupil.person).await.unwrap();
    assert_eq!(back.member_id, expected);
    school.env.close().await;
});
