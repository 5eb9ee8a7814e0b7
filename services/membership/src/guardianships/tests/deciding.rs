//! The people who confirm and end relations (F6, F12).
use parta_proto_membership::v1::{self as pb, AssignmentKind, GuardianshipKind, Role};
use parta_testkit::on_both;

use super::fixture::School;
use crate::tests::test_env::{by, org, reason, unit};

// Covers: R27 refused, F6 refused, F12 refused
on_both!(
    administrator_does_not_confirm_an_own_relation,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        school
            .accept_link(&administrator.person, &school.child.member_id)
            .await;
        let own = school.relation_of(administrator).await;
        let refused = school.confirm(administrator, &own.id, None).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        // Nor does she decide about the other guardians of her child.
        let mothers = school.relation_of(&school.mother).await;
        let refused = school.confirm(administrator, &mothers.id, None).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        assert_eq!(
            reason(&school.end(administrator, &mothers.id).await),
            "SECOND_PERSON_REQUIRED"
        );
        let second = school.second_administrator().await;
        assert!(school.confirm(&second, &own.id, None).await.unwrap().confirmed);
        school.env.close().await;
    }
);

// Covers: F6 refused, F12 refused
on_both!(
    class_teacher_who_is_the_mother_decides_nothing,
    |database| async move {
        let school = School::open(database).await;
        // The mother becomes the class teacher of the child's class.
        let mother = &school.mother;
        school
            .set_roles(&mother.member_id, &[Role::Parent, Role::Teacher])
            .await;
        school
            .env
            .verify_teacher(&school.administrator, &mother.member_id)
            .await
            .unwrap();
        let kind = AssignmentKind::ClassTeacher;
        school
            .env
            .assign(&school.administrator, &mother.member_id, unit(1), kind)
            .await
            .unwrap();
        let fathers = school.relation_of(&school.father).await;
        let refused = school.confirm(mother, &fathers.id, None).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        let refused = school.end(mother, &fathers.id).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        let limits = [pb::RelationLimit::NoContact];
        let refused = school.limit(mother, &fathers.id, &limits, None, "").await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        school.confirm(&school.teacher, &fathers.id, None).await.unwrap();
        school.env.close().await;
    }
);

// Covers: F12 refused
on_both!(leader_of_a_club_decides_nothing, |database| async move {
    let school = School::open(database).await;
    school.env.make_second_unit_a_group().await;
    school.enroll(&school.child.member_id, unit(2)).await;
    let club = school.leader("+79166666666", unit(2), None).await;
    let relation = school.relation_of(&school.father).await;
    assert!(school.list(&club, false).await.is_empty());
    let refused = school.confirm(&club, &relation.id, None).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    assert_eq!(reason(&school.end(&club, &relation.id).await), "NOT_FOUND");
    school.confirm(&school.teacher, &relation.id, None).await.unwrap();
    school.env.close().await;
});

// Covers: F3 refused, F12 refused
on_both!(substitute_decides_nothing, |database| async move {
    let school = School::open(database).await;
    let relation = school.relation_of(&school.father).await;
    let substitute = school.leader("+79166666666", unit(1), Some(14)).await;
    let refused = school.confirm(&substitute, &relation.id, None).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    let deputizing = school.leader("+79167777777", unit(1), Some(15)).await;
    school.confirm(&deputizing, &relation.id, None).await.unwrap();
    school.env.close().await;
});

// Covers: F12 allowed, F12 refused
on_both!(seventh_child_needs_an_order, |database| async move {
    let school = School::open(database).await;
    let (administrator, father) = (&school.administrator, &school.father);
    let first = school.relation_of(father).await;
    school.confirm(administrator, &first.id, None).await.unwrap();
    for n in 2..=7 {
        let phone = format!("+7916100000{n}");
        let child = school.env.join_pupil(&phone, "Ребёнок", 1).await;
        school.accept_link(&father.person, &child.member_id).await;
        let relation = school.relation(father, &child.member_id).await;
        let confirmed = school.confirm(administrator, &relation.id, None).await;
        if n < 7 {
            confirmed.unwrap();
            continue;
        }
        assert_eq!(reason(&confirmed), "ORDER_REQUIRED");
        let refused = school.confirm_in_bulk(administrator, &relation.id).await;
        assert_eq!(refused, "ORDER_REQUIRED");
        let refused = school.confirm(administrator, &relation.id, school.order(1)).await;
        assert_eq!(reason(&refused), "FIELD_INVALID");
        let order = school.order(0);
        assert!(
            school
                .confirm(administrator, &relation.id, order)
                .await
                .unwrap()
                .confirmed
        );
    }
    school.env.close().await;
});

