//! Roles that are taken away, and decisions in their own matter (F2, F6).
mod changes;
mod decided;
mod undo;
mod verification;
mod verification_end;

use parta_proto_membership::v1::{self as pb, AssignmentKind, Role};
use parta_testkit::on_both;

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

async fn assignments(test_env: &TestEnv, by_whom: &MemberSession) -> Vec<String> {
    let request = pb::ListAssignmentsRequest {
        org_id: org(1).to_string(),
        ..Default::default()
    };
    let listed = test_env
        .assignments()
        .list_assignments(by(&by_whom.token, request))
        .await
        .unwrap()
        .into_inner()
        .assignments;
    listed.into_iter().map(|row| row.member_id).collect()
}

// A teacher becomes a parent and a teacher again: the badge and the assignments end with the role and do not
// come back with it. Meanwhile the parent sees neither the pupils of the class nor its assignments. A pupil
// who becomes a teacher is no longer enrolled.
// Covers: R23 allowed, R23 refused, R25 refused, F2 allowed, F2 refused
on_both!(what_hangs_on_a_role_ends_with_it, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let id = teacher.member_id.as_str();
    test_env.verify_teacher(&administrator, id).await.unwrap();
    let class = unit(1).to_string();
    let pupil = test_env
        .join("+79162222222", "Ева Орлова", Role::Pupil, |request| {
            request.unit_id = class.clone();
        })
        .await;
    let kind = AssignmentKind::ClassTeacher;
    test_env.assign(&administrator, id, unit(1), kind).await.unwrap();
    assert_eq!(test_env.list(&teacher).await.unwrap().len(), 3);

    let changed = test_env.change_roles(&administrator, id, &[Role::Parent]).await;
    assert!(!changed.unwrap().teacher_verified);
    assert_eq!(test_env.list(&teacher).await.unwrap(), ["Олег Волков"]);
    assert!(assignments(&test_env, &administrator).await.is_empty());

    let changed = test_env.change_roles(&administrator, id, &[Role::Teacher]).await;
    assert!(!changed.unwrap().teacher_verified);
    test_env.verify_teacher(&administrator, id).await.unwrap();
    assert!(assignments(&test_env, &administrator).await.is_empty());
    let staff = ["Анна Петрова", "Олег Волков"];
    assert_eq!(test_env.list(&teacher).await.unwrap(), staff);

    let changed = test_env
        .change_roles(&administrator, &pupil.member_id, &[Role::Teacher])
        .await;
    assert!(changed.unwrap().unit_ids.is_empty());
    test_env.close().await;
});

// Staff who are not cleared list staff only, whatever else they are: neither a member of the staff who does
// not teach, nor a teacher whose badge was withdrawn and who is demoted, reaches anybody new.
// Covers: R28 refused, F3 refused
on_both!(staff_without_clearance_list_staff_only, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let secretary = test_env
        .join("+79161111111", "Олег Волков", Role::Staff, |_| ())
        .await;
    test_env.join_pupil("+79162222222", "Ева Орлова", 1).await;
    let staff = ["Анна Петрова", "Олег Волков"];
    assert_eq!(test_env.list(&secretary).await.unwrap(), staff);
    for roles in [&[Role::Teacher][..], &[Role::Staff], &[Role::Staff, Role::Parent]] {
        test_env
            .change_roles(&administrator, &secretary.member_id, roles)
            .await
            .unwrap();
        assert_eq!(test_env.list(&secretary).await.unwrap(), staff, "{roles:?}");
    }
    test_env.close().await;
});

// Nobody gives a role, a badge or an assignment to oneself. The head is the second person for the only
// administrator, and makes nobody administrator or head.
// Covers: R22 refused, R24 allowed, R24 refused, F6 allowed, F6 refused
on_both!(nobody_decides_in_the_own_matter, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let own = administrator.member_id.as_str();
    let head = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let as_teacher = [Role::Administrator, Role::Teacher];
    let required = "SECOND_PERSON_REQUIRED";
    assert_eq!(
        reason(&test_env.change_roles(&administrator, own, &as_teacher).await),
        required
    );
    // A teacher is not the second person.
    assert_eq!(
        reason(&test_env.change_roles(&head, own, &as_teacher).await),
        "PERMISSION_DENIED"
    );
    test_env
        .change_roles(&administrator, &head.member_id, &[Role::Head])
        .await
        .unwrap();
    test_env.change_roles(&head, own, &as_teacher).await.unwrap();
    assert_eq!(
        reason(&test_env.verify_teacher(&administrator, own).await),
        required
    );
    test_env.verify_teacher(&head, own).await.unwrap();
    let kind = AssignmentKind::SubjectTeacher;
    assert_eq!(
        reason(&test_env.assign(&administrator, own, unit(1), kind).await),
        required
    );
    test_env.assign(&head, own, unit(1), kind).await.unwrap();
    // To give a role up is no decision in one's own favor, but the organization keeps an administrator.
    assert_eq!(
        reason(&test_env.change_roles(&administrator, own, &[Role::Teacher]).await),
        "LAST_ADMINISTRATOR"
    );
    for roles in [&[Role::Teacher][..], &[Role::Administrator, Role::Head]] {
        let refused = test_env.change_roles(&head, own, roles).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED", "{roles:?}");
    }
    let refused = test_env.change_roles(&head, &head.member_id, &as_teacher).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    test_env.close().await;
});
