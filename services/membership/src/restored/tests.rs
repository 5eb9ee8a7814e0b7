//! Members and relations that had ended after a backup end again, once.
use parta_proto_membership::v1::{self as pb, AssignmentKind, MemberState, Role};
use parta_roster::{Endings, Projected};
use parta_testkit::on_both;

use crate::{
    repeat_endings,
    tests::test_env::{TestEnv, by, org, unit},
};

on_both!(endings_are_repeated_once, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let other = test_env
        .join("+79162222222", "Мария Кузнецова", Role::Teacher, |_| ())
        .await;
    let pupil = test_env.join_pupil("+79163333333", "Ян Котов", 1).await;
    let mut assignments = Vec::new();
    for member in [&teacher, &other] {
        test_env
            .verify_teacher(&administrator, &member.member_id)
            .await
            .unwrap();
        let made = test_env
            .assign(
                &administrator,
                &member.member_id,
                unit(1),
                AssignmentKind::SubjectTeacher,
            )
            .await;
        assignments.push(made.unwrap());
    }
    let before = Projected::load(test_env.db.conn(), org(1)).await.unwrap();
    assert!(before.ended_in(&before, None).is_empty());
    let endings = Endings {
        members: [teacher.member_id.parse().unwrap()].into(),
        assignments: [assignments[1].parse().unwrap()].into(),
        enrollments: [(pupil.member_id.parse().unwrap(), unit(1))].into(),
        ..Endings::default()
    };
    let mut heads = Vec::new();
    for _ in 0..2 {
        repeat_endings(&test_env.db, org(1), &endings).await.unwrap();
        heads.push(test_env.db.head(org(1)).await.unwrap().position);
    }
    assert_eq!(heads[0], heads[1], "an ending is published once");
    // The comparison of the two states finds them, and the assignment of the member who left.
    let after = Projected::load(test_env.db.conn(), org(1)).await.unwrap();
    let found = before.ended_in(&after, None);
    assert_eq!(
        (&found.members, &found.enrollments),
        (&endings.members, &endings.enrollments)
    );
    assert_eq!(found.assignments.len(), 2);
    assert!(
        after.ended_in(&before, None).is_empty(),
        "what began has not ended"
    );
    let request = pb::GetMemberRequest {
        org_id: org(1).to_string(),
        member_id: teacher.member_id.clone(),
    };
    let left = test_env
        .members()
        .get_member(by(&administrator.token, request))
        .await;
    assert_eq!(
        left.unwrap().into_inner().member.unwrap().state(),
        MemberState::Left
    );
    test_env.close().await;
});
