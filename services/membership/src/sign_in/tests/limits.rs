//! The limits of sign-in under attack (R19): who is refused, and who never is.
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use parta_proto_membership::v1::{self as pb, Role};
use parta_runtime::ServiceConfig as _;
use parta_service_testkit::fields;
use parta_status::RpcError;
use parta_testkit::{Metrics, on_both};
use tonic::Status;

use crate::{
    config::Config,
    tests::{
        networks::{enter_wrong_codes, other_code, request_code, verify},
        test_env::{MemberSession, TestEnv, by, org, reason},
    },
};

const PHONE: &str = "+79161234567";
const OWNER: &str = "203.0.113.5";
const STRANGER: &str = "198.51.100.7";

/// The limit that a refusal names, and when it ends.
fn limit<T: std::fmt::Debug>(refused: Result<T, Status>) -> (String, Duration) {
    let refused = RpcError::from_status(&refused.unwrap_err()).unwrap();
    assert_eq!(refused.reason(), "RATE_LIMITED");
    (
        refused.metadata("limit").unwrap().to_owned(),
        refused.retry_delay().unwrap(),
    )
}

fn phone(n: usize) -> String {
    format!("+7916{n:07}")
}

/// Requests a code and enters it. Returns the accounts of the address.
async fn sign_in(test_env: &TestEnv, network: &str, phone: &str) -> Result<Vec<pb::AccountProfile>, Status> {
    let flow = request_code(test_env, network, phone).await?;
    let code = test_env.code(phone).await;
    Ok(verify(test_env, network, &flow, &code).await?.profiles)
}

/// Enters a hundred wrong codes from ten networks.
async fn lock(test_env: &TestEnv, phone: &str) {
    for n in 0..10 {
        enter_wrong_codes(test_env, &format!("198.51.{n}.7"), phone, 10).await;
    }
}

// A stranger who requests codes for a phone takes none of those of its owner.
// Covers: R19 allowed, R19 refused
on_both!(
    stranger_does_not_take_the_codes_of_the_owner,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        for _ in 0..20 {
            request_code(&test_env, STRANGER, PHONE).await.unwrap();
            test_env.minute();
        }
        let refused = limit(request_code(&test_env, STRANGER, PHONE).await);
        assert_eq!(refused.0, "codes_to_address");
        assert!(refused.1 <= Duration::from_mins(30), "{refused:?}");
        sign_in(&test_env, OWNER, PHONE).await.unwrap();
        // An IPv6 network is one caller, whatever address it takes.
        for n in 0..2 {
            let requested = request_code(&test_env, &format!("2001:db8:0:1::{n}"), PHONE).await;
            assert_eq!(reason(&requested), ["OK", "RATE_LIMITED"][n]);
        }
        test_env.close().await;
    }
);

// Covers: R19 allowed, R19 refused
on_both!(family_of_six_signs_in_on_one_phone, |database| async move {
    let test_env = TestEnv::open(database).await;
    for n in 0..6 {
        let flow = request_code(&test_env, OWNER, PHONE).await.unwrap();
        // A second code has to wait until the first one was entered.
        let early = limit(request_code(&test_env, OWNER, PHONE).await);
        assert_eq!(early, ("resend".to_owned(), Duration::from_mins(1)));
        let code = test_env.code(PHONE).await;
        let verified = verify(&test_env, OWNER, &flow, &code).await.unwrap();
        assert_eq!(verified.profiles.len(), n);
        let start = pb::StartSessionRequest {
            request_id: test_env.act(),
            flow_id: flow,
            proof: verified.proof,
            new_account: Some(pb::NewAccount {
                full_name: format!("Орлов {n}"),
            }),
            ..Default::default()
        };
        test_env.authentication().start_session(start).await.unwrap();
    }
    test_env.close().await;
});

// Covers: R19 allowed, R19 refused
on_both!(one_network_requests_few_codes_at_once, |database| async move {
    let test_env = TestEnv::open_with(database, Config::default()).await;
    let phones: Vec<_> = (0..60).map(phone).collect();
    let requested = phones
        .iter()
        .map(|phone| request_code(&test_env, STRANGER, phone));
    let requested = join_all(requested).await;
    assert_eq!(requested.iter().filter(|requested| requested.is_ok()).count(), 30);
    for refused in requested.into_iter().filter(Result::is_err) {
        let (limit, wait) = limit(refused);
        assert_eq!(limit, "codes_of_network");
        assert_eq!(wait, Duration::from_secs(6));
    }
    request_code(&test_env, OWNER, PHONE).await.unwrap();
    test_env.time.advance(TimeDelta::seconds(6));
    request_code(&test_env, STRANGER, &phone(61)).await.unwrap();
    let refused = limit(request_code(&test_env, STRANGER, &phone(62)).await);
    assert_eq!(refused.0, "codes_of_network");
    test_env.close().await;
});

