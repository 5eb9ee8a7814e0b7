//! Orders limit relations one by one (F13).
use chrono::TimeDelta;
use parta_proto_membership::v1::RelationLimit;
use parta_testkit::on_both;

use super::fixture::School;
use crate::tests::test_env::reason;

/// A school in which both relations are confirmed.
pub(super) async fn confirmed(database: parta_testkit::TestDatabase) -> School {
    let school = School::open(database).await;
    for parent in [&school.mother, &school.father] {
        let relation = school.relation_of(parent).await;
        school.confirm(&school.teacher, &relation.id, None).await.unwrap();
    }
    school
}

// Covers: R27 allowed, R27 refused, F13 allowed, F13 refused
on_both!(
    relation_ended_by_order_needs_a_newer_order,
    |database| async move {
        let school = confirmed(database).await;
        let (administrator, father) = (&school.administrator, &school.father);
        let relation = school.relation_of(father).await;
        let ended = [RelationLimit::Ended];
        let refused = school
            .limit(&school.teacher, &relation.id, &ended, school.order(-1), "")
            .await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let limited = school
            .limit(administrator, &relation.id, &ended, school.order(-1), "")
            .await
            .unwrap();
        assert!(limited.ended_by_order && limited.limits().eq(ended));
        assert_eq!(school.env.list(father).await.unwrap(), ["Пётр Котов"]);
        // An ordinary link and one confirmation do not bring it back.
        school.accept_link(&father.person, &school.child.member_id).await;
        let again = school.relation_of(father).await;
        assert_ne!(again.id, relation.id);
        for (caller, order) in [
            (&school.teacher, None),
            (&school.teacher, school.order(0)),
            (administrator, None),
            (administrator, school.order(-1)),
        ] {
            let refused = school.confirm(caller, &again.id, order).await;
            assert_eq!(reason(&refused), "RELATION_ENDED_BY_ORDER");
        }
        let refused = school.confirm_in_bulk(administrator, &again.id).await;
        assert_eq!(refused, "RELATION_ENDED_BY_ORDER");
        let refused = school
            .limit(administrator, &again.id, &[], school.order(0), "")
            .await;
        assert_eq!(reason(&refused), "RELATION_ENDED_BY_ORDER");
        let renewed = school
            .confirm(administrator, &again.id, school.order(0))
            .await
            .unwrap();
        assert!(renewed.confirmed && renewed.limits.is_empty());
        assert!(school.env.list(father).await.unwrap().len() > 1);
        // The ended relation is history now.
        let all = school.list(administrator, false).await;
        assert!(all.iter().all(|g| g.id != relation.id));
        school.env.close().await;
    }
);

// Covers: F13 allowed, F13 refused
on_both!(leader_limits_provisionally_until_decided, |database| async move {
    let mut school = confirmed(database).await;
    let (administrator, teacher) = (&school.administrator, &school.teacher);
    let relation = school.relation_of(&school.father).await;
    let ended = [RelationLimit::Ended];
    let limited = school
        .limit(teacher, &relation.id, &ended, None, "")
        .await
        .unwrap();
    assert!(limited.limit_provisional && !limited.ended_by_order && !limited.awaits_head);
    assert_eq!(school.env.list(&school.father).await.unwrap(), ["Пётр Котов"]);
    let pending = school.list(administrator, true).await;
    assert_eq!(pending.len(), 1);
    // The leader does not lift it.
    let refused = school.limit(teacher, &relation.id, &[], None, "").await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    school.env.time.advance(TimeDelta::hours(72));
    school.end_due().await;
    school.sign_in_again().await;
    let administrator = &school.administrator;
    let waiting = school.relation_of(&school.father).await;
    assert!(waiting.awaits_head && waiting.limit_provisional);
    let lifted = school
        .limit(administrator, &relation.id, &[], None, "")
        .await
        .unwrap();
    assert!(lifted.limits.is_empty() && lifted.confirmed);
    assert!(school.env.list(&school.father).await.unwrap().len() > 1);
    school.env.close().await;
});

// Covers: F13 allowed, F13 refused
on_both!(limit_outlasts_the_relation_and_a_new_one, |database| async move {
    let school = confirmed(database).await;
    let (administrator, father) = (&school.administrator, &school.father);
    let relation = school.relation_of(father).await;
    let limits = [RelationLimit::NoContact];
    school
        .limit(administrator, &relation.id, &limits, school.order(-1), "")
        .await
        .unwrap();
    // Neither the leader nor an order of the same day takes it away.
    let refused = school.limit(administrator, &relation.id, &[], None, "").await;
    assert_eq!(reason(&refused), "ORDER_REQUIRED");
    let refused = school
        .limit(administrator, &relation.id, &[], school.order(-1), "")
        .await;
    assert_eq!(reason(&refused), "ORDER_REQUIRED");
    school.end(&school.teacher, &relation.id).await.unwrap();
    school.accept_link(&father.person, &school.child.member_id).await;
    let again = school.relation_of(father).await;
    let again = school.confirm(&school.teacher, &again.id, None).await.unwrap();
    assert_eq!(again.limits().collect::<Vec<_>>(), limits);
    let lifted = school
        .limit(administrator, &again.id, &[], school.order(0), "")
        .await
        .unwrap();
    assert!(lifted.limits.is_empty());
    school.env.close().await;
});

// Covers: F12 refused
on_both!(
    request_waits_while_the_end_is_provisional,
    |database| async move {
        let school = School::open(database).await;
        let relation = school.relation_of(&school.father).await;
        let ended = [RelationLimit::Ended];
        school
            .limit(&school.teacher, &relation.id, &ended, None, "")
            .await
            .unwrap();
        let refused = school.confirm(&school.administrator, &relation.id, None).await;
        assert_eq!(reason(&refused), "RELATION_LIMITED");
        let refused = school.confirm_in_bulk(&school.administrator, &relation.id).await;
        assert_eq!(refused, "RELATION_LIMITED");
        school.env.close().await;
    }
);

// Covers: F1 allowed, F13 allowed
on_both!(limit_ends_after_its_last_day, |database| async move {
    let mut school = confirmed(database).await;
    let relation = school.relation_of(&school.father).await;
    let limits = [RelationLimit::NoWhereabouts];
    let last_day = school.day(2);
    let refused = school
        .limit(&school.teacher, &relation.id, &limits, None, &last_day)
        .await;
    assert_eq!(reason(&refused), "FIELD_INVALID");
    let limited = school
        .limit(
            &school.administrator,
            &relation.id,
            &limits,
            school.order(0),
            &last_day,
        )
        .await
        .unwrap();
    assert_eq!(limited.limit_until_date, last_day);
    school.env.time.advance(TimeDelta::days(2));
    school.end_due().await;
    school.sign_in_again().await;
    assert_eq!(school.relation_of(&school.father).await.limits.len(), 1);
    school.env.time.advance(TimeDelta::days(1));
    school.end_due().await;
    school.sign_in_again().await;
    assert!(school.relation_of(&school.father).await.limits.is_empty());
    school.env.close().await;
});
