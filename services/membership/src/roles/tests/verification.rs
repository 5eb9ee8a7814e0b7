//! Requests of teachers for verification, and decisions as a list (R22, F6, F7).
use std::time::Duration;

use parta_proto_membership::v1::{self as pb, Role};
use parta_service_testkit::fields;
use parta_status::RpcError;
use parta_testkit::{TestDatabase, on_both};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::tests::{
    school,
    test_env::{MemberSession, by, org, reason},
};

/// The school with two teachers who are not verified.
struct People {
    teachers: [MemberSession; 2],
}

type School = school::With<People>;

impl School {
    async fn open(database: TestDatabase) -> Self {
        let school = school::School::open(database).await;
        let test_env = &school.test_env;
        let teachers = [
            test_env
                .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
                .await,
            test_env
                .join("+79162222222", "Вера Белова", Role::Teacher, |_| ())
                .await,
        ];
        let people = People { teachers };
        Self { school, people }
    }

    async fn request(&self, caller: &MemberSession, evidence: &str) -> Result<pb::Member, Status> {
        let request = pb::RequestVerificationRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            evidence: evidence.to_owned(),
        };
        let request = by(&caller.token, request);
        let response = self.test_env.members().request_verification(request).await?;
        Ok(response.into_inner().member.unwrap())
    }

    async fn refuse(&self, caller: &MemberSession, member: &MemberSession) -> Result<pb::Member, Status> {
        let request = pb::RefuseVerificationRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
        };
        let request = by(&caller.token, request);
        let response = self.test_env.members().refuse_verification(request).await?;
        Ok(response.into_inner().member.unwrap())
    }

    fn list(&self, members: &[&str]) -> pb::VerifyTeachersRequest {
        pb::VerifyTeachersRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_ids: members.iter().map(|id| (*id).to_owned()).collect(),
            evidence: "приказ № 7".to_owned(),
        }
    }

    async fn verify(
        &self,
        caller: &MemberSession,
        request: pb::VerifyTeachersRequest,
    ) -> Result<Vec<bool>, Status> {
        let request = by(&caller.token, request);
        let response = self
            .test_env
            .members()
            .verify_teachers(request)
            .await?
            .into_inner();
        Ok(response
            .members
            .iter()
            .map(|member| member.teacher_verified)
            .collect())
    }

    /// The requests that the caller sees: who, and on which documents.
    async fn requests(&self, caller: &MemberSession) -> Result<Vec<(String, String)>, Status> {
        let request = pb::ListVerificationRequestsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let request = by(&caller.token, request);
        let response = self
            .test_env
            .members()
            .list_verification_requests(request)
            .await?;
        let requests = response.into_inner().requests.into_iter();
        Ok(requests.map(|one| (one.member_id, one.evidence)).collect())
    }
}

/// The resource that a refusal names.
fn resource<T: std::fmt::Debug>(refused: &Result<T, Status>) -> String {
    let status = refused.as_ref().unwrap_err();
    status.get_details_resource_info().unwrap().resource_name
}

// Covers: R22 allowed, R22 refused
on_both!(
    teacher_requests_and_the_administration_decides,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        let [first, second] = &school.people.teachers;
        assert_eq!(
            reason(&school.request(administrator, "диплом").await),
            "PERMISSION_DENIED"
        );
        assert!(
            !school
                .request(first, "диплом № 6")
                .await
                .unwrap()
                .teacher_verified
        );
        // Another request of the same teacher replaces the first one.
        school.request(first, "диплом № 7").await.unwrap();
        school.request(second, "диплом № 8").await.unwrap();
        let own = (first.member_id.clone(), "диплом № 7".to_owned());
        let other = (second.member_id.clone(), "диплом № 8".to_owned());
        assert_eq!(school.requests(first).await.unwrap(), std::slice::from_ref(&own));
        let all = school.requests(administrator).await.unwrap();
        assert_eq!(all, [own, other]);
        let pupil = school.test_env.join_pupil("+79163333333", "Ева Орлова", 1);
        let pupil = pupil.await;
        assert_eq!(reason(&school.requests(&pupil).await), "PERMISSION_DENIED");
        assert_eq!(reason(&school.refuse(first, second).await), "PERMISSION_DENIED");

        assert!(
            !school
                .refuse(administrator, second)
                .await
                .unwrap()
                .teacher_verified
        );
        assert_eq!(reason(&school.refuse(administrator, second).await), "NOT_FOUND");
        let id = &first.member_id;
        school.test_env.verify_teacher(administrator, id).await.unwrap();
        assert_eq!(school.requests(administrator).await.unwrap(), []);
        // A verified teacher has nothing to request.
        assert!(
            school
                .request(first, "диплом № 7")
                .await
                .unwrap()
                .teacher_verified
        );
        assert_eq!(school.requests(administrator).await.unwrap(), []);
        school.school.test_env.close().await;
    }
);

