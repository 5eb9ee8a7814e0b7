//! The end of a verification on a day that was announced 30 days before (F7).
use std::slice;

use chrono::{NaiveDate, TimeDelta};
use parta_proto_membership::v1::{self as pb, Role};
use parta_service_testkit::fields;
use parta_testkit::{TestDatabase, on_both};
use tonic::Status;

use crate::{
    endings::{delete_due, list_due, list_overdue},
    error::Error,
    tests::{
        school,
        test_env::{MemberSession, by, org, reason},
    },
};

/// The school with a verified teacher.
struct People {
    teacher: MemberSession,
}

type School = school::With<People>;

impl School {
    async fn open(database: TestDatabase) -> Self {
        let school = school::School::open(database).await;
        let phone = "+79161111111";
        let teacher = school
            .test_env
            .join(phone, "Олег Волков", Role::Teacher, |_| ())
            .await;
        let verified = school
            .test_env
            .verify_teacher(&school.administrator, &teacher.member_id);
        verified.await.unwrap();
        let people = People { teacher };
        Self { school, people }
    }

    fn announcement(&self, member: &MemberSession, day: u64) -> pb::AnnounceVerificationEndRequest {
        pb::AnnounceVerificationEndRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
            last_date: self.day(day).to_string(),
            cause: "срок аттестации".to_owned(),
        }
    }

    async fn announce(
        &self,
        caller: &MemberSession,
        request: pb::AnnounceVerificationEndRequest,
    ) -> Result<pb::VerificationEnd, Status> {
        let request = by(&caller.token, request);
        let response = self.test_env.roles().announce_verification_end(request).await?;
        Ok(response.into_inner().verification_end.unwrap())
    }

    async fn cancel(&self, caller: &MemberSession, member: &MemberSession) -> Result<(), Status> {
        let request = pb::CancelVerificationEndRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
        };
        let request = by(&caller.token, request);
        self.test_env
            .roles()
            .cancel_verification_end(request)
            .await
            .map(drop)
    }

    async fn ends(&self, caller: &MemberSession) -> Result<Vec<pb::VerificationEnd>, Status> {
        let request = pb::ListVerificationEndsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let request = by(&caller.token, request);
        let response = self.test_env.roles().list_verification_ends(request).await?;
        Ok(response.into_inner().verification_ends)
    }

    async fn is_verified(&self) -> bool {
        let request = pb::GetMemberRequest {
            org_id: org(1).to_string(),
            member_id: self.people.teacher.member_id.clone(),
        };
        let mut api = self.test_env.members();
        let found = api.get_member(by(&self.administrator.token, request)).await;
        found.unwrap().into_inner().member.unwrap().teacher_verified
    }

    /// Lets days pass, and signs the administrator and the teacher in again.
    async fn pass(&mut self, time: TimeDelta) {
        self.test_env.time.advance(time);
        let administrator = &self.school.administrator;
        self.school.administrator = self.test_env.sign_in_again("+79160000001", administrator).await;
        self.people.teacher = self
            .test_env
            .sign_in_again("+79161111111", &self.people.teacher)
            .await;
    }
}

// The teacher sees the announced end, and keeps the badge for the last day. Then the job takes it.
// Covers: F7 allowed, F1 allowed, R22 allowed
on_both!(verification_ends_after_its_announced_day, |database| async move {
    let mut school = School::open(database).await;
    let announced = school.announcement(&school.people.teacher, 30);
    let announced = school.announce(&school.administrator, announced).await.unwrap();
    assert_eq!(announced.announcer_id, school.administrator.member_id);
    for caller in [&school.administrator, &school.people.teacher] {
        assert_eq!(school.ends(caller).await.unwrap(), slice::from_ref(&announced));
    }
    let last: NaiveDate = announced.last_date.parse().unwrap();
    let midnight = school::end_of(last);
    let left = midnight - school.test_env.env.now();
    school.pass(left - TimeDelta::minutes(1)).await;
    school.test_env.run_due_jobs().await;
    assert!(school.is_verified().await);
    school.test_env.time.advance(TimeDelta::minutes(1));
    school.test_env.run_due_jobs().await;
    assert!(!school.is_verified().await);
    assert_eq!(school.ends(&school.people.teacher).await.unwrap(), []);
    assert_eq!(list_overdue(school.test_env.db.clone()).await.unwrap(), []);
    school.school.test_env.close().await;
});