// Covers: F12 allowed, F12 refused
on_both!(bulk_confirmation_confirms_all_or_none, |database| async move {
    let school = School::open(database).await;
    let mother = school.relation_of(&school.mother).await.id;
    let father = school.relation_of(&school.father).await.id;
    let confirm = async |caller, ids: &[&String]| {
        let request = pb::ConfirmGuardianshipsRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            guardianship_ids: ids.iter().map(|id| (*id).clone()).collect(),
            order: None,
        };
        let mut api = school.env.guardianships();
        let confirmed = api.confirm_guardianships(by(caller, request)).await?;
        Ok::<_, tonic::Status>(confirmed.into_inner().guardianships)
    };
    let teacher = school.teacher.token.as_str();
    let other = &school.administrator;
    school.accept_link(&other.person, &school.child.member_id).await;
    let own = school.relation_of(other).await.id;
    let refused = confirm(other.token.as_str(), &[&father, &own]).await;
    assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    assert!(!school.relation_of(&school.father).await.confirmed);
    let refused = confirm(teacher, &[&father, &father]).await;
    assert_eq!(reason(&refused), "FIELD_INVALID");
    assert_eq!(reason(&confirm(teacher, &[]).await), "FIELD_INVALID");
    let refused = confirm(school.child.token.as_str(), &[&father]).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let confirmed = confirm(teacher, &[&father, &mother]).await.unwrap();
    let ids: Vec<_> = confirmed.iter().map(|g| (&g.id, g.confirmed)).collect();
    assert_eq!(ids, [(&father, true), (&mother, true)]);
    school.env.close().await;
});

// Covers: R27 allowed, F12 allowed, F12 refused
on_both!(staff_propose_a_relation_with_its_kind, |database| async move {
    let school = School::open(database).await;
    let propose = async |caller: &str, guardian: &str, child: &str| {
        let request = pb::ProposeGuardianshipRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            guardian_id: guardian.to_owned(),
            child_id: child.to_owned(),
            kind: GuardianshipKind::Trusted.into(),
        };
        let mut api = school.env.guardianships();
        let proposed = api.propose_guardianship(by(caller, request)).await?;
        Ok::<_, tonic::Status>(proposed.into_inner().guardianship.unwrap())
    };
    let (teacher, child) = (school.teacher.token.as_str(), school.child.member_id.as_str());
    let aunt = school.expected_parent().await;
    let refused = propose(&school.mother.token, &aunt, child).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    let refused = propose(teacher, &school.teacher.member_id, child).await;
    assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    let refused = propose(teacher, &school.administrator.member_id, child).await;
    assert_eq!(reason(&refused), "NOT_A_PARENT");
    let administrator = school.administrator.token.as_str();
    let refused = propose(administrator, &aunt, &school.mother.member_id).await;
    assert_eq!(reason(&refused), "CHILD_UNKNOWN");
    let stranger = school.leader("+79166666666", unit(2), None).await;
    let refused = propose(&stranger.token, &aunt, child).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let proposed = propose(teacher, &aunt, child).await.unwrap();
    assert!(!proposed.confirmed);
    assert_eq!(proposed.kind(), GuardianshipKind::Trusted);
    let again = propose(teacher, &aunt, child).await.unwrap();
    assert_eq!(again.id, proposed.id);
    let confirmed = school.confirm(&school.teacher, &proposed.id, None).await.unwrap();
    assert_eq!(
        (confirmed.confirmed, confirmed.kind()),
        (true, GuardianshipKind::Trusted)
    );
    school.env.close().await;
});

// Covers: R28 refused, F12 refused
on_both!(
    parent_sees_nobody_before_and_after_the_relation,
    |database| async move {
        let school = School::open(database).await;
        let father = &school.father;
        assert_eq!(school.env.list(father).await.unwrap(), ["Пётр Котов"]);
        let relation = school.relation_of(father).await;
        school.confirm(&school.teacher, &relation.id, None).await.unwrap();
        let seen = school.env.list(father).await.unwrap();
        assert!(seen.contains(&"Ян Котов".to_owned()), "{seen:?}");
        school.end(&school.teacher, &relation.id).await.unwrap();
        assert_eq!(school.env.list(father).await.unwrap(), ["Пётр Котов"]);
        school.env.close().await;
    }
);
