//! An import begins nothing again that a decision ended, and gives no badge (F7, F9).
use parta_ids::InvitationId;
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{
        self as pb, AssignmentKind, MemberState, RelationLimit, Role, RosterNoEffect as NoEffect,
        membership_event::Payload,
    },
};
use parta_testkit::on_both;

use super::{
    fixture::{School, Source, unit_id},
    snapshot::log_of,
};
use crate::tests::test_env::{by, org};

fn row(file: &str, line: i32, reason: NoEffect) -> (String, i32, NoEffect) {
    (file.to_owned(), line, reason)
}

// Covers: F9 refused, R24 refused
on_both!(member_removed_by_decision_stays_removed, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(2, "1А");
    school.import(&source).await;
    let joined = school.claim("+79161111111", "Лисин-s1").await;
    school.remove(&joined.member_id).await;
    school.remove(&school.member("Лисин-s2").await.id).await;
    let before = school.members().await;
    for _ in 0..2 {
        let done = school.import(&source).await;
        assert_eq!(done.planned, Some(pb::RosterImportCounts::default()));
        let rows = ["users.csv", "enrollments.csv"];
        let rows = rows.map(|file| [2, 3].map(|line| row(file, line, NoEffect::RemovedByDecision)));
        assert_eq!(school.without_effect(&done).await, rows.concat());
        assert_eq!(
            school.members().await,
            before,
            "no record changed, and none is new"
        );
    }
    // Nor after the source has dropped both for a while.
    school
        .import(&Source {
            users: Vec::new(),
            places: Vec::new(),
            ..source.clone()
        })
        .await;
    assert_eq!(school.import(&source).await.no_effect_count, 4);
    assert_eq!(school.members().await, before);
    school.test_env.close().await;
});

// An import begins nothing for a graduate or a person who has died.
// Covers: F9 refused, R26 refused
on_both!(graduates_and_the_deceased_stay_removed, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(2, "1А");
    school.import(&source).await;
    for (name, reason) in [
        ("Лисин-s1", pb::LeaveReason::Graduated),
        ("Лисин-s2", pb::LeaveReason::Deceased),
    ] {
        let id = school.member(name).await.id;
        let removed = school
            .test_env
            .remove_for(&school.administrator, &id, ("", reason));
        removed.await.unwrap();
    }
    let before = school.members().await;
    let done = school.import(&source).await;
    assert_eq!(done.no_effect_count, 4);
    assert_eq!(school.members().await, before);
    school.test_env.close().await;
});

// The person comes back by a link and is removed between the check and the start.
// Covers: F9 refused
on_both!(removal_after_the_check_is_respected, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(2, "1А");
    school.import(&source).await;
    let joined = school.claim("+79161111111", "Лисин-s2").await;
    school.import(&source.clone().without("s2")).await;
    let checked = school.check(&school.administrator, &source).await;
    assert_eq!(checked.planned.unwrap().readmissions, 1);
    let request = AdmitMemberRequest {
        request_id: school.test_env.act(),
        org_id: org(1).to_string(),
        invitation_id: school.test_env.env.id::<InvitationId>().to_string(),
        flow_id: school.test_env.flow(&joined.person, "second").await,
        role: Role::Pupil.into(),
        unit_id: unit_id(2).to_string(),
        issuer_id: school.administrator.member_id.clone(),
        ..Default::default()
    };
    school.test_env.admission().admit_member(request).await.unwrap();
    school.remove(&joined.member_id).await;
    let done = school.start(&school.administrator, &checked, &[]).await.unwrap();
    assert_eq!(done.done.unwrap().readmissions, 0);
    assert_eq!(school.member("Лисин-s2").await.state(), MemberState::Left);
    assert_eq!(
        school.without_effect(&done).await,
        [
            row("users.csv", 3, NoEffect::RemovedByDecision),
            row("enrollments.csv", 3, NoEffect::RemovedByDecision),
        ]
    );
    school.test_env.close().await;
});

