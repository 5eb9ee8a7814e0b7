//! Members, roles, verification, assignments, transfers (R22, R23, R24, R25, R26, R28).
mod release;

use parta_proto_membership::v1::{self as pb, AssignmentKind, MemberState, Role};
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

async fn change_roles(
    test_env: &TestEnv,
    caller: &MemberSession,
    member_id: &str,
    roles: &[Role],
    etag: &str,
) -> Result<pb::Member, Status> {
    let request = pb::ChangeMemberRolesRequest {
        etag: etag.to_owned(),
        ..test_env.previewed(caller, org(1), member_id, roles).await
    };
    Ok(test_env
        .members()
        .change_member_roles(by(&caller.token, request))
        .await?
        .into_inner()
        .member
        .unwrap())
}

async fn create(
    test_env: &TestEnv,
    caller: &MemberSession,
    name: &str,
    role: Role,
    unit_id: &str,
) -> Result<pb::Member, Status> {
    let request = pb::CreateMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        full_name: name.to_owned(),
        role: role.into(),
        unit_id: unit_id.to_owned(),
    };
    Ok(test_env
        .members()
        .create_member(by(&caller.token, request))
        .await?
        .into_inner()
        .member
        .unwrap())
}

// Only staff who have joined can become administrators, and the last administrator cannot be removed.
// Covers: R23 allowed, R23 refused, R24 allowed, R24 refused
on_both!(last_administrator_cannot_be_removed, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let own = administrator.member_id.clone();
    assert_eq!(
        reason(&change_roles(&test_env, &administrator, &own, &[Role::Teacher], "").await),
        "SECOND_PERSON_REQUIRED"
    );
    assert_eq!(
        reason(&test_env.remove(&administrator, &own, "").await),
        "LAST_ADMINISTRATOR"
    );
    let expected = create(&test_env, &administrator, "Пётр Ильин", Role::Teacher, "")
        .await
        .unwrap();
    let both = [Role::Teacher, Role::Administrator];
    assert_eq!(
        reason(&change_roles(&test_env, &administrator, &expected.id, &both, "").await),
        "ADMINISTRATOR_NOT_JOINED"
    );
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    assert_eq!(
        reason(&change_roles(&test_env, &teacher, &teacher.member_id, &both, "").await),
        "PERMISSION_DENIED"
    );
    let named = change_roles(&test_env, &administrator, &teacher.member_id, &both, "")
        .await
        .unwrap();
    assert_eq!(named.roles.len(), 2);
    let stale = change_roles(
        &test_env,
        &administrator,
        &teacher.member_id,
        &[Role::Teacher],
        &expected.etag,
    )
    .await;
    assert_eq!(reason(&stale), "ETAG_MISMATCH");
    // If two administrators remove each other concurrently, one remains.
    let (a, b) = futures::future::join(
        test_env.remove(&administrator, &teacher.member_id, ""),
        test_env.remove(&teacher, &administrator.member_id, ""),
    )
    .await;
    assert!(a.is_ok() != b.is_ok(), "{} {}", reason(&a), reason(&b));
    test_env.close().await;
});

// Only a verified teacher has access to minors. The verification can be withdrawn.
// Covers: R22 allowed, R22 refused
on_both!(
    unverified_teacher_cannot_see_or_create_minors,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let teacher = test_env
            .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
            .await;
        let class = unit(1).to_string();
        create(&test_env, &administrator, "Ева Орлова", Role::Pupil, &class)
            .await
            .unwrap();
        test_env
            .assign(
                &administrator,
                &teacher.member_id,
                unit(1),
                AssignmentKind::ClassTeacher,
            )
            .await
            .unwrap();
        assert_eq!(
            test_env.list(&teacher).await.unwrap(),
            ["Анна Петрова", "Олег Волков"]
        );
        assert_eq!(
            reason(&create(&test_env, &teacher, "Ян Котов", Role::Pupil, &class).await),
            "PERMISSION_DENIED"
        );
        assert_eq!(
            reason(&test_env.verify_teacher(&teacher, &teacher.member_id).await),
            "PERMISSION_DENIED"
        );
        assert!(
            test_env
                .verify_teacher(&administrator, &teacher.member_id)
                .await
                .unwrap()
                .teacher_verified
        );
        assert_eq!(
            reason(
                &test_env
                    .verify_teacher(&administrator, &administrator.member_id)
                    .await
            ),
            "SECOND_PERSON_REQUIRED"
        );
        assert_eq!(test_env.list(&teacher).await.unwrap().len(), 3);
        // A class teacher can create pupils of their own class only (R26).
        create(&test_env, &teacher, "Ян Котов", Role::Pupil, &class)
            .await
            .unwrap();
        let other = unit(2).to_string();
        assert_eq!(
            reason(&create(&test_env, &teacher, "Ян Котов", Role::Pupil, &other).await),
            "PERMISSION_DENIED"
        );
        assert_eq!(
            reason(&create(&test_env, &administrator, "Ян", Role::Administrator, "").await),
            "PERMISSION_DENIED"
        );
        let request = pb::WithdrawTeacherVerificationRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            member_id: teacher.member_id.clone(),
            cause: "Приказ отменён".to_owned(),
        };
        test_env
            .members()
            .withdraw_teacher_verification(by(&administrator.token, request))
            .await
            .unwrap();
        assert_eq!(test_env.list(&teacher).await.unwrap().len(), 2);
        test_env.close().await;
    }
);

