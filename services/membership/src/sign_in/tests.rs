//! Sign-in, sessions, tokens, the first administrator (R19, R20, R28, R29, R30).
mod limits;

use parta_proto_membership::v1 as pb;
use parta_testkit::on_both;
use tonic::Status;

use crate::{
    config::Config,
    tests::test_env::{Person, TestEnv, by, org, reason},
};

async fn refresh(
    test_env: &TestEnv,
    request_id: &str,
    token: &str,
) -> Result<pb::RefreshSessionResponse, Status> {
    let request = pb::RefreshSessionRequest {
        request_id: request_id.to_owned(),
        refresh_token: token.to_owned(),
    };
    Ok(test_env
        .authentication()
        .refresh_session(request)
        .await?
        .into_inner())
}

async fn sessions(test_env: &TestEnv, person: &Person) -> Result<usize, Status> {
    let response = test_env
        .authentication()
        .list_sessions(by(&person.token, pb::ListSessionsRequest::default()))
        .await?;
    Ok(response.into_inner().sessions.len())
}

// Several accounts can have one address. Sign-in offers only the accounts of the verified address.
// Covers: R19 allowed, R19 refused
on_both!(address_can_belong_to_several_accounts, |database| async move {
    let test_env = TestEnv::open(database).await;
    let phone = "+79161234567";
    let first = test_env.newcomer(phone, "Иван Орлов").await;
    test_env.minute();
    let second = test_env.newcomer(phone, "Ева Орлова").await;
    assert_ne!(first.account_id, second.account_id);
    test_env.minute();
    let stranger = test_env.newcomer("+79167654321", "Чужой").await;
    let flow = test_env.request_code(phone).await.unwrap().flow_id;
    assert_eq!(
        reason(&test_env.start(&flow, &first.account_id, "").await),
        "FLOW_UNKNOWN"
    );
    let profiles = test_env
        .verify(&flow, &test_env.code(phone).await)
        .await
        .unwrap()
        .profiles;
    let names: Vec<_> = profiles.iter().map(|p| p.full_name.as_str()).collect();
    assert_eq!(names, ["Иван Орлов", "Ева Орлова"]);
    assert_eq!(
        reason(&test_env.start(&flow, &stranger.account_id, "").await),
        "NOT_FOUND"
    );
    assert_eq!(
        test_env
            .start(&flow, &second.account_id, "")
            .await
            .unwrap()
            .account_id,
        second.account_id
    );
    assert_eq!(
        reason(&test_env.start(&flow, &first.account_id, "").await),
        "FLOW_UNKNOWN"
    );
    test_env.close().await;
});

// A phone number and an e-mail address are normalized in the same way as in the applications of org-registry.
// Covers: R19 allowed, R19 refused
on_both!(phone_number_is_normalized, |database| async move {
    let test_env = TestEnv::open(database).await;
    let phone = "+79161234567";
    let person = test_env.newcomer(phone, "Иван Орлов").await;
    test_env.minute();
    let flow = test_env.request_code("8 (916) 123-45-67").await.unwrap().flow_id;
    let verified = test_env.verify(&flow, &test_env.code(phone).await).await.unwrap();
    let ids: Vec<_> = verified.profiles.iter().map(|p| p.account_id.as_str()).collect();
    assert_eq!(ids, [person.account_id.as_str()]);
    for refused in [
        "+1 800 FLOWERS",
        "+7 916 123-45-67 ext. 5",
        "+7 916 123-45-67;ext=5",
        "+7 000 000-00-00",
    ] {
        let status = test_env.request_code(refused).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{refused}");
    }
    test_env.close().await;
});

