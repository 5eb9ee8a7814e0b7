//! An administrator loses the role while a mutation waits for a lock. A right is checked again under the lock
//! in which it is used. SQLite has one writer, so that no mutation waits there between the two.
use chrono::Days;
use futures::future::BoxFuture;
use parta_ids::{MemberId, TypedId as _, Uuid};
use parta_proto_membership::v1::{self as pb, AssignmentKind, Role, duty_scope::Scope};
use parta_service_testkit::while_waiting;
use parta_testkit::{TestDatabase, on_postgres};
use tonic::Status;

use super::test_env::{MemberSession, TestEnv, by, org, reason, unit};

struct School {
    test_env: TestEnv,
    administrator: MemberSession,
    /// An administrator who loses the role.
    second: MemberSession,
    pupil: String,
    teacher: String,
    assignment: String,
}

type Act = for<'a> fn(&'a School) -> BoxFuture<'a, Result<(), Status>>;

/// The mutations of the second administrator. Each waits for the record of the pupil or the teacher, or for
/// the assignment.
const ACTS: [(&str, Act); 8] = [
    ("EnrollPupil", |school| Box::pin(school.enroll())),
    ("TransferPupil", |school| Box::pin(school.transfer())),
    ("CreateAssignment", |school| {
        Box::pin(async {
            let (second, kind) = (&school.second, AssignmentKind::SubjectTeacher);
            let assigned = school.test_env.assign(second, &school.teacher, unit(1), kind);
            assigned.await.map(drop)
        })
    }),
    ("EndAssignment", |school| Box::pin(school.end_assignment())),
    ("AssignDuty", |school| Box::pin(school.assign_duty())),
    // The verification decides about the request, so that the refusal comes first.
    ("RefuseVerification", |school| Box::pin(school.refuse())),
    ("VerifyTeacher", |school| {
        Box::pin(async {
            let verified = school.test_env.verify_teacher(&school.second, &school.teacher);
            verified.await.map(drop)
        })
    }),
    ("VerifyTeachers", |school| Box::pin(school.verify())),
];

impl School {
    async fn open(database: TestDatabase) -> Self {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let second = test_env
            .join("+79161111111", "Иван Орлов", Role::Staff, |_| ())
            .await;
        let pupil = test_env.join_pupil("+79162222222", "Ян Котов", 1).await;
        let teacher = test_env
            .join("+79163333333", "Олег Волков", Role::Teacher, |_| ())
            .await;
        let request = pb::RequestVerificationRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            evidence: "диплом".to_owned(),
        };
        let mut api = test_env.members();
        let requested = api.request_verification(by(&teacher.token, request));
        requested.await.unwrap();
        let (teacher, kind) = (teacher.member_id, AssignmentKind::SubjectTeacher);
        let assignment = test_env.assign(&administrator, &teacher, unit(2), kind);
        let assignment = assignment.await.unwrap();
        let school = Self {
            test_env,
            administrator,
            second,
            pupil: pupil.member_id,
            teacher,
            assignment,
        };
        school.change_second(&[Role::Staff, Role::Administrator]).await;
        school
    }

    async fn change_second(&self, roles: &[Role]) {
        let changed = self
            .test_env
            .change_roles(&self.administrator, &self.second.member_id, roles);
        changed.await.unwrap();
    }

    fn by_second<T>(&self, message: T) -> tonic::Request<T> {
        by(&self.second.token, message)
    }

    async fn enroll(&self) -> Result<(), Status> {
        self.test_env.enroll(&self.second, &self.pupil, unit(2)).await
    }

    async fn transfer(&self) -> Result<(), Status> {
        let request = pb::TransferPupilRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: self.pupil.clone(),
            from_unit_id: unit(1).to_string(),
            to_unit_id: unit(2).to_string(),
        };
        let mut api = self.test_env.enrollments();
        api.transfer_pupil(self.by_second(request)).await.map(drop)
    }

    async fn end_assignment(&self) -> Result<(), Status> {
        let request = pb::EndAssignmentRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            assignment_id: self.assignment.clone(),
        };
        let mut api = self.test_env.assignments();
        api.end_assignment(self.by_second(request)).await.map(drop)
    }

    async fn assign_duty(&self) -> Result<(), Status> {
        let today = self.test_env.env.now().date_naive();
        let request = pb::AssignDutyRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: self.teacher.clone(),
            kind: pb::DutyKind::Office.into(),
            scope: Some(pb::DutyScope {
                scope: Some(Scope::Organization(true)),
            }),
            order: Some(pb::Order {
                number: "12-к".to_owned(),
                date: today.to_string(),
                text: "О назначении".to_owned(),
            }),
            until_date: (today + Days::new(2)).to_string(),
        };
        let mut api = self.test_env.duties();
        api.assign_duty(self.by_second(request)).await.map(drop)
    }

    async fn refuse(&self) -> Result<(), Status> {
        let request = pb::RefuseVerificationRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: self.teacher.clone(),
        };
        let mut api = self.test_env.members();
        api.refuse_verification(self.by_second(request)).await.map(drop)
    }

    async fn verify(&self) -> Result<(), Status> {
        let request = pb::VerifyTeachersRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_ids: vec![self.teacher.clone()],
            evidence: "приказ № 7".to_owned(),
        };
        let mut api = self.test_env.members();
        api.verify_teachers(self.by_second(request)).await.map(drop)
    }

    /// Statements that lock the rows for which the mutations wait.
    fn locks(&self) -> Vec<String> {
        let member = |id: &str| {
            let id: Uuid = id.parse::<MemberId>().unwrap().uuid();
            format!("SELECT 1 FROM member WHERE member_id = '{id}' FOR UPDATE")
        };
        vec![
            member(&self.pupil),
            member(&self.teacher),
            "SELECT 1 FROM assignment FOR UPDATE".to_owned(),
        ]
    }
}

on_postgres!(
    /// Covers: R24 refused
    right_lost_while_waiting_for_a_lock_is_refused,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        for (name, act) in ACTS {
            let demoted = school.change_second(&[Role::Staff]);
            let (acted, ()) = while_waiting(&url, &school.locks(), act(&school), demoted).await;
            assert_eq!(reason(&acted), "PERMISSION_DENIED", "{name}");
            school.change_second(&[Role::Staff, Role::Administrator]).await;
        }
        // With the right, each is possible: the refusals above had no other reason.
        for (name, act) in ACTS {
            // The pupil is in the second unit by EnrollPupil.
            if name != "TransferPupil" {
                assert_eq!(reason(&act(&school).await), "OK", "{name}");
            }
        }
        school.test_env.close().await;
    }
);
