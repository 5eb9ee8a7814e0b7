//! Suspensions: who is stopped, by whom, and what comes back.
mod notices;

use chrono::TimeDelta;
use parta_proto_membership::v1::{self as pb, AssignmentKind, Role};
use parta_service_testkit::fields;
use parta_testkit::on_both;
use tonic::{Code, Status};

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

struct School {
    test_env: TestEnv,
    administrator: MemberSession,
    head: MemberSession,
    deputy: MemberSession,
    teacher: MemberSession,
}

impl School {
    async fn open(database: parta_testkit::TestDatabase) -> Self {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let head = test_env
            .join("+79161111111", "Ирина Сова", Role::Staff, |_| ())
            .await;
        let deputy = test_env
            .join("+79162222222", "Пётр Заяц", Role::Staff, |_| ())
            .await;
        let teacher = test_env
            .join("+79163333333", "Олег Волков", Role::Teacher, |_| ())
            .await;
        let school = Self {
            test_env,
            administrator,
            head,
            deputy,
            teacher,
        };
        school.roles(&school.head, &[Role::Head]).await;
        school.roles(&school.deputy, &[Role::Deputy]).await;
        school
    }

    async fn roles(&self, member: &MemberSession, roles: &[Role]) {
        self.roles_by(&self.administrator, member, roles).await;
    }

    async fn roles_by(&self, caller: &MemberSession, member: &MemberSession, roles: &[Role]) {
        let changed = self.test_env.change_roles(caller, &member.member_id, roles);
        changed.await.unwrap();
    }

    fn suspension(&self, member: &MemberSession, roles: &[Role]) -> pb::SuspendMemberRequest {
        pb::SuspendMemberRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
            roles: roles.iter().map(|role| i32::from(*role)).collect(),
            cause: "Служебная проверка".to_owned(),
        }
    }

    async fn suspend(
        &self,
        caller: &MemberSession,
        member: &MemberSession,
        roles: &[Role],
    ) -> Result<pb::Suspension, Status> {
        let request = by(&caller.token, self.suspension(member, roles));
        let response = self.test_env.suspensions().suspend_member(request).await?;
        Ok(response.into_inner().suspension.unwrap())
    }

    fn lifting(&self, suspension: &pb::Suspension) -> pb::ReinstateMemberRequest {
        pb::ReinstateMemberRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            suspension_id: suspension.id.clone(),
            cause: "Не подтвердилось".to_owned(),
        }
    }

    async fn lift(&self, caller: &MemberSession, suspension: &pb::Suspension) -> Result<(), Status> {
        let request = by(&caller.token, self.lifting(suspension));
        self.test_env.suspensions().reinstate_member(request).await?;
        Ok(())
    }

    fn confirmation(&self, suspension: &pb::Suspension) -> pb::ConfirmSuspensionRequest {
        pb::ConfirmSuspensionRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            suspension_id: suspension.id.clone(),
        }
    }

    async fn confirm(
        &self,
        caller: &MemberSession,
        suspension: &pb::Suspension,
    ) -> Result<pb::Suspension, Status> {
        let request = by(&caller.token, self.confirmation(suspension));
        let response = self.test_env.suspensions().confirm_suspension(request).await?;
        Ok(response.into_inner().suspension.unwrap())
    }

    async fn suspensions(&self, caller: &MemberSession) -> Result<Vec<pb::Suspension>, Status> {
        let request = pb::ListSuspensionsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let request = by(&caller.token, request);
        let listed = self.test_env.suspensions().list_suspensions(request).await?;
        Ok(listed.into_inner().suspensions)
    }

    async fn overdue(&self) -> Vec<pb::Suspension> {
        let request = self
            .test_env
            .by_operator(pb::ListOverdueSuspensionsRequest::default());
        let mut api = self.test_env.suspensions();
        let listed = api.list_overdue_suspensions(request).await.unwrap();
        listed.into_inner().suspensions
    }

    async fn member(&self, caller: &MemberSession, member: &MemberSession) -> Result<pb::Member, Status> {
        let request = pb::GetMemberRequest {
            org_id: org(1).to_string(),
            member_id: member.member_id.clone(),
        };
        let found = self
            .test_env
            .members()
            .get_member(by(&caller.token, request))
            .await?;
        Ok(found.into_inner().member.unwrap())
    }

    async fn remove(
        &self,
        caller: &MemberSession,
        member: &MemberSession,
        cause: &str,
    ) -> Result<(), Status> {
        let removed = self.test_env.remove(caller, &member.member_id, cause);
        removed.await.map(drop)
    }
}