// A code allows five attempts, and the response is the same for known and unknown addresses.
// Covers: R19 refused
on_both!(code_expires_after_five_tries_or_minutes, |database| async move {
    let test_env = TestEnv::open(database).await;
    let phone = "+79161234567";
    let known = test_env.newcomer(phone, "Иван Орлов").await;
    test_env.request_code(phone).await.unwrap();
    assert_eq!(reason(&test_env.request_code(phone).await), "RATE_LIMITED");
    test_env.minute();
    let flow = test_env.request_code(phone).await.unwrap();
    let other = test_env.request_code("+79167654321").await.unwrap();
    assert_eq!(
        (flow.resend_time, flow.expire_time),
        (other.resend_time, other.expire_time)
    );
    let right = test_env.code(phone).await;
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        assert_eq!(reason(&test_env.verify(&flow.flow_id, wrong).await), "CODE_WRONG");
    }
    assert_eq!(
        reason(&test_env.verify(&flow.flow_id, &right).await),
        "FLOW_UNKNOWN"
    );
    test_env.minute();
    let late = test_env.request_code(phone).await.unwrap().flow_id;
    let code = test_env.code(phone).await;
    // The code is bound to its flow.
    assert_eq!(
        reason(&test_env.verify(&other.flow_id, &code).await),
        "CODE_WRONG"
    );
    test_env.time.advance(chrono::TimeDelta::minutes(5));
    assert_eq!(reason(&test_env.verify(&late, &code).await), "FLOW_UNKNOWN");
    assert!(!known.token.is_empty());
    test_env.close().await;
});

// Reusing a refresh token after its successor was used ends the session.
// Covers: R29 allowed, R29 refused
on_both!(reused_refresh_token_ends_the_session, |database| async move {
    let test_env = TestEnv::open(database).await;
    let person = test_env.newcomer("+79161234567", "Иван Орлов").await;
    let act = test_env.act();
    let second = refresh(&test_env, &act, &person.refresh_token).await.unwrap();
    assert_eq!(
        refresh(&test_env, &act, &person.refresh_token)
            .await
            .unwrap()
            .refresh_token,
        second.refresh_token
    );
    let third = refresh(&test_env, &test_env.act(), &second.refresh_token)
        .await
        .unwrap();
    // The successor was used, so that the predecessor counts as copied.
    assert_eq!(
        reason(&refresh(&test_env, &act, &person.refresh_token).await),
        "SESSION_ENDED"
    );
    assert_eq!(
        reason(&refresh(&test_env, &test_env.act(), &third.refresh_token).await),
        "SESSION_ENDED"
    );
    assert_eq!(reason(&sessions(&test_env, &person).await), "CREDENTIAL_REVOKED");
    let forged = format!("{}x", third.refresh_token);
    assert_eq!(
        reason(&refresh(&test_env, &test_env.act(), &forged).await),
        "SESSION_ENDED"
    );
    test_env.close().await;
});

// Ending a session revokes its tokens, organization tokens included. Another account cannot end it.
// Covers: R29 allowed, R29 refused
on_both!(ended_session_revokes_its_tokens, |database| async move {
    let test_env = TestEnv::open(database).await;
    let caller = test_env.administrator(1).await;
    let stranger = test_env.newcomer("+79161234567", "Чужой").await;
    let request = pb::EndSessionRequest {
        request_id: test_env.act(),
        session_id: caller.person.session_id.clone(),
    };
    let refused = test_env
        .authentication()
        .end_session(by(&stranger.token, request.clone()))
        .await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    assert_eq!(sessions(&test_env, &caller.person).await.unwrap(), 1);
    assert_eq!(test_env.list(&caller).await.unwrap(), ["Анна Петрова"]);
    test_env
        .authentication()
        .end_session(by(&caller.person.token, request))
        .await
        .unwrap();
    assert_eq!(reason(&test_env.list(&caller).await), "CREDENTIAL_REVOKED");
    assert_eq!(
        reason(&sessions(&test_env, &caller.person).await),
        "CREDENTIAL_REVOKED"
    );
    test_env.close().await;
});

