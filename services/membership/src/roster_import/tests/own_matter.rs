//! The importer's own matters wait for a second person (F6).
use parta_proto_membership::v1::{
    self as pb, MemberState, Role, RosterChangeDecision as Decision, RosterChangeOutcome as Outcome,
    RosterNoEffect as NoEffect,
};
use parta_testkit::on_both;

use super::fixture::{School, Source, unit_id};
use crate::tests::test_env::{MemberSession, by, org, reason};

const NAME: &str = "Егорова Ольга";

/// Ольга Егорова, who has claimed her imported record and became an administrator.
async fn importer(school: &School, roles: &[Role]) -> MemberSession {
    let importer = school.claim("+79161111111", NAME).await;
    let mut roles = roles.to_vec();
    school.change_roles(&importer.member_id, &roles).await;
    roles.push(Role::Administrator);
    school.change_roles(&importer.member_id, &roles).await;
    importer
}

fn numbers(changes: &[pb::RosterChange]) -> Vec<i64> {
    changes.iter().map(|change| change.number).collect()
}

// Covers: F6 refused, F6 allowed, R31 refused
on_both!(own_task_waits_for_a_second_person, |database| async move {
    let school = School::open(database).await;
    let source = Source::pupils(1, "1А").with("t1", "teacher", "Ольга,Егорова");
    school.import(&source).await;
    let importer = importer(&school, &[Role::Teacher]).await;
    let with_task = source
        .source_line("1А", "t1", "teacher")
        .with("t2", "teacher", "Олег,Волков");
    let with_task = with_task.source_line("1А", "t2", "teacher");
    let done = school.import_by(&importer, &with_task).await;
    let counts = done.done.unwrap();
    assert_eq!(
        (counts.members, counts.assignments_begun, done.waiting_count),
        (1, 1, 1)
    );
    let waiting = school.changes(&done.id, Outcome::Waiting).await;
    assert_eq!(
        (waiting[0].file.as_str(), waiting[0].line),
        ("enrollments.csv", 3)
    );
    let own = |assignments: Vec<pb::Assignment>| {
        let own = assignments
            .into_iter()
            .filter(|a| a.member_id == importer.member_id);
        own.count()
    };
    assert_eq!(own(school.assignments().await), 0);

    let numbers = numbers(&waiting);
    for decision in [Decision::Confirm, Decision::Drop] {
        let refused = school.decide(&importer, &done.id, &numbers, decision).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    }
    let teacher = school.claim("+79162222222", "Волков Олег").await;
    let refused = school
        .decide(&teacher, &done.id, &numbers, Decision::Confirm)
        .await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let second = &school.administrator;
    for wrong in [vec![], vec![numbers[0], numbers[0]], vec![numbers[0], 900]] {
        let refused = school.decide(second, &done.id, &wrong, Decision::Confirm).await;
        assert_eq!(reason(&refused), "FIELD_INVALID", "{wrong:?}");
    }
    let refused = school
        .decide(second, &done.id, &numbers, Decision::Unspecified)
        .await;
    assert_eq!(reason(&refused), "FIELD_INVALID");
    let unknown = school.test_env.env.id::<parta_ids::RosterImportId>().to_string();
    let refused = school.decide(second, &unknown, &numbers, Decision::Confirm).await;
    assert_eq!(reason(&refused), "NOT_FOUND");

    let request = pb::DecideRosterImportChangesRequest {
        request_id: school.test_env.act(),
        org_id: org(1).to_string(),
        roster_import_id: done.id.clone(),
        numbers: numbers.clone(),
        decision: Decision::Confirm.into(),
    };
    let mut api = school.test_env.roster_imports();
    for _ in 0..2 {
        let decided = api
            .decide_roster_import_changes(by(&second.token, request.clone()))
            .await;
        let decided = decided.unwrap().into_inner().roster_import.unwrap();
        assert_eq!(decided.waiting_count, 0);
        assert_eq!(decided.done.unwrap().assignments_begun, 2);
        assert_eq!(own(school.assignments().await), 1);
    }
    let refused = school.decide(second, &done.id, &numbers, Decision::Drop).await;
    assert_eq!(reason(&refused), "ROSTER_CHANGE_NOT_WAITING");
    // A repetition after the right has ended.
    school.change_roles(&importer.member_id, &[Role::Teacher]).await;
    let refused = school.decide(&importer, &done.id, &numbers, Decision::Drop).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    school.test_env.close().await;
});

