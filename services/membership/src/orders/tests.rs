//! The rules of an order, which every RPC that takes one applies.
use parta_proto_membership::v1::{self as pb, DutyKind, Role, duty_scope::Scope};
use parta_service_testkit::fields;
use parta_testkit::on_both;

use crate::tests::test_env::{TestEnv, by, org, reason};

fn order(date: &str) -> pb::Order {
    pb::Order {
        number: "12-к".to_owned(),
        date: date.to_owned(),
        text: "О назначении".to_owned(),
    }
}

/// Orders that are refused, each with the reason and the fields of the refusal.
fn refused_orders() -> Vec<(Option<pb::Order>, &'static str, &'static [&'static str])> {
    let mut all: Vec<(_, _, &[_])> = vec![
        (None, "ORDER_REQUIRED", &[]),
        (
            Some(pb::Order::default()),
            "FIELD_INVALID",
            &["order.date", "order.number", "order.text"],
        ),
    ];
    for date in [
        "2999-01-01",
        "1899-12-31",
        "0001-01-01",
        "2026-1-12",
        "2026 -1-12",
        "+12026-01-12",
        "2026-02-30",
    ] {
        all.push((Some(order(date)), "FIELD_INVALID", &["order.date"]));
    }
    all
}

on_both!(order_has_the_same_rules_in_each_rpc, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let pupil = test_env.join_pupil("+79162222222", "Ян Котов", 1).await;
    let duty = |order| pb::AssignDutyRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: teacher.member_id.clone(),
        kind: DutyKind::Office.into(),
        scope: Some(pb::DutyScope {
            scope: Some(Scope::Organization(true)),
        }),
        order,
        until_date: "2999-01-01".to_owned(),
    };
    let protection = |order| pb::ProtectFamilyRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        child_id: pupil.member_id.clone(),
        order,
    };
    let lift = |order| pb::UnprotectFamilyRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        child_id: pupil.member_id.clone(),
        order,
    };
    let token = &administrator.token;
    let (mut duties, mut families) = (test_env.duties(), test_env.guardianships());
    for (order, expected, paths) in refused_orders() {
        let assigned = duties.assign_duty(by(token, duty(order.clone()))).await;
        let protected = families
            .protect_family(by(token, protection(order.clone())))
            .await;
        let lifted = families.unprotect_family(by(token, lift(order.clone()))).await;
        for refused in [assigned.map(drop), protected.map(drop), lifted.map(drop)] {
            assert_eq!(reason(&refused), expected, "{order:?}");
            assert_eq!(fields(&refused.unwrap_err()), paths, "{order:?}");
        }
    }
    let fine = Some(order("1900-01-01"));
    duties.assign_duty(by(token, duty(fine.clone()))).await.unwrap();
    families
        .protect_family(by(token, protection(fine)))
        .await
        .unwrap();
    test_env.close().await;
});