// Only the phone number in the application claims the appointment, and only once.
// Covers: R3 allowed, R3 refused, R19 allowed, R19 refused
on_both!(
    appointment_is_claimed_only_with_the_phone_of_application,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let stranger = test_env.newcomer("+79161234567", "Чужой").await;
        assert_eq!(reason(&test_env.claim(&stranger, org(1)).await), "NOT_FOUND");
        let second = test_env.newcomer("+79160000002", "Пётр Ильин").await;
        assert_eq!(reason(&test_env.claim(&second, org(1)).await), "NOT_FOUND");
        let caller = test_env.administrator(1).await;
        assert_eq!(reason(&test_env.claim(&caller.person, org(1)).await), "NOT_FOUND");
        assert_eq!(
            reason(&test_env.member_session(org(1), stranger).await),
            "NOT_FOUND"
        );
        test_env.close().await;
    }
);

// A token of an organization contains neither the account nor the session, and no other organization accepts
// it.
// Covers: R28 refused, R59 refused
on_both!(organizations_cannot_correlate_a_person, |database| async move {
    let test_env = TestEnv::open(database).await;
    let here = test_env.administrator(1).await;
    let there = test_env.administrator(2).await;
    assert_ne!(here.member_id, there.member_id);
    let claims = |token: &str| {
        use base64::Engine as _;
        let body = token.split('.').nth(1).unwrap();
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(body)
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()
    };
    let person = claims(&here.token);
    assert_eq!(person["sub"], here.member_id);
    assert_ne!(person["sid"], here.person.session_id);
    assert!(!person.to_string().contains(&here.person.account_id));
    // Another organization does not accept the token.
    let request = pb::ListMembersRequest {
        org_id: org(2).to_string(),
        ..Default::default()
    };
    assert_eq!(
        reason(&test_env.members().list_members(by(&here.token, request)).await),
        "NOT_FOUND"
    );
    test_env.close().await;
});

// A repetition returns the key again. The key gives access to its organization only, until it is revoked.
// Covers: R30 allowed, R30 refused, R59 refused
on_both!(service_account_works_until_revoked, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let request = pb::CreateServiceAccountRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        display_name: "Журнал".to_owned(),
        permissions: vec!["roster.read".to_owned()],
    };
    let mut api = test_env.service_accounts();
    let made = api
        .create_service_account(by(&administrator.token, request.clone()))
        .await
        .unwrap()
        .into_inner();
    let again = api
        .create_service_account(by(&administrator.token, request.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, made);
    let issue = |key: &str| pb::IssueServiceAccountTokenRequest { key: key.to_owned() };
    let token = api
        .issue_service_account_token(issue(&made.key))
        .await
        .unwrap()
        .into_inner()
        .access_token;
    let list = |n| pb::ListMembersRequest {
        org_id: org(n).to_string(),
        ..Default::default()
    };
    assert_eq!(
        test_env
            .members()
            .list_members(by(&token, list(1)))
            .await
            .unwrap()
            .into_inner()
            .members
            .len(),
        1
    );
    assert_eq!(
        reason(&test_env.members().list_members(by(&token, list(2))).await),
        "NOT_FOUND"
    );
    let request = pb::CreateServiceAccountRequest {
        request_id: test_env.act(),
        ..request
    };
    assert_eq!(
        reason(&api.create_service_account(by(&token, request)).await),
        "CALLER_NOT_ACCEPTED"
    );
    let revoke = pb::RevokeServiceAccountRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        service_account_id: made.service_account.unwrap().id,
    };
    api.revoke_service_account(by(&administrator.token, revoke))
        .await
        .unwrap();
    assert_eq!(
        reason(&test_env.members().list_members(by(&token, list(1))).await),
        "CREDENTIAL_REVOKED"
    );
    assert_eq!(
        reason(&api.issue_service_account_token(issue(&made.key)).await),
        "SERVICE_ACCOUNT_KEY_INVALID"
    );
    test_env.close().await;
});