// Case 49. The token that the administrator has, and a new one, are refused at once.
// Covers: R82 allowed, R82 refused, F5 allowed, F5 refused
on_both!(head_suspends_the_only_administrator, |database| async move {
    let school = School::open(database).await;
    let (administrator, head) = (&school.administrator, &school.head);
    let suspension = school.suspend(head, administrator, &[]).await.unwrap();
    let refused = school.test_env.list(administrator).await;
    assert_eq!(reason(&refused), "MEMBER_SUSPENDED");
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let person = administrator.person.clone();
    let token = school.test_env.member_session(org(1), person.clone()).await;
    assert_eq!(reason(&token), "MEMBER_SUSPENDED");
    assert!(school.member(head, administrator).await.unwrap().absent);
    // The one who suspended does not decide, and neither does the suspended member.
    let own = school.lift(head, &suspension).await;
    assert_eq!(reason(&own), "SECOND_PERSON_REQUIRED");
    let own = school.lift(administrator, &suspension).await;
    assert_eq!(reason(&own), "MEMBER_SUSPENDED");
    let confirmed = school.confirm(&school.deputy, &suspension).await.unwrap();
    assert_eq!(confirmed.confirmer_id, school.deputy.member_id);
    school.lift(&school.deputy, &suspension).await.unwrap();
    let again = school.member(administrator, administrator).await.unwrap();
    assert!(!again.absent && again.roles == [i32::from(Role::Administrator)]);
    school.test_env.member_session(org(1), person).await.unwrap();
    let ended = school.confirm(&school.deputy, &suspension).await;
    assert_eq!(reason(&ended), "NOT_FOUND");
    school.test_env.close().await;
});

// Covers: R82 refused, F5 refused, F6 refused
on_both!(nobody_suspends_oneself, |database| async move {
    let school = School::open(database).await;
    for caller in [&school.administrator, &school.head, &school.deputy] {
        let refused = school.suspend(caller, caller, &[]).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    }
    let refused = school.suspend(&school.teacher, &school.head, &[]).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let refused = school.suspensions(&school.teacher).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    // An administrator who is suspended in another role decides nothing about himself.
    let roles = [Role::Administrator, Role::Staff];
    school.roles_by(&school.head, &school.administrator, &roles).await;
    let partly = school
        .suspend(&school.deputy, &school.administrator, &[Role::Staff])
        .await
        .unwrap();
    let own = school.lift(&school.administrator, &partly).await;
    assert_eq!(reason(&own), "SECOND_PERSON_REQUIRED");
    let own = school.confirm(&school.administrator, &partly).await;
    assert_eq!(reason(&own), "SECOND_PERSON_REQUIRED");
    assert_eq!(school.suspensions(&school.administrator).await.unwrap(), []);
    assert_eq!(school.suspensions(&school.head).await.unwrap().len(), 1);
    school.test_env.close().await;
});

// Covers: R82 allowed, F4 allowed
on_both!(
    parent_suspended_as_teacher_remains_a_parent,
    |database| async move {
        let school = School::open(database).await;
        let test_env = &school.test_env;
        let teacher = &school.teacher;
        test_env
            .verify_teacher(&school.administrator, &teacher.member_id)
            .await
            .unwrap();
        let kind = AssignmentKind::ClassTeacher;
        test_env
            .assign(&school.administrator, &teacher.member_id, unit(1), kind)
            .await
            .unwrap();
        for (phone, class) in [("+79164444444", unit(1)), ("+79165555555", unit(2))] {
            let pupil = test_env.join(phone, "Ян Котов", Role::Pupil, |request| {
                request.unit_id = class.to_string();
            });
            pupil.await;
        }
        school.roles(teacher, &[Role::Teacher, Role::Parent]).await;
        let before = test_env.list(teacher).await.unwrap();
        let suspension = school
            .suspend(&school.head, teacher, &[Role::Teacher])
            .await
            .unwrap();
        // The person is still a member by the other role, and sees nobody by the class.
        assert_eq!(test_env.list(teacher).await.unwrap(), ["Олег Волков"]);
        assert!(school.member(&school.head, teacher).await.unwrap().absent);
        let covered = school.suspend(&school.deputy, teacher, &[Role::Teacher]).await;
        assert_eq!(reason(&covered), "ALREADY_SUSPENDED");
        // Another suspension covers the rest at once.
        let all = school.suspend(&school.deputy, teacher, &[]).await.unwrap();
        let refused = test_env.list(teacher).await;
        assert_eq!(reason(&refused), "MEMBER_SUSPENDED");
        school.lift(&school.head, &all).await.unwrap();
        assert_eq!(test_env.list(teacher).await.unwrap(), ["Олег Волков"]);
        school.lift(&school.deputy, &suspension).await.unwrap();
        // Nothing was lost: the assignment and the badge are there.
        assert_eq!(test_env.list(teacher).await.unwrap(), before);
        assert!(
            school
                .member(&school.head, teacher)
                .await
                .unwrap()
                .teacher_verified
        );
        school.test_env.close().await;
    }
);