// Only a teacher can receive an assignment, only once per unit and kind, and until its expire time if it has
// one.
// Covers: R25 allowed, R25 refused
on_both!(assignment_ends_at_its_expire_time, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    test_env
        .verify_teacher(&administrator, &teacher.member_id)
        .await
        .unwrap();
    let kind = AssignmentKind::ClassTeacher;
    assert_eq!(
        reason(&test_env.assign(&teacher, &teacher.member_id, unit(1), kind).await),
        "PERMISSION_DENIED"
    );
    assert_eq!(
        reason(
            &test_env
                .assign(&administrator, &teacher.member_id, unit(9), kind)
                .await
        ),
        "UNIT_UNKNOWN"
    );
    let own = &administrator.member_id;
    assert_eq!(
        reason(&test_env.assign(&administrator, own, unit(1), kind).await),
        "SECOND_PERSON_REQUIRED"
    );
    let end = test_env.env.now() + chrono::TimeDelta::minutes(5);
    let request = pb::CreateAssignmentRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: teacher.member_id.clone(),
        unit_id: unit(1).to_string(),
        kind: kind.into(),
        expire_time: Some(prost_types::Timestamp {
            seconds: end.timestamp(),
            nanos: 0,
        }),
        until_date: String::new(),
    };
    test_env
        .assignments()
        .create_assignment(by(&administrator.token, request))
        .await
        .unwrap();
    assert_eq!(
        reason(
            &test_env
                .assign(&administrator, &teacher.member_id, unit(1), kind)
                .await
        ),
        "ALREADY_ASSIGNED"
    );
    // A substitute sees the pupils of the class and decides nothing about them (F3).
    let class = unit(1).to_string();
    create(&test_env, &administrator, "Ева Орлова", Role::Pupil, &class)
        .await
        .unwrap();
    let staff = ["Анна Петрова", "Олег Волков"];
    assert_eq!(test_env.list(&teacher).await.unwrap().len(), 3);
    let refused = create(&test_env, &teacher, "Ян Котов", Role::Pupil, &class).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    test_env.time.advance(chrono::TimeDelta::minutes(5));
    test_env.run_due_jobs().await;
    assert_eq!(test_env.list(&teacher).await.unwrap(), staff);
    let id = test_env
        .assign(&administrator, &teacher.member_id, unit(1), kind)
        .await
        .unwrap();
    create(&test_env, &teacher, "Ян Котов", Role::Pupil, &class)
        .await
        .unwrap();
    let request = pb::EndAssignmentRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        assignment_id: id,
    };
    test_env
        .assignments()
        .end_assignment(by(&administrator.token, request))
        .await
        .unwrap();
    assert_eq!(
        reason(&create(&test_env, &teacher, "Лев Попов", Role::Pupil, &class).await),
        "PERMISSION_DENIED"
    );
    test_env.close().await;
});

// A transferred pupil sees the new class instead of the old one. A pupil who has left sees nothing.
// Covers: R26 allowed, R26 refused, R28 allowed, R28 refused
on_both!(pupil_sees_only_the_own_class, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let class = unit(1).to_string();
    create(&test_env, &administrator, "Ева Орлова", Role::Pupil, &class)
        .await
        .unwrap();
    create(
        &test_env,
        &administrator,
        "Лев Попов",
        Role::Pupil,
        &unit(2).to_string(),
    )
    .await
    .unwrap();
    let pupil = test_env
        .join("+79161111111", "Ян Котов", Role::Pupil, |r| {
            r.unit_id = class.clone();
        })
        .await;
    assert_eq!(test_env.list(&pupil).await.unwrap(), ["Ева Орлова", "Ян Котов"]);
    let transfer = |test_env: &TestEnv| pb::TransferPupilRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: pupil.member_id.clone(),
        from_unit_id: unit(1).to_string(),
        to_unit_id: unit(2).to_string(),
    };
    let refused = test_env
        .enrollments()
        .transfer_pupil(by(&pupil.token, transfer(&test_env)))
        .await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    test_env
        .enrollments()
        .transfer_pupil(by(&administrator.token, transfer(&test_env)))
        .await
        .unwrap();
    assert_eq!(test_env.list(&pupil).await.unwrap(), ["Лев Попов", "Ян Котов"]);
    let again = test_env
        .enrollments()
        .transfer_pupil(by(&administrator.token, transfer(&test_env)))
        .await;
    assert_eq!(reason(&again), "NOT_ENROLLED");
    let get = pb::GetMemberRequest {
        org_id: org(1).to_string(),
        member_id: administrator.member_id.clone(),
    };
    assert_eq!(
        reason(&test_env.members().get_member(by(&pupil.token, get)).await),
        "NOT_FOUND"
    );
    assert_eq!(
        reason(&test_env.remove(&pupil, &administrator.member_id, "").await),
        "PERMISSION_DENIED"
    );
    let left = test_env
        .remove(&administrator, &pupil.member_id, "")
        .await
        .unwrap();
    assert_eq!((left.state(), left.unit_ids.len()), (MemberState::Left, 0));
    assert_eq!(reason(&test_env.list(&pupil).await), "NOT_FOUND");
    test_env.close().await;
});
