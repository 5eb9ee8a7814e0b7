//! Duties: who assigns them, whom they show, and when they end.
use chrono::{Days, TimeDelta};
use parta_proto_membership::v1::{self as pb, DutyKind, Role, duty_scope::Scope};
use parta_service_testkit::fields;
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

struct School {
    test_env: TestEnv,
    administrator: MemberSession,
    /// An unverified teacher, who sees the staff only.
    holder: MemberSession,
    pupil: MemberSession,
}

const STAFF: [&str; 2] = ["Анна Петрова", "Олег Волков"];
const WITH_PUPIL: [&str; 3] = ["Анна Петрова", "Олег Волков", "Ян Котов"];

impl School {
    async fn open(database: parta_testkit::TestDatabase) -> Self {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let holder = test_env
            .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
            .await;
        let pupil = test_env.join_pupil("+79162222222", "Ян Котов", 1).await;
        test_env.join_pupil("+79163333333", "Ева Орлова", 2).await;
        Self {
            test_env,
            administrator,
            holder,
            pupil,
        }
    }

    fn duty(&self, member: &MemberSession, kind: DutyKind, scope: Scope) -> pb::AssignDutyRequest {
        let today = self.test_env.env.now().date_naive();
        pb::AssignDutyRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
            kind: kind.into(),
            scope: Some(pb::DutyScope { scope: Some(scope) }),
            order: Some(pb::Order {
                number: "12-к".to_owned(),
                date: today.to_string(),
                text: "О назначении".to_owned(),
            }),
            until_date: (today + Days::new(2)).to_string(),
        }
    }

    async fn assign(
        &self,
        caller: &MemberSession,
        request: pb::AssignDutyRequest,
    ) -> Result<pb::Duty, Status> {
        let mut api = self.test_env.duties();
        let response = api.assign_duty(by(&caller.token, request)).await?;
        Ok(response.into_inner().duty.unwrap())
    }

    async fn end(&self, caller: &MemberSession, duty: &pb::Duty) -> Result<(), Status> {
        let request = pb::EndDutyRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            duty_id: duty.id.clone(),
            cause: "Перевод".to_owned(),
        };
        self.test_env
            .duties()
            .end_duty(by(&caller.token, request))
            .await?;
        Ok(())
    }

    async fn list(&self, caller: &MemberSession) -> Result<Vec<pb::Duty>, Status> {
        let request = pb::ListDutiesRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let listed = self
            .test_env
            .duties()
            .list_duties(by(&caller.token, request))
            .await?;
        Ok(listed.into_inner().duties)
    }

    async fn names(&self) -> Vec<String> {
        self.names_of(&self.holder).await
    }

    async fn names_of(&self, holder: &MemberSession) -> Vec<String> {
        let mut names = self.test_env.list(holder).await.unwrap();
        names.sort();
        names
    }

    async fn roles(&self, member: &MemberSession, roles: &[Role]) {
        let changed = self
            .test_env
            .change_roles(&self.administrator, &member.member_id, roles);
        changed.await.unwrap();
    }

    fn named(&self) -> Scope {
        Scope::Pupils(pb::DutyPupils {
            member_ids: vec![self.pupil.member_id.clone()],
        })
    }
}

// Covers: F3 allowed, F3 refused
on_both!(duty_shows_the_pupils_in_its_scope, |database| async move {
    let school = School::open(database).await;
    assert_eq!(school.names().await, STAFF);
    for (kind, scope) in [
        (DutyKind::Psychologist, Scope::UnitId(unit(1).to_string())),
        (DutyKind::Transport, school.named()),
        (DutyKind::Office, Scope::UnitId(unit(1).to_string())),
    ] {
        let request = school.duty(&school.holder, kind, scope);
        let duty = school.assign(&school.administrator, request).await.unwrap();
        assert_eq!(school.names().await, WITH_PUPIL);
        assert_eq!(
            school.list(&school.holder).await.unwrap(),
            std::slice::from_ref(&duty)
        );
        assert_eq!(
            school.list(&school.administrator).await.unwrap(),
            std::slice::from_ref(&duty)
        );
        school.end(&school.administrator, &duty).await.unwrap();
        assert_eq!(school.names().await, STAFF);
        let ended = school.end(&school.administrator, &duty).await;
        assert_eq!(reason(&ended), "NOT_FOUND");
    }
    let refused = school.list(&school.pupil).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    school.test_env.close().await;
});