// Covers: F9 allowed, R31 allowed
on_both!(
    person_whom_the_source_dropped_is_readmitted,
    |database| async move {
        let school = School::open(database).await;
        let source = Source::pupils(2, "1А");
        school.import(&source).await;
        let joined = school.claim("+79161111111", "Лисин-s1").await;
        let expected = school.member("Лисин-s2").await;
        school.import(&source.clone().without("s1").without("s2")).await;
        for name in ["Лисин-s1", "Лисин-s2"] {
            assert_eq!(school.member(name).await.state(), MemberState::Left);
        }
        let done = school.import(&source).await;
        let counts = done.done.unwrap();
        assert_eq!(
            (counts.readmissions, counts.members, counts.enrollments_begun),
            (2, 0, 2)
        );
        assert_eq!(done.no_effect_count, 0);
        // The same records: one with its account, the other with another link.
        let first = school.member("Лисин-s1").await;
        assert_eq!(
            (&first.id, first.state()),
            (&joined.member_id, MemberState::Active)
        );
        let second = school.member("Лисин-s2").await;
        assert_eq!(
            (&second.id, second.state()),
            (&expected.id, MemberState::Expected)
        );
        for member in [&first, &second] {
            assert_eq!(member.unit_ids, [unit_id(1).to_string()]);
        }
        let log = log_of(&school.test_env, org(1)).await.into_iter();
        let links = log.filter_map(|payload| match payload {
            Payload::RosterImportStaged(staged) if staged.roster_import_id == done.id => {
                Some(staged.invitations)
            }
            _ => None,
        });
        let links: Vec<_> = links.flatten().map(|link| link.member_id).collect();
        assert_eq!(links, [expected.id]);
        school.test_env.close().await;
    }
);

// Covers: F7 refused, R22 refused
on_both!(no_import_gives_a_badge, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(1, "1А").with("t1", "teacher", "Олег,Волков");
    let source = source.source_line("1А", "t1", "teacher");
    school.import(&source).await;
    let teacher = school.claim("+79161111111", "Волков Олег").await;
    assert!(!school.member("Волков").await.teacher_verified);
    let administrator = &school.administrator;
    school
        .test_env
        .verify_teacher(administrator, &teacher.member_id)
        .await
        .unwrap();
    school.import(&source).await;
    assert!(school.member("Волков").await.teacher_verified);
    // A person who comes back by an import is not verified, and has the tasks of the source only.
    school.import(&source.clone().without("t1")).await;
    let done = school.import(&source).await;
    let counts = done.done.unwrap();
    assert_eq!((counts.readmissions, counts.assignments_begun), (1, 1));
    let returned = school.member("Волков").await;
    assert_eq!(
        (returned.state(), returned.teacher_verified),
        (MemberState::Active, false)
    );
    school.test_env.close().await;
});

// Covers: F9 refused, R27 refused
on_both!(
    relation_that_a_decision_ended_stays_ended,
    |database| async move {
        let school = School::open(database).await;
        let source = Source::pupils(1, "1А")
            .with("p1", "parent", "Нина,Лисина")
            .relate("s1", "p1");
        school.import(&source).await;
        let relation = school.relations().await.remove(0);
        let request = pb::EndGuardianshipRequest {
            request_id: school.test_env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.id,
            cause: "ошибка в журнале".to_owned(),
        };
        let mut api = school.test_env.guardianships();
        api.end_guardianship(by(&school.administrator.token, request))
            .await
            .unwrap();
        let done = school.import(&source).await;
        let ended = [row("relationships.csv", 2, NoEffect::RelationEnded)];
        assert_eq!(school.without_effect(&done).await, ended);
        assert_eq!(school.relations().await, []);
        // The decision outlasts the parent's leaving.
        school.import(&source.clone().without("p1")).await;
        let done = school.import(&source).await;
        assert_eq!(done.done.unwrap().readmissions, 1);
        assert_eq!(school.without_effect(&done).await, ended);
        assert_eq!(school.relations().await, []);
        school.test_env.close().await;
    }
);