// The end is postponed between the moment at which the job lists what is due and the moment at which it ends
// the first of it. The later end is not lost.
// Covers: F7 allowed, F1 allowed
on_both!(end_postponed_while_it_is_due_is_kept, |database| async move {
    let mut school = School::open(database).await;
    let announced = school.announcement(&school.people.teacher, 30);
    let announced = school.announce(&school.administrator, announced).await.unwrap();
    let last: NaiveDate = announced.last_date.parse().unwrap();
    let midnight = school::end_of(last);
    let left = midnight - school.test_env.env.now();
    school.pass(left).await;
    let scope = &parta_access::OrgScope::for_consumer("test", org(1));
    let due = list_due(school.test_env.db.conn(), scope, midnight, 1).await;
    let [due] = due.unwrap()[..] else {
        panic!("one ending");
    };
    let later = school.announcement(&school.people.teacher, 30);
    school.announce(&school.administrator, later).await.unwrap();
    let deleted: Result<bool, Error> = school
        .test_env
        .db
        .write(|tx| async move { Ok(delete_due(&tx, scope, due, tx.now()).await?) })
        .await;
    assert!(!deleted.unwrap());
    school.test_env.run_due_jobs().await;
    assert!(school.is_verified().await);
    school.test_env.time.advance(TimeDelta::days(31));
    school.test_env.run_due_jobs().await;
    school.pass(TimeDelta::zero()).await;
    assert!(!school.is_verified().await);
    school.school.test_env.close().await;
});

// A later announcement replaces an earlier one. A cancellation, a withdrawal at once and another verification
// forget it, so that nothing ends later.
// Covers: F7 allowed, F1 allowed
on_both!(announced_end_is_replaced_and_forgotten, |database| async move {
    let mut school = School::open(database).await;
    let administrator = school.administrator.clone();
    for days in [30, 40] {
        let announced = school.announcement(&school.people.teacher, days);
        school.announce(&administrator, announced).await.unwrap();
    }
    school.pass(TimeDelta::days(32)).await;
    school.test_env.run_due_jobs().await;
    assert!(school.is_verified().await);
    let administrator = school.administrator.clone();
    school
        .cancel(&administrator, &school.people.teacher)
        .await
        .unwrap();
    let again = school.cancel(&administrator, &school.people.teacher).await;
    assert_eq!(reason(&again), "NOT_FOUND");

    let announced = school.announcement(&school.people.teacher, 30);
    school.announce(&administrator, announced).await.unwrap();
    let id = school.people.teacher.member_id.clone();
    school.test_env.verify_teacher(&administrator, &id).await.unwrap();
    assert_eq!(school.ends(&administrator).await.unwrap(), []);

    let announced = school.announcement(&school.people.teacher, 30);
    school.announce(&administrator, announced).await.unwrap();
    school.test_env.remove(&administrator, &id, "").await.unwrap();
    assert_eq!(school.ends(&administrator).await.unwrap(), []);
    school.test_env.time.advance(TimeDelta::days(60));
    assert_eq!(list_overdue(school.test_env.db.clone()).await.unwrap(), []);
    school.school.test_env.close().await;
});

// Covers: F7 refused, F6 refused, R22 refused
on_both!(announced_end_is_refused, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let early = school.announcement(&school.people.teacher, 29);
    let early = school.announce(administrator, early).await.unwrap_err();
    assert_eq!(fields(&early), ["last_date"]);
    let wrong = pb::AnnounceVerificationEndRequest {
        request_id: school.test_env.act(),
        ..Default::default()
    };
    let wrong = school.announce(administrator, wrong).await.unwrap_err();
    assert_eq!(fields(&wrong), ["cause", "last_date", "member_id", "org_id"]);
    let wrong = pb::CancelVerificationEndRequest {
        request_id: school.test_env.act(),
        ..Default::default()
    };
    let mut api = school.test_env.roles();
    let wrong = api.cancel_verification_end(by(&administrator.token, wrong)).await;
    assert_eq!(fields(&wrong.unwrap_err()), ["member_id", "org_id"]);

    let phone = "+79162222222";
    let other = school
        .test_env
        .join(phone, "Вера Белова", Role::Teacher, |_| ())
        .await;
    let staff = school
        .test_env
        .join("+79163333333", "Иван Орлов", Role::Staff, |_| ())
        .await;
    let stranger = school.test_env.administrator(2).await;
    let left = school
        .test_env
        .join("+79164444444", "Павел Орлов", Role::Teacher, |_| ())
        .await;
    school
        .test_env
        .remove(administrator, &left.member_id, "")
        .await
        .unwrap();
    for (caller, member, expected) in [
        (&other, &school.people.teacher, "PERMISSION_DENIED"),
        (administrator, administrator, "SECOND_PERSON_REQUIRED"),
        (administrator, &other, "NOT_VERIFIED"),
        (administrator, &staff, "NOT_A_TEACHER"),
        (administrator, &stranger, "NOT_FOUND"),
        (administrator, &left, "MEMBER_LEFT"),
    ] {
        let request = school.announcement(member, 30);
        assert_eq!(reason(&school.announce(caller, request).await), expected);
    }
    for (caller, member, expected) in [
        (&other, &school.people.teacher, "PERMISSION_DENIED"),
        (administrator, administrator, "SECOND_PERSON_REQUIRED"),
        (administrator, &school.people.teacher, "NOT_FOUND"),
    ] {
        assert_eq!(reason(&school.cancel(caller, member).await), expected);
    }
    assert_eq!(reason(&school.ends(&staff).await), "PERMISSION_DENIED");
    assert_eq!(reason(&school.ends(&stranger).await), "NOT_FOUND");
    school.school.test_env.close().await;
});