// Covers: R19 refused
on_both!(installation_sends_few_codes_at_once, |database| async move {
    let config = Config {
        codes_per_hour: 8,
        ..Config::default()
    };
    let test_env = TestEnv::open_with(database, config).await;
    for n in 0..2 {
        request_code(&test_env, &format!("198.51.{n}.7"), &phone(n))
            .await
            .unwrap();
    }
    let refused = limit(request_code(&test_env, OWNER, PHONE).await);
    assert_eq!(
        refused,
        ("codes_of_installation".to_owned(), Duration::from_secs(450))
    );
    // A refused call has counted nothing, so that the owner does not wait for another limit as well.
    test_env.time.advance(TimeDelta::seconds(450));
    request_code(&test_env, OWNER, PHONE).await.unwrap();
    test_env.close().await;
});

// Wrong codes are limited where they come from: in this network, for this address and for all.
// Covers: R19 allowed, R19 refused
on_both!(
    wrong_codes_are_limited_where_they_come_from,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        enter_wrong_codes(&test_env, STRANGER, PHONE, 10).await;
        let refused = limit(request_code(&test_env, STRANGER, PHONE).await);
        assert_eq!(refused.0, "wrong_codes_to_address");
        let flow = request_code(&test_env, OWNER, PHONE).await.unwrap();
        let code = test_env.code(PHONE).await;
        for _ in 0..6 {
            // Also the right code, which the stranger does not learn this way. No attempt of the owner is
            // taken.
            let refused = limit(verify(&test_env, STRANGER, &flow, &code).await);
            assert_eq!(refused.0, "wrong_codes_to_address");
        }
        verify(&test_env, OWNER, &flow, &code).await.unwrap();
        for n in 0..9 {
            enter_wrong_codes(&test_env, STRANGER, &phone(n), 10).await;
        }
        // Tokens came back meanwhile: 100 an hour.
        let flow = request_code(&test_env, STRANGER, &phone(100)).await.unwrap();
        let wrong = other_code(&test_env.code(&phone(100)).await);
        let mut refused = verify(&test_env, STRANGER, &flow, wrong).await;
        let mut n = 101;
        while reason(&refused) == "CODE_WRONG" && n < 150 {
            let flow = request_code(&test_env, STRANGER, &phone(n)).await.unwrap();
            refused = verify(
                &test_env,
                STRANGER,
                &flow,
                other_code(&test_env.code(&phone(n)).await),
            )
            .await;
            n += 1;
        }
        assert_eq!(limit(refused).0, "wrong_codes_of_network");
        sign_in(&test_env, OWNER, PHONE).await.unwrap();
        test_env.close().await;
    }
);

async fn unlock(test_env: &TestEnv, caller: &MemberSession, member: &str) -> Result<bool, Status> {
    let request = pb::UnlockMemberSignInRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: member.to_owned(),
    };
    let request = by(&caller.token, request);
    let response = test_env.members().unlock_member_sign_in(request).await?;
    Ok(response.into_inner().was_locked)
}

// A hundred wrong codes in a row lock an address, until the administration lifts the lock. Open sessions go
// on meanwhile.
// Covers: R19 allowed, R19 refused
on_both!(administration_lifts_the_lock_of_a_member, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env.join(PHONE, "Олег Волков", Role::Teacher, |_| ()).await;
    let other = test_env
        .join("+79162222222", "Пётр Заяц", Role::Teacher, |_| ())
        .await;
    lock(&test_env, PHONE).await;
    test_env.time.advance(TimeDelta::days(30));
    assert_eq!(
        reason(&request_code(&test_env, OWNER, PHONE).await),
        "SIGN_IN_LOCKED"
    );
    let refresh = pb::RefreshSessionRequest {
        request_id: test_env.act(),
        refresh_token: teacher.person.refresh_token.clone(),
    };
    test_env.authentication().refresh_session(refresh).await.unwrap();

    // The access tokens have expired meanwhile.
    let administrator = test_env.again(&administrator, "+79160000001").await;
    let other = test_env.again(&other, "+79162222222").await;
    let refused = unlock(&test_env, &other, &teacher.member_id).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let refused = unlock(&test_env, &administrator, &administrator.member_id).await;
    assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    let stranger = test_env.administrator(2).await;
    let refused = unlock(&test_env, &stranger, &teacher.member_id).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    let nobody = test_env.env.id::<parta_ids::MemberId>().to_string();
    assert_eq!(
        reason(&unlock(&test_env, &administrator, &nobody).await),
        "NOT_FOUND"
    );

    let request = pb::UnlockMemberSignInRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: teacher.member_id.clone(),
    };
    for _ in 0..2 {
        let request = by(&administrator.token, request.clone());
        let unlocked = test_env.members().unlock_member_sign_in(request).await.unwrap();
        assert!(unlocked.into_inner().was_locked, "a repetition says the same");
    }
    assert!(
        !unlock(&test_env, &administrator, &teacher.member_id)
            .await
            .unwrap()
    );
    let profiles = sign_in(&test_env, OWNER, PHONE).await.unwrap();
    assert_eq!(profiles[0].account_id, teacher.person.account_id);

    let removed = pb::RemoveMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: other.member_id.clone(),
        ..Default::default()
    };
    let removed = by(&administrator.token, removed);
    test_env.members().remove_member(removed).await.unwrap();
    let refused = unlock(&test_env, &administrator, &other.member_id).await;
    assert_eq!(reason(&refused), "MEMBER_LEFT");
    let unnamed = pb::UnlockMemberSignInRequest::default();
    let refused = test_env
        .members()
        .unlock_member_sign_in(by(&administrator.token, unnamed))
        .await;
    assert_eq!(
        fields(&refused.unwrap_err()),
        ["member_id", "org_id", "request_id"]
    );
    test_env.close().await;
});