// Covers: F9 refused, F13 refused
on_both!(relation_under_a_limit_is_not_renewed, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(1, "1А")
        .with("p1", "parent", "Нина,Лисина")
        .relate("s1", "p1");
    school.import(&source).await;
    let request = pb::LimitGuardianshipRequest {
        request_id: school.test_env.act(),
        org_id: org(1).to_string(),
        guardianship_id: school.relations().await.remove(0).id,
        limits: vec![RelationLimit::NoContact.into()],
        cause: "заявление".to_owned(),
        ..Default::default()
    };
    let mut api = school.test_env.guardianships();
    api.limit_guardianship(by(&school.administrator.token, request))
        .await
        .unwrap();
    school.import(&source.clone().without("p1")).await;
    let done = school.import(&source).await;
    assert_eq!(done.done.unwrap().readmissions, 1);
    let limited = row("relationships.csv", 2, NoEffect::RelationLimited);
    assert_eq!(school.without_effect(&done).await, [limited]);
    assert_eq!(school.relations().await, []);
    school.test_env.close().await;
});

// Covers: F9 refused, R22 refused
on_both!(role_that_a_decision_took_stays_taken, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(1, "1А").with("t1", "teacher", "Олег,Волков");
    school.import(&source).await;
    let teacher = school.claim("+79161111111", "Волков Олег").await;
    school.change_roles(&teacher.member_id, &[Role::Staff]).await;
    let source = source.source_line("1А", "t1", "teacher");
    let done = school.import(&source).await;
    let rows = [
        row("users.csv", 3, NoEffect::RoleRevoked),
        row("enrollments.csv", 3, NoEffect::RoleRevoked),
    ];
    assert_eq!(school.without_effect(&done).await, rows);
    // Nor does the role come back with the person.
    school.import(&source.clone().without("t1")).await;
    let done = school.import(&source).await;
    assert_eq!(school.without_effect(&done).await, rows);
    let left = school.member("Волков").await;
    assert_eq!(
        (left.state(), school.assignments().await.len()),
        (MemberState::Left, 0)
    );
    school.test_env.close().await;
});

// Covers: F9 refused, R25 refused
on_both!(
    assignment_that_a_decision_ended_stays_ended,
    |database| async move {
        let school = School::open(database).await;
        let source = Source::pupils(1, "1А").with("t1", "teacher", "Олег,Волков");
        let source = source.source_line("1А", "t1", "teacher");
        school.import(&source).await;
        let assignment = school.assignments().await.remove(0);
        let request = pb::EndAssignmentRequest {
            request_id: school.test_env.act(),
            org_id: org(1).to_string(),
            assignment_id: assignment.id,
        };
        let mut api = school.test_env.assignments();
        api.end_assignment(by(&school.administrator.token, request))
            .await
            .unwrap();
        let done = school.import(&source).await;
        let ended = row("enrollments.csv", 3, NoEffect::AssignmentEnded);
        assert_eq!(school.without_effect(&done).await, [ended]);
        assert_eq!(school.assignments().await, []);
        // The school gives it back itself. Then the source and the roster agree.
        let teacher = school.member("Волков").await;
        let kind = AssignmentKind::SubjectTeacher;
        let again = school
            .test_env
            .assign(&school.administrator, &teacher.id, unit_id(1), kind);
        again.await.unwrap();
        assert_eq!(school.import(&source).await.no_effect_count, 0);
        school.test_env.close().await;
    }
);

// Covers: F9 refused, R26 refused
on_both!(
    pupil_whom_a_decision_moved_is_not_moved_back,
    |database| async move {
        let school = School::open(database).await;
        let source = Source {
            classes: vec!["1А", "2А"],
            ..Source::pupils(1, "1А")
        };
        school.import(&source).await;
        let request = pb::TransferPupilRequest {
            request_id: school.test_env.act(),
            org_id: org(1).to_string(),
            member_id: school.member("Лисин").await.id,
            from_unit_id: unit_id(1).to_string(),
            to_unit_id: unit_id(2).to_string(),
        };
        let mut api = school.test_env.enrollments();
        api.transfer_pupil(by(&school.administrator.token, request))
            .await
            .unwrap();
        let done = school.import(&source).await;
        let mut rows = school.without_effect(&done).await;
        rows.sort();
        assert_eq!(
            rows,
            [
                row("", 0, NoEffect::ClassDecided),
                row("enrollments.csv", 2, NoEffect::ClassDecided),
            ]
        );
        assert_eq!(school.member("Лисин").await.unit_ids, [unit_id(2).to_string()]);
        school.test_env.close().await;
    }
);