// Covers: R82 allowed, F5 allowed
on_both!(undecided_suspension_goes_to_the_operator, |database| async move {
    let school = School::open(database).await;
    let suspension = school.suspend(&school.head, &school.teacher, &[]).await.unwrap();
    assert_eq!(suspension.cause, "Служебная проверка");
    school
        .test_env
        .time
        .advance(TimeDelta::hours(72) - TimeDelta::seconds(1));
    assert_eq!(school.overdue().await, []);
    school.test_env.time.advance(TimeDelta::seconds(1));
    let overdue = school.overdue().await;
    assert_eq!(overdue.len(), 1);
    assert_eq!(
        (overdue[0].id.clone(), overdue[0].cause.as_str()),
        (suspension.id.clone(), "")
    );
    let confirm = school.test_env.by_operator(school.confirmation(&suspension));
    let confirmed = school.test_env.suspensions().confirm_suspension(confirm).await;
    let confirmed = confirmed.unwrap().into_inner().suspension.unwrap();
    assert!(confirmed.confirm_time.is_some() && confirmed.confirmer_id.is_empty());
    assert_eq!(school.overdue().await, []);
    let lift = school.test_env.by_operator(school.lifting(&suspension));
    school
        .test_env
        .suspensions()
        .reinstate_member(lift)
        .await
        .unwrap();
    let unknown = school.test_env.by_operator(school.lifting(&suspension));
    let refused = school.test_env.suspensions().reinstate_member(unknown).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    school.test_env.close().await;
});

// Covers: R24 refused, R82 allowed, F5 allowed, F5 refused
on_both!(
    head_removes_the_last_administrator_for_a_cause,
    |database| async move {
        let school = School::open(database).await;
        let (administrator, head) = (&school.administrator, &school.head);
        let refused = school.remove(head, administrator, "").await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let refused = school.remove(&school.deputy, administrator, "Приказ № 3").await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        // A suspended administrator does not count as one who remains, and only an administrator or the head
        // removes him.
        school
            .roles(&school.teacher, &[Role::Teacher, Role::Administrator])
            .await;
        school.suspend(head, &school.teacher, &[]).await.unwrap();
        let refused = school.remove(&school.deputy, &school.teacher, "Приказ № 3").await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let refused = school.remove(administrator, administrator, "").await;
        assert_eq!(reason(&refused), "LAST_ADMINISTRATOR");
        school.remove(head, administrator, "Приказ № 3").await.unwrap();
        let refused = school.test_env.list(administrator).await;
        assert_eq!(reason(&refused), "NOT_FOUND");
        let left = school.suspend(head, administrator, &[]).await;
        assert_eq!(reason(&left), "MEMBER_LEFT");
        school.test_env.close().await;
    }
);

// Covers: R82 refused
on_both!(suspension_names_every_wrong_field, |database| async move {
    let school = School::open(database).await;
    let mut request = school.suspension(&school.teacher, &[Role::Teacher, Role::Teacher]);
    request.roles.push(99);
    request.member_id = "mbr".to_owned();
    request.cause = String::new();
    let mut api = school.test_env.suspensions();
    let refused = api
        .suspend_member(by(&school.head.token, request))
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["cause", "member_id", "roles[1]", "roles[2]"]);
    // A repetition shows the suspension that the first call made.
    let request = school.suspension(&school.teacher, &[]);
    let first = api
        .suspend_member(by(&school.head.token, request.clone()))
        .await
        .unwrap();
    let again = api.suspend_member(by(&school.head.token, request)).await.unwrap();
    assert_eq!(first.into_inner().suspension, again.into_inner().suspension);
    school.test_env.close().await;
});
