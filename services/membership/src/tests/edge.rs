//! Repeated mutations: their authorization, their responses and their idempotency records.
use parta_proto_membership::v1::{self as pb, Role};
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::tests::test_env::{TestEnv, by, org, reason, unit};

fn removal(test_env: &TestEnv, member_id: &str) -> pb::RemoveMemberRequest {
    pb::RemoveMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: member_id.to_owned(),
        etag: String::new(),
        ..Default::default()
    }
}

// Covers: R30 allowed, R30 refused
on_both!(
    service_account_key_is_withheld_from_removed_administrator,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let first = test_env.administrator(1).await;
        let second = test_env.second_administrator(&first).await;
        let request = pb::CreateServiceAccountRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            display_name: "Журнал".to_owned(),
            permissions: vec!["roster.read".to_owned()],
        };
        let mut api = test_env.service_accounts();
        let made = api
            .create_service_account(by(&second.token, request.clone()))
            .await
            .unwrap()
            .into_inner();
        let again = api
            .create_service_account(by(&second.token, request.clone()))
            .await
            .unwrap()
            .into_inner();
        assert!(!made.key.is_empty());
        assert_eq!(
            (&again.key, &again.service_account),
            (&made.key, &made.service_account)
        );
        test_env
            .change_roles(&first, &second.member_id, &[Role::Staff])
            .await
            .unwrap();
        let refused = api
            .create_service_account(by(&second.token, request.clone()))
            .await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        test_env
            .members()
            .remove_member(by(&first.token, removal(&test_env, &second.member_id)))
            .await
            .unwrap();
        let refused = api.create_service_account(by(&second.token, request)).await;
        assert_eq!(reason(&refused), "NOT_FOUND");
        test_env.close().await;
    }
);

on_both!(
    mutation_that_ends_the_callers_own_right_is_repeatable,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let first = test_env.administrator(1).await;
        let second = test_env.second_administrator(&first).await;
        let resign = test_env
            .previewed(&second, org(1), &second.member_id, &[Role::Staff])
            .await;
        let mut api = test_env.members();
        for _ in 0..2 {
            let response = api.change_member_roles(by(&second.token, resign.clone())).await;
            let member = response.unwrap().into_inner().member.unwrap();
            assert_eq!(member.roles, [i32::from(Role::Staff)]);
        }
        // The same act with a new request_id requires the right that the caller has given up.
        let other_request = test_env
            .previewed(&second, org(1), &second.member_id, &[Role::Staff])
            .await;
        assert_eq!(
            reason(&api.change_member_roles(by(&second.token, other_request)).await),
            "PERMISSION_DENIED"
        );
        test_env
            .change_roles(&first, &second.member_id, &[Role::Staff, Role::Administrator])
            .await
            .unwrap();
        let leave = removal(&test_env, &second.member_id);
        for _ in 0..2 {
            let response = api.remove_member(by(&second.token, leave.clone())).await;
            let member = response.unwrap().into_inner().member.unwrap();
            assert_eq!(member.state(), pb::MemberState::Left);
        }
        let other_request = removal(&test_env, &second.member_id);
        assert_eq!(
            reason(&api.remove_member(by(&second.token, other_request)).await),
            "NOT_FOUND"
        );
        // A different body with the same request_id is not a repetition.
        let other = pb::RemoveMemberRequest {
            etag: "other".to_owned(),
            ..leave
        };
        assert_eq!(
            reason(&api.remove_member(by(&second.token, other)).await),
            "NOT_FOUND"
        );
        test_env.close().await;
    }
);

on_both!(idempotency_records_contain_no_names, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let created = pb::CreateMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        full_name: "Ева Орлова".to_owned(),
        role: Role::Pupil.into(),
        unit_id: unit(1).to_string(),
    };
    let id = created.request_id.clone();
    let response = test_env
        .members()
        .create_member(by(&administrator.token, created))
        .await
        .unwrap();
    let member = response.into_inner().member.unwrap();
    let sql = "SELECT response FROM idempotency_record WHERE request_id = $1";
    let id: parta_ids::Uuid = id.parse().unwrap();
    let statement = Statement::from_sql_and_values(test_env.db.backend(), sql, [id.into()]);
    let row = test_env
        .db
        .conn()
        .query_one_raw(statement)
        .await
        .unwrap()
        .unwrap();
    let stored: Vec<u8> = row.try_get("", "response").unwrap();
    // The golden form of the outcome, which builds of the next 30 days must read.
    let golden = format!("\u{1}{{\"member_id\":\"{}\"}}", member.id);
    assert_eq!(String::from_utf8(stored).unwrap(), golden);
    test_env.close().await;
});

on_both!(unknown_stored_value_is_unavailable, |database| async move {
    parta_testkit::logs().allow("a stored value is not known to this build");
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let other = test_env.administrator(2).await;
    let member = administrator.member_id.parse::<parta_ids::MemberId>().unwrap();
    test_env
        .change_row(
            "member",
            "state = 77",
            "member_id",
            parta_ids::TypedId::uuid(member),
        )
        .await;
    let list = test_env.list(&administrator).await;
    assert_eq!(reason(&list), "STORED_VALUE_UNKNOWN");
    assert_eq!(list.unwrap_err().code(), tonic::Code::Unavailable);
    // Another organization is not affected.
    let request = pb::ListMembersRequest {
        org_id: org(2).to_string(),
        ..Default::default()
    };
    let others = test_env.members().list_members(by(&other.token, request)).await;
    assert_eq!(others.unwrap().into_inner().members.len(), 1);
    test_env.close().await;
});
