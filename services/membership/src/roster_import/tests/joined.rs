//! A person with two ids in the source, whose records were joined.
use parta_proto_membership::v1::{self as pb, MemberState, Role};
use parta_testkit::on_both;

use super::fixture::{School, Source};

// The source lists a teacher and a parent who are one person. After the person has claimed both records, an
// import changes nothing, and the person stays as long as the source lists one of the two.
// Covers: F10 allowed, F9 allowed
on_both!(import_knows_a_person_by_both_ids, |database| async move {
    let school = School::open(database).await;
    let name = "Анна,Лисина";
    let source = Source::pupils(1, "1А")
        .with("p1", "parent", name)
        .with("t1", "teacher", name)
        .relate("s1", "p1")
        .source_line("1А", "t1", "teacher");
    school.import(&source).await;
    let records = school.members().await;
    let of_role = |role: Role| {
        records
            .iter()
            .find(|row| row.roles().any(|held| held == role))
            .unwrap()
    };
    let (parent, teacher) = (of_role(Role::Parent), of_role(Role::Teacher));
    let mother = school
        .test_env
        .join("+79161111111", "Лисина Анна", Role::Parent, |request| {
            request.claim_member_id.clone_from(&parent.id);
        })
        .await;
    assert_eq!(mother.member_id, parent.id);
    let again = school
        .test_env
        .admit(mother.person, "teacher", Role::Teacher, |request| {
            request.claim_member_id.clone_from(&teacher.id);
        })
        .await;
    assert_eq!(again.member_id, parent.id);
    let before = school.members().await;
    let nothing = Some(pb::RosterImportCounts::default());
    let checked = school.check(&school.administrator, &source).await;
    assert_eq!((checked.planned, checked.no_effect_count), (nothing, 0));
    for dropped in ["t1", "p1"] {
        let rest = source.clone().without(dropped);
        let done = school.import(&rest).await;
        assert_eq!(done.planned, nothing, "{dropped}");
    }
    assert_eq!(school.members().await, before);
    // The source lists the person no longer.
    school.import(&source.without("t1").without("p1")).await;
    let left = school.members().await;
    let left = left.iter().find(|row| row.id == parent.id).unwrap();
    assert_eq!(left.state(), MemberState::Left);
    school.test_env.close().await;
});
