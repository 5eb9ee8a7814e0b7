//! Deputies who act as the head (F7).
use chrono::{Days, NaiveDate, TimeDelta};
use parta_proto_membership::v1::{self as pb, Role};
use parta_service_testkit::fields;
use parta_testkit::{TestDatabase, on_both};
use tonic::Status;

use crate::{
    endings::list_overdue,
    tests::{
        school,
        test_env::{MemberSession, by, org, reason},
    },
};

/// The school with a deputy and another administrator.
struct People {
    deputy: MemberSession,
    second: MemberSession,
}

type School = school::With<People>;

impl School {
    async fn open(database: TestDatabase) -> Self {
        let school = school::School::open(database).await;
        let join = async |phone, name, role| {
            let member = school.test_env.join(phone, name, Role::Staff, |_| ()).await;
            let roles = [Role::Staff, role];
            let changed = school
                .test_env
                .change_roles(&school.administrator, &member.member_id, &roles);
            changed.await.unwrap();
            member
        };
        let deputy = join("+79161111111", "Олег Волков", Role::Deputy).await;
        let second = join("+79162222222", "Павел Соколов", Role::Administrator).await;
        let people = People { deputy, second };
        Self { school, people }
    }

    fn appointment(&self, member: &MemberSession, until: u64) -> pb::AppointActingHeadRequest {
        pb::AppointActingHeadRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
            order: Some(pb::Order {
                number: "12-к".to_owned(),
                date: self.day(0).to_string(),
                text: "Об исполнении обязанностей".to_owned(),
            }),
            until_date: self.day(until).to_string(),
        }
    }

    async fn appoint(
        &self,
        caller: &MemberSession,
        request: pb::AppointActingHeadRequest,
    ) -> Result<pb::ActingHead, Status> {
        let request = by(&caller.token, request);
        let response = self.test_env.roles().appoint_acting_head(request).await?;
        Ok(response.into_inner().acting_head.unwrap())
    }

    async fn end(&self, caller: &MemberSession, id: &str) -> Result<(), Status> {
        let request = pb::EndActingHeadRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            acting_head_id: id.to_owned(),
            cause: "возвращение".to_owned(),
        };
        let request = by(&caller.token, request);
        self.test_env.roles().end_acting_head(request).await.map(drop)
    }

    async fn current(&self, caller: &MemberSession) -> Result<Option<pb::ActingHead>, Status> {
        let request = pb::GetActingHeadRequest {
            org_id: org(1).to_string(),
        };
        let request = by(&caller.token, request);
        let response = self.test_env.roles().get_acting_head(request).await?;
        Ok(response.into_inner().acting_head)
    }

    /// Removes the second administrator for a cause, as only an administrator and the head can.
    async fn removes_administrator(&self) -> Result<(), Status> {
        let id = &self.people.second.member_id;
        self.test_env
            .remove(&self.people.deputy, id, "приказ № 8")
            .await
            .map(drop)
    }
}

// The acting head has the powers of the head through the last day, and they end by the job.
// Covers: F7 allowed, F7 refused, F1 allowed, F5 allowed
on_both!(acting_head_has_the_powers_of_the_head, |database| async move {
    let mut school = School::open(database).await;
    assert_eq!(reason(&school.removes_administrator().await), "PERMISSION_DENIED");
    let appointed = school.appointment(&school.people.deputy, 1);
    let appointed = school.appoint(&school.administrator, appointed).await.unwrap();
    assert_eq!(
        school.current(&school.people.deputy).await.unwrap().unwrap(),
        appointed
    );
    let last: NaiveDate = appointed.until_date.parse().unwrap();
    let midnight = school::end_of(last);
    let left = midnight - school.test_env.env.now();
    school.test_env.time.advance(left - TimeDelta::minutes(1));
    school.test_env.run_due_jobs().await;
    school.people.deputy = school
        .test_env
        .sign_in_again("+79161111111", &school.people.deputy)
        .await;
    school.removes_administrator().await.unwrap();

    school.test_env.time.advance(TimeDelta::minutes(1));
    school.test_env.run_due_jobs().await;
    assert_eq!(list_overdue(school.test_env.db.clone()).await.unwrap(), []);
    assert_eq!(school.current(&school.people.deputy).await.unwrap(), None);
    let id = &school.administrator.member_id;
    let refused = school
        .test_env
        .remove(&school.people.deputy, id, "приказ № 9")
        .await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    school.school.test_env.close().await;
});