// Two tabs of a browser share one refresh token. The slower one gets the same successor for 60 seconds
// while the successor is unused; after that the use of the old token ends the session.
// Covers: R29 allowed, R29 refused
on_both!(two_tabs_refresh_one_session, |database| async move {
    let test_env = TestEnv::open(database).await;
    let person = test_env.newcomer("+79161234567", "Иван Орлов").await;
    let (one, two) = (test_env.act(), test_env.act());
    let (one, two) = tokio::join!(
        refresh(&test_env, &one, &person.refresh_token),
        refresh(&test_env, &two, &person.refresh_token)
    );
    let next = one.unwrap().refresh_token;
    assert_eq!(two.unwrap().refresh_token, next);
    assert_eq!(sessions(&test_env, &person).await.unwrap(), 1);
    test_env.time.advance(chrono::TimeDelta::seconds(61));
    let late = refresh(&test_env, &test_env.act(), &person.refresh_token).await;
    assert_eq!(reason(&late), "SESSION_ENDED");
    let after = refresh(&test_env, &test_env.act(), &next).await;
    assert_eq!(reason(&after), "SESSION_ENDED");
    test_env.close().await;
});

// A name shows what it holds: no invisible character, and none that reorders the others.
// Covers: R19 refused
on_both!(invisible_names_are_refused, |database| async move {
    let test_env = TestEnv::open(database).await;
    let phone = "+79161234567";
    let flow = test_env.request_code(phone).await.unwrap().flow_id;
    test_env.verify(&flow, &test_env.code(phone).await).await.unwrap();
    for name in [
        "\u{200b}",
        "\u{2800}",
        "\u{3164}",
        "Иван\u{202e}волрО",
        "Иван\u{200b}",
    ] {
        let refused = test_env.start(&flow, "", name).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{name:?}");
    }
    test_env.start(&flow, "", "Иван Орлов").await.unwrap();
    test_env.close().await;
});

// A code to such a number costs the installation money that the attacker earns.
// Covers: R19 refused
on_both!(premium_and_satellite_numbers_are_refused, |database| async move {
    let test_env = TestEnv::open(database).await;
    for number in ["+881 612 345 678", "+44 909 879 0000"] {
        let refused = test_env.request_code(number).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{number}");
    }
    test_env.close().await;
});

// Covers: R19 allowed
on_both!(setting_accepts_costly_numbers, |database| async move {
    let config = Config {
        accept_costly_numbers: true,
        ..Config::default()
    };
    let test_env = TestEnv::open_with(database, config).await;
    test_env.request_code("+881 612 345 678").await.unwrap();
    test_env.close().await;
});

// A caller who knows only the id of the flow cannot start the session of the person who verified the code.
// Covers: R19 allowed, R19 refused
on_both!(session_start_needs_the_proof, |database| async move {
    let test_env = TestEnv::open(database).await;
    let phone = "+79161234567";
    let flow = test_env.request_code(phone).await.unwrap().flow_id;
    let code = test_env.code(phone).await;
    let earlier = test_env.verify(&flow, &code).await.unwrap().proof;
    let proof = test_env.verify(&flow, &code).await.unwrap().proof;
    let request = pb::StartSessionRequest {
        request_id: test_env.act(),
        flow_id: flow,
        new_account: Some(pb::NewAccount {
            full_name: "Иван Орлов".to_owned(),
        }),
        ..Default::default()
    };
    let mut api = test_env.authentication();
    let without = api.start_session(request.clone()).await.unwrap_err();
    assert_eq!(without.code(), tonic::Code::InvalidArgument);
    let other = |proof: String| pb::StartSessionRequest {
        proof,
        ..request.clone()
    };
    for wrong in [earlier, "guessed".to_owned()] {
        assert_eq!(reason(&api.start_session(other(wrong)).await), "FLOW_UNKNOWN");
    }
    api.start_session(other(proof)).await.unwrap();
    // A repetition without the proof does not get the tokens either.
    let repeated = api.start_session(other("guessed".to_owned())).await;
    assert_eq!(reason(&repeated), "FLOW_UNKNOWN");
    test_env.close().await;
});