// The operator lifts the lock of an address that belongs to no member yet. A right code ends a row of wrong
// ones.
// Covers: R19 allowed, R19 refused
on_both!(operator_lifts_the_lock_of_an_address, |database| async move {
    let test_env = TestEnv::open(database).await;
    for n in 0..9 {
        enter_wrong_codes(&test_env, &format!("192.0.{n}.7"), PHONE, 10).await;
    }
    sign_in(&test_env, OWNER, PHONE).await.unwrap();
    lock(&test_env, PHONE).await;
    assert_eq!(
        reason(&request_code(&test_env, OWNER, PHONE).await),
        "SIGN_IN_LOCKED"
    );
    let unlock = async |phone: &str, email: &str| {
        let request = pb::UnlockSignInRequest {
            request_id: test_env.act(),
            phone: phone.to_owned(),
            email: email.to_owned(),
        };
        let request = test_env.by_operator(request);
        test_env
            .operator()
            .unlock_sign_in(request)
            .await
            .map(|response| response.into_inner().was_locked)
    };
    assert_eq!(fields(&unlock("", "").await.unwrap_err()), ["phone"]);
    assert!(!unlock("", "orlov@school.example").await.unwrap());
    assert!(unlock("8 (916) 123-45-67", "").await.unwrap());
    sign_in(&test_env, OWNER, PHONE).await.unwrap();
    let without = pb::UnlockSignInRequest {
        request_id: test_env.act(),
        phone: PHONE.to_owned(),
        ..Default::default()
    };
    let refused = test_env.operator().unlock_sign_in(without).await;
    assert_eq!(reason(&refused), "CREDENTIAL_MISSING");
    test_env.close().await;
});

// The hundredth wrong code locks the address at once, also for a code that was sent before.
// Covers: R19 refused
on_both!(lock_refuses_a_code_that_was_sent_before, |database| async move {
    let test_env = TestEnv::open(database).await;
    for n in 0..9 {
        enter_wrong_codes(&test_env, &format!("198.51.{n}.7"), PHONE, 10).await;
    }
    let flow = request_code(&test_env, OWNER, PHONE).await.unwrap();
    let code = test_env.code(PHONE).await;
    enter_wrong_codes(&test_env, STRANGER, PHONE, 10).await;
    let refused = verify(&test_env, OWNER, &flow, &code).await;
    assert_eq!(reason(&refused), "SIGN_IN_LOCKED");
    test_env.close().await;
});

#[test]
fn limits_outside_their_range_are_refused() {
    for count in [0, 3_600_001] {
        let config = Config {
            codes_per_hour: count,
            codes_per_hour_of_network: count,
            ..Config::default()
        };
        let mut problems = Vec::new();
        config.validate(&mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}

// Each act is counted with its outcome and the limit that it reached, and with nothing about the person.
// Covers: R19 allowed
on_both!(acts_of_sign_in_are_counted_by_outcome, |database| async move {
    let metrics = Metrics::record();
    let test_env = TestEnv::open(database).await;
    let flow = request_code(&test_env, OWNER, PHONE).await.unwrap();
    let code = test_env.code(PHONE).await;
    limit(request_code(&test_env, OWNER, PHONE).await);
    verify(&test_env, OWNER, &flow, other_code(&code))
        .await
        .unwrap_err();
    verify(&test_env, OWNER, &flow, &code).await.unwrap();
    let expected = [
        "membership.sign_in act=request_code,limit=,outcome=accepted 1",
        "membership.sign_in act=request_code,limit=resend,outcome=limited 1",
        "membership.sign_in act=verify_code,limit=,outcome=accepted 1",
        "membership.sign_in act=verify_code,limit=,outcome=wrong_code 1",
    ];
    assert_eq!(metrics.lines("membership.sign_in"), expected);
    test_env.close().await;
});