// Covers: F3 refused, F6 refused
on_both!(duty_is_refused_without_its_conditions, |database| async move {
    let school = School::open(database).await;
    let (administrator, holder) = (&school.administrator, &school.holder);
    let whole = || Scope::Organization(true);
    let office = |member| school.duty(member, DutyKind::Office, whole());
    let unordered = pb::AssignDutyRequest {
        order: None,
        ..office(holder)
    };
    let tutor = school.duty(holder, DutyKind::Tutor, whole());
    let unknown = Scope::UnitId(unit(9).to_string());
    let staff = Scope::Pupils(pb::DutyPupils {
        member_ids: vec![administrator.member_id.clone()],
    });
    for (caller, request, expected) in [
        (administrator, unordered, "ORDER_REQUIRED"),
        (administrator, office(administrator), "SECOND_PERSON_REQUIRED"),
        (holder, office(holder), "PERMISSION_DENIED"),
        (administrator, office(&school.pupil), "NOT_STAFF"),
        (administrator, tutor, "OUT_OF_SCOPE"),
        (
            administrator,
            school.duty(holder, DutyKind::Nurse, unknown),
            "OUT_OF_SCOPE",
        ),
        (
            administrator,
            school.duty(holder, DutyKind::Tutor, staff),
            "OUT_OF_SCOPE",
        ),
    ] {
        let refused = school.assign(caller, request).await;
        assert_eq!(reason(&refused), expected);
    }
    let yesterday = school.test_env.env.now().date_naive() - Days::new(1);
    for (until, path) in [
        ("", "until_date"),
        ("2027-5-1", "until_date"),
        (&yesterday.to_string(), "until_date"),
    ] {
        let request = pb::AssignDutyRequest {
            until_date: until.to_owned(),
            ..office(holder)
        };
        let refused = school.assign(administrator, request).await.unwrap_err();
        assert_eq!(fields(&refused), [path]);
    }
    let empty = pb::AssignDutyRequest {
        request_id: school.test_env.act(),
        ..Default::default()
    };
    let refused = school.assign(administrator, empty).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        ["kind", "member_id", "org_id", "scope", "until_date"]
    );
    let mut late = office(holder);
    late.order.as_mut().unwrap().date = "2999-01-01".to_owned();
    let refused = school.assign(administrator, late).await.unwrap_err();
    assert_eq!(fields(&refused), ["order.date"]);
    assert_eq!(school.list(administrator).await.unwrap(), []);
    school.test_env.close().await;
});

// The last day belongs to the duty, and the day ends in the time zone of the organization.
// Covers: F1 allowed, F1 refused, F3 refused
on_both!(duty_ends_after_its_last_day, |database| async move {
    let school = School::open(database).await;
    let scope = Scope::UnitId(unit(1).to_string());
    let request = school.duty(&school.holder, DutyKind::Office, scope);
    let until: chrono::NaiveDate = request.until_date.parse().unwrap();
    school.assign(&school.administrator, request).await.unwrap();
    // Midnight in Moscow.
    let end = until.and_hms_opt(21, 0, 0).unwrap().and_utc();
    let left = end - school.test_env.env.now();
    school.test_env.time.advance(left - TimeDelta::seconds(1));
    school.test_env.run_due_jobs().await;
    let holder = school
        .test_env
        .sign_in_again("+79161111111", &school.holder)
        .await;
    assert_eq!(school.names_of(&holder).await, WITH_PUPIL);
    school.test_env.time.advance(TimeDelta::seconds(1));
    school.test_env.run_due_jobs().await;
    assert_eq!(school.names_of(&holder).await, STAFF);
    school.test_env.close().await;
});

// Covers: F2 allowed, F2 refused
on_both!(
    duty_ends_with_the_work_and_the_membership,
    |database| async move {
        let school = School::open(database).await;
        let assign = async || {
            let request = school.duty(&school.holder, DutyKind::Office, Scope::Organization(true));
            school.assign(&school.administrator, request).await.unwrap();
        };
        assign().await;
        school.roles(&school.holder, &[Role::Parent]).await;
        assert_eq!(school.list(&school.administrator).await.unwrap(), []);
        school.roles(&school.holder, &[Role::Teacher]).await;
        assert_eq!(school.names().await, STAFF, "nothing comes back with the role");
        assign().await;
        let removed = school
            .test_env
            .remove(&school.administrator, &school.holder.member_id, "");
        removed.await.unwrap();
        assert_eq!(school.list(&school.administrator).await.unwrap(), []);
        let request = school.duty(&school.holder, DutyKind::Office, Scope::Organization(true));
        let left = school.assign(&school.administrator, request).await;
        assert_eq!(reason(&left), "MEMBER_LEFT");
        school.test_env.close().await;
    }
);

// Covers: R82 allowed, F3 allowed, F5 allowed, F6 refused
on_both!(
    safeguarding_duty_stops_members_until_suspended,
    |database| async move {
        let school = School::open(database).await;
        let suspend = async |caller: &MemberSession, member: &MemberSession| {
            let request = pb::SuspendMemberRequest {
                request_id: school.test_env.act(),
                org_id: org(1).to_string(),
                member_id: member.member_id.clone(),
                roles: Vec::new(),
                cause: "Проверка".to_owned(),
            };
            let mut api = school.test_env.suspensions();
            api.suspend_member(by(&caller.token, request)).await.map(drop)
        };
        let refused = suspend(&school.holder, &school.administrator).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let deputy = school
            .test_env
            .join("+79164444444", "Пётр Заяц", Role::Staff, |_| ())
            .await;
        school.roles(&deputy, &[Role::Deputy]).await;
        let request = school.duty(&deputy, DutyKind::Safeguarding, Scope::Organization(true));
        let own = school.assign(&school.administrator, request).await.unwrap();
        let refused = school.end(&deputy, &own).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        let request = school.duty(&school.holder, DutyKind::Safeguarding, Scope::Organization(true));
        school.assign(&school.administrator, request).await.unwrap();
        suspend(&school.holder, &school.administrator).await.unwrap();
        suspend(&deputy, &school.holder).await.unwrap();
        let refused = suspend(&school.holder, &deputy).await;
        assert_eq!(reason(&refused), "MEMBER_SUSPENDED");
        school.test_env.close().await;
    }
);