// Covers: F6 refused
on_both!(relation_of_the_own_child_waits, |database| async move {
    let school = School::open(database).await;
    // The record of a member of the staff, who is a parent too.
    let source = Source::pupils(2, "1А").with("p2", "parent", "Пётр,Егоров");
    let with_staff = source.clone().with("p1", "staff", "Ольга,Егорова");
    school.import(&with_staff).await;
    let source = source.with("p1", "parent", "Ольга,Егорова");
    let importer = importer(&school, &[Role::Parent, Role::Staff]).await;
    let source = source.relate("s1", "p1").relate("s2", "p2");
    let done = school.import_by(&importer, &source).await;
    assert_eq!((done.waiting_count, done.done.unwrap().guardianships), (1, 1));
    assert_eq!(school.relations().await.len(), 1);
    let waiting = numbers(&school.changes(&done.id, Outcome::Waiting).await);
    let second = &school.administrator;
    school
        .decide(second, &done.id, &waiting, Decision::Confirm)
        .await
        .unwrap();
    assert_eq!(school.relations().await.len(), 2);

    // Now she is a guardian of the child. A relation of another person to it waits too, and so does the
    // removal of the child, by which the relations end.
    let done = school
        .import_by(&importer, &source.clone().relate("s1", "p2"))
        .await;
    let waiting = numbers(&school.changes(&done.id, Outcome::Waiting).await);
    assert_eq!((waiting.len(), done.waiting_count), (1, 1));
    let dropped = school
        .decide(second, &done.id, &waiting, Decision::Drop)
        .await
        .unwrap();
    assert_eq!(dropped.waiting_count, 0);
    assert_eq!(
        numbers(&school.changes(&done.id, Outcome::Dropped).await),
        waiting
    );
    assert_eq!(school.relations().await.len(), 2);
    let done = school.import_by(&importer, &source.clone().without("s1")).await;
    assert_eq!((done.waiting_count, done.done.unwrap().removals), (1, 0));
    let child = school.member("Лисин-s1").await;
    assert_eq!(child.state(), MemberState::Expected);
    school.test_env.close().await;
});

// A second record of her name would give her a second role by its link.
// Covers: F6 refused
on_both!(
    record_of_a_namesake_of_the_importer_waits,
    |database| async move {
        let school = School::open(database).await;
        let source = Source::pupils(1, "1А").with("t1", "teacher", "Ольга,Егорова");
        school.import(&source).await;
        let importer = importer(&school, &[Role::Teacher]).await;
        let with_record = source.with("p9", "parent", "Ольга,Егорова").relate("s1", "p9");
        let done = school.import_by(&importer, &with_record).await;
        assert_eq!((done.waiting_count, done.done.unwrap().members), (2, 0));
        let waiting = numbers(&school.changes(&done.id, Outcome::Waiting).await);
        let second = &school.administrator;
        // The relation needs the record.
        let refused = school
            .decide(second, &done.id, &waiting[1..], Decision::Confirm)
            .await;
        assert_eq!(reason(&refused), "FIELD_INVALID");
        let decided = school
            .decide(second, &done.id, &waiting, Decision::Confirm)
            .await
            .unwrap();
        let counts = decided.done.unwrap();
        assert_eq!(
            (decided.waiting_count, counts.members, counts.guardianships),
            (0, 1, 1)
        );
        let records = school.members().await.into_iter();
        assert_eq!(records.filter(|member| member.full_name == NAME).count(), 2);
        school.test_env.close().await;
    }
);

// A waiting change is judged when it is confirmed.
// Covers: F6 refused, F9 refused
on_both!(
    confirmed_change_may_have_no_effect_any_more,
    |database| async move {
        let school = School::open(database).await;
        let source = Source::pupils(1, "1А").with("t1", "teacher", "Ольга,Егорова");
        school.import(&source).await;
        let importer = importer(&school, &[Role::Teacher, Role::Staff]).await;
        let with_task = source.source_line("1А", "t1", "teacher");
        let done = school.import_by(&importer, &with_task).await;
        let waiting = numbers(&school.changes(&done.id, Outcome::Waiting).await);
        school.change_roles(&importer.member_id, &[Role::Staff]).await;
        let decided = school
            .decide(&school.administrator, &done.id, &waiting, Decision::Confirm)
            .await
            .unwrap();
        assert_eq!(
            (decided.waiting_count, decided.done.unwrap().assignments_begun),
            (0, 0)
        );
        let row = ("enrollments.csv".to_owned(), 3, NoEffect::RoleRevoked);
        assert_eq!(school.without_effect(&decided).await, [row]);
        assert_eq!(school.assignments().await, []);
        assert_eq!(school.member("Лисин-s1").await.unit_ids, [unit_id(1).to_string()]);
        school.test_env.close().await;
    }
);