// The powers end with a decision, with a suspension, with the role of a deputy and with the membership, and
// do not come back with the role.
// Covers: F7 refused, F2 refused, F5 allowed
on_both!(powers_of_the_acting_head_end, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let appoint = async || {
        let appointed = school.appointment(&school.people.deputy, 10);
        school.appoint(administrator, appointed).await.unwrap().id
    };
    let first = appoint().await;
    let second = school.appointment(&school.people.second, 10);
    // Only a deputy acts, and one at a time.
    assert_eq!(
        reason(&school.appoint(administrator, second).await),
        "NOT_A_DEPUTY"
    );
    school.end(administrator, &first).await.unwrap();
    assert_eq!(reason(&school.end(administrator, &first).await), "NOT_FOUND");
    assert_eq!(reason(&school.removes_administrator().await), "PERMISSION_DENIED");

    appoint().await;
    let suspend = pb::SuspendMemberRequest {
        request_id: school.test_env.act(),
        org_id: org(1).to_string(),
        member_id: school.people.deputy.member_id.clone(),
        roles: vec![Role::Deputy.into()],
        cause: "проверка".to_owned(),
    };
    let mut api = school.test_env.suspensions();
    let suspended = api.suspend_member(by(&administrator.token, suspend)).await;
    let suspension = suspended.unwrap().into_inner().suspension.unwrap();
    assert_eq!(reason(&school.removes_administrator().await), "PERMISSION_DENIED");
    let reinstate = pb::ReinstateMemberRequest {
        request_id: school.test_env.act(),
        org_id: org(1).to_string(),
        suspension_id: suspension.id,
        cause: "проверено".to_owned(),
    };
    api.reinstate_member(by(&school.people.second.token, reinstate))
        .await
        .unwrap();

    let id = &school.people.deputy.member_id;
    for roles in [&[Role::Staff][..], &[Role::Staff, Role::Deputy]] {
        school
            .test_env
            .change_roles(administrator, id, roles)
            .await
            .unwrap();
        assert_eq!(school.current(administrator).await.unwrap(), None);
    }
    assert_eq!(reason(&school.removes_administrator().await), "PERMISSION_DENIED");
    appoint().await;
    school.test_env.remove(administrator, id, "").await.unwrap();
    assert_eq!(school.current(administrator).await.unwrap(), None);
    school.school.test_env.close().await;
});

// Covers: F7 refused, F6 refused
on_both!(appointment_of_an_acting_head_is_refused, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let wrong = pb::AppointActingHeadRequest {
        request_id: school.test_env.act(),
        ..Default::default()
    };
    let wrong = school.appoint(administrator, wrong).await.unwrap_err();
    assert_eq!(fields(&wrong), ["member_id", "org_id", "until_date"]);
    let over = pb::AppointActingHeadRequest {
        until_date: (school.day(0) - Days::new(1)).to_string(),
        ..school.appointment(&school.people.deputy, 1)
    };
    let over = school.appoint(administrator, over).await.unwrap_err();
    assert_eq!(fields(&over), ["until_date"]);
    let unordered = pb::AppointActingHeadRequest {
        order: None,
        ..school.appointment(&school.people.deputy, 1)
    };
    let unordered = school.appoint(administrator, unordered).await;
    assert_eq!(reason(&unordered), "ORDER_REQUIRED");
    let stranger = school.test_env.administrator(2).await;
    let pupil = school.test_env.join_pupil("+79164444444", "Ян Котов", 1).await;
    let left = school
        .test_env
        .join("+79165555555", "Иван Орлов", Role::Staff, |_| ())
        .await;
    school
        .test_env
        .remove(administrator, &left.member_id, "")
        .await
        .unwrap();
    for (caller, member, expected) in [
        (&school.people.deputy, &school.people.deputy, "PERMISSION_DENIED"),
        (administrator, administrator, "SECOND_PERSON_REQUIRED"),
        (administrator, &stranger, "NOT_FOUND"),
        (administrator, &left, "MEMBER_LEFT"),
    ] {
        let request = school.appointment(member, 1);
        assert_eq!(reason(&school.appoint(caller, request).await), expected);
    }
    // Another deputy acts already. Nobody ends their own appointment.
    let roles = [Role::Staff, Role::Administrator, Role::Deputy];
    let id = &school.people.second.member_id;
    school
        .test_env
        .change_roles(administrator, id, &roles)
        .await
        .unwrap();
    let request = school.appointment(&school.people.second, 1);
    let appointed = school.appoint(administrator, request).await.unwrap();
    let request = school.appointment(&school.people.deputy, 1);
    let present = school.appoint(administrator, request).await;
    assert_eq!(reason(&present), "ACTING_HEAD_PRESENT");
    for (caller, expected) in [
        (&school.people.second, "SECOND_PERSON_REQUIRED"),
        (&school.people.deputy, "PERMISSION_DENIED"),
    ] {
        assert_eq!(reason(&school.end(caller, &appointed.id).await), expected);
    }
    assert_eq!(reason(&school.current(&pupil).await), "PERMISSION_DENIED");
    assert_eq!(reason(&school.current(&stranger).await), "NOT_FOUND");
    school.school.test_env.close().await;
});