// Covers: R22 refused
on_both!(
    teacher_requests_a_limited_number_of_times,
    |database| async move {
        let school = School::open(database).await;
        let [first, second] = &school.people.teachers;
        for _ in 0..5 {
            school.request(first, "диплом").await.unwrap();
        }
        let refused = school.request(first, "другой диплом").await;
        let refused = RpcError::from_status(&refused.unwrap_err()).unwrap();
        assert_eq!(refused.reason(), "RATE_LIMITED");
        assert_eq!(refused.metadata("limit"), Some("verification_requests"));
        assert_eq!(refused.retry_delay(), Some(Duration::from_hours(4)));
        let kept = (first.member_id.clone(), "диплом".to_owned());
        assert_eq!(school.requests(first).await.unwrap(), [kept]);
        school.request(second, "диплом").await.unwrap();
        school.school.test_env.close().await;
    }
);

// Covers: R22 allowed, R22 refused
on_both!(request_ends_with_the_role, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let [first, second] = &school.people.teachers;
    for teacher in [first, second] {
        school.request(teacher, "диплом").await.unwrap();
    }
    let demoted = school
        .test_env
        .change_roles(administrator, &first.member_id, &[Role::Staff]);
    demoted.await.unwrap();
    assert_eq!(
        reason(&school.request(first, "диплом").await),
        "PERMISSION_DENIED"
    );
    let removed = school.test_env.remove(administrator, &second.member_id, "");
    removed.await.unwrap();
    assert_eq!(school.requests(administrator).await.unwrap(), []);
    school.school.test_env.close().await;
});

// A list is decided as a whole. A refusal names the row.
// Covers: R22 allowed, R22 refused, F6 refused, F7 refused
on_both!(list_of_teachers_is_verified_or_none, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let [first, second] = &school.people.teachers;
    let both = [first.member_id.as_str(), second.member_id.as_str()];
    let secretary = school
        .test_env
        .create_member(administrator, "Пётр Ильин", Role::Staff, None)
        .await
        .unwrap();
    let unknown = by_id(9);
    for (wrong, expected) in [
        (secretary.id.as_str(), "NOT_A_TEACHER"),
        (&administrator.member_id, "SECOND_PERSON_REQUIRED"),
        (&unknown, "NOT_FOUND"),
    ] {
        let list = school.list(&[both[0], wrong]);
        let refused = school.verify(administrator, list).await;
        assert_eq!(
            (reason(&refused).as_str(), resource(&refused)),
            (expected, wrong.to_owned())
        );
    }
    let refused = school.verify(first, school.list(&both)).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let twice = school
        .verify(administrator, school.list(&[both[0], both[0]]))
        .await;
    assert_eq!(fields(&twice.unwrap_err()), ["member_ids"]);
    let empty = pb::VerifyTeachersRequest {
        evidence: String::new(),
        ..school.list(&[])
    };
    let empty = school.verify(administrator, empty).await.unwrap_err();
    assert_eq!(fields(&empty), ["evidence", "member_ids"]);
    school.request(second, "диплом").await.unwrap();
    assert!(!school.request(first, "диплом").await.unwrap().teacher_verified);

    let list = school.list(&both);
    assert_eq!(
        school.verify(administrator, list.clone()).await.unwrap(),
        [true, true]
    );
    assert_eq!(school.verify(administrator, list).await.unwrap(), [true, true]);
    assert_eq!(school.requests(administrator).await.unwrap(), []);
    let removed = school.test_env.remove(administrator, both[1], "");
    removed.await.unwrap();
    let refused = school.verify(administrator, school.list(&both)).await;
    assert_eq!(
        (reason(&refused).as_str(), resource(&refused).as_str()),
        ("MEMBER_LEFT", both[1])
    );
    school.school.test_env.close().await;
});

/// The id of a member who does not exist.
fn by_id(n: u128) -> String {
    use parta_ids::{MemberId, TypedId as _, Uuid};

    MemberId::from_uuid(Uuid::from_u128(n)).to_string()
}
