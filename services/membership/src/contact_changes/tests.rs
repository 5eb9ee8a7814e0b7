//! The change of the address by which a person signs in (R19, F11).
use chrono::TimeDelta;
use parta_ids::InvitationId;
use parta_proto_membership::{
    internal::v1::{AdmitMemberRequest, AdmitMemberResponse},
    v1::{self as pb, Role},
};
use parta_service_testkit::{fields, while_waiting};
use parta_status::RpcError;
use parta_testkit::{TestDatabase, on_both, on_postgres};
use tonic::Status;

use crate::tests::{
    networks::{enter_wrong_codes, other_code},
    test_env::{Person, TestEnv, by, org, reason},
};

const PRESENT: &str = "+79161234567";
const NEW: &str = "+79167654321";

async fn request(env: &TestEnv, person: &Person, phone: &str) -> Result<String, Status> {
    let request = pb::RequestContactChangeRequest {
        request_id: env.act(),
        phone: phone.to_owned(),
        ..Default::default()
    };
    let requested = env
        .accounts()
        .request_contact_change(by(&person.token, request))
        .await?;
    Ok(requested.into_inner().flow_id)
}

async fn confirm(
    env: &TestEnv,
    person: &Person,
    flow: &str,
    [present, new]: [&str; 2],
) -> Result<(), Status> {
    let request = pb::ConfirmContactChangeRequest {
        flow_id: flow.to_owned(),
        present_code: present.to_owned(),
        new_code: new.to_owned(),
    };
    let mut api = env.accounts();
    let confirmed = api.confirm_contact_change(by(&person.token, request)).await;
    confirmed.map(|_| ())
}

/// Replaces the address of a person with both codes.
async fn change(env: &TestEnv, person: &Person, [from, to]: [&str; 2]) {
    let flow = request(env, person, to).await.unwrap();
    let codes = [&*env.code(from).await, &*env.code(to).await];
    confirm(env, person, &flow, codes).await.unwrap();
}

/// The accounts that an address offers, after a code to it.
async fn profiles(env: &TestEnv, phone: &str) -> Vec<String> {
    let flow = env.request_code(phone).await.unwrap().flow_id;
    let verified = env.verify(&flow, &env.code(phone).await).await.unwrap();
    let ids = verified.profiles.into_iter();
    ids.map(|profile| profile.account_id).collect()
}

/// The codes that a refusal calls wrong.
fn wrong_codes(refused: Result<(), Status>) -> String {
    let refused = RpcError::from_status(&refused.unwrap_err()).unwrap();
    assert_eq!(refused.reason(), "CODE_WRONG");
    refused.metadata("codes").unwrap().to_owned()
}

/// A call that only a living session may make.
async fn sessions(env: &TestEnv, person: &Person) -> Result<usize, Status> {
    let request = by(&person.token, pb::ListSessionsRequest::default());
    let listed = env.authentication().list_sessions(request).await?;
    Ok(listed.into_inner().sessions.len())
}

/// Signs a person in by the present address, after the earlier wrong codes no longer count for the
/// network.
async fn signed_in_later(env: &TestEnv, person: &Person) -> Person {
    env.time.advance(TimeDelta::minutes(150));
    let flow = env.request_code(PRESENT).await.unwrap().flow_id;
    env.verify(&flow, &env.code(PRESENT).await).await.unwrap();
    env.start(&flow, &person.account_id, "").await.unwrap()
}

/// The acceptance of a link by a person.
async fn admit(
    env: &TestEnv,
    person: &Person,
    change: impl FnOnce(&mut AdmitMemberRequest),
) -> Result<AdmitMemberResponse, Status> {
    let link = env.env.id::<InvitationId>().to_string();
    let mut request = AdmitMemberRequest {
        request_id: env.act(),
        org_id: org(1).to_string(),
        flow_id: env.flow(person, &link).await,
        invitation_id: link,
        role: Role::Staff.into(),
        ..Default::default()
    };
    change(&mut request);
    Ok(env.admission().admit_member(request).await?.into_inner())
}

// The person who gets the number next finds no account, and the other sessions of the owner end. The new
// address may belong to another account too, as in a family.
// Covers: R19 allowed, R19 refused, F11 allowed, F11 refused
on_both!(address_changes_after_a_code_to_each, |database| async move {
    let env = TestEnv::open(database).await;
    let husband = env.newcomer(NEW, "Иван Орлов").await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    let flow = env.request_code(PRESENT).await.unwrap().flow_id;
    env.verify(&flow, &env.code(PRESENT).await).await.unwrap();
    let tablet = env.start(&flow, &owner.account_id, "").await.unwrap();

    let flow = request(&env, &owner, NEW).await.unwrap();
    let present = env.code(PRESENT).await;
    let new = env.code(NEW).await;
    // Nothing has changed before the codes are entered.
    env.minute();
    assert_eq!(
        profiles(&env, PRESENT).await,
        std::slice::from_ref(&owner.account_id)
    );
    confirm(&env, &owner, &flow, [&present, &new]).await.unwrap();
    assert_eq!(profiles(&env, PRESENT).await, [] as [String; 0]);
    env.minute();
    let both = [husband.account_id.clone(), owner.account_id.clone()];
    assert_eq!(profiles(&env, NEW).await, both);
    assert_eq!(sessions(&env, &owner).await.unwrap(), 1);
    assert_eq!(reason(&sessions(&env, &tablet).await), "CREDENTIAL_REVOKED");
    let refresh = pb::RefreshSessionRequest {
        request_id: env.act(),
        refresh_token: tablet.refresh_token,
    };
    let refused = env.authentication().refresh_session(refresh).await;
    assert_eq!(reason(&refused), "SESSION_ENDED");
    assert_eq!(sessions(&env, &husband).await.unwrap(), 1);
    // A repetition has no effect.
    confirm(&env, &owner, &flow, [&present, &new]).await.unwrap();
    // The next holder of the number is another person.
    env.minute();
    let next = env.newcomer(PRESENT, "Чужой").await;
    assert_ne!(next.account_id, owner.account_id);
    // The owner returns to the number, which both have now.
    env.minute();
    change(&env, &owner, [NEW, PRESENT]).await;
    env.minute();
    assert_eq!(profiles(&env, PRESENT).await, [owner.account_id, next.account_id]);
    assert_eq!(profiles(&env, NEW).await, [husband.account_id]);
    env.close().await;
});

// Covers: R19 refused, F11 refused
on_both!(change_needs_the_codes_of_both_addresses, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    let stranger = env.newcomer("+79163333333", "Чужой").await;
    let flow = request(&env, &owner, NEW).await.unwrap();
    let (present, new) = (env.code(PRESENT).await, env.code(NEW).await);
    let wrong = [other_code(&present), other_code(&new)];
    let refused = confirm(&env, &owner, &flow, [wrong[0], &new]).await;
    assert_eq!(wrong_codes(refused), "present_code");
    let refused = confirm(&env, &owner, &flow, [&present, wrong[1]]).await;
    assert_eq!(wrong_codes(refused), "new_code");
    let refused = confirm(&env, &owner, &flow, wrong).await;
    assert_eq!(wrong_codes(refused), "present_code,new_code");
    // Another account knows both codes.
    let refused = confirm(&env, &stranger, &flow, [&present, &new]).await;
    assert_eq!(reason(&refused), "FLOW_UNKNOWN");
    // The codes of a change sign nobody in.
    assert_eq!(reason(&env.verify(&flow, &new).await), "FLOW_UNKNOWN");
    for _ in 0..2 {
        let refused = confirm(&env, &owner, &flow, wrong).await;
        assert_eq!(reason(&refused), "CODE_WRONG");
    }
    let refused = confirm(&env, &owner, &flow, [&present, &new]).await;
    assert_eq!(reason(&refused), "FLOW_UNKNOWN", "five attempts");

    // A later request replaces an earlier one, and codes expire.
    env.minute();
    let early = request(&env, &owner, NEW).await.unwrap();
    let codes = [env.code(PRESENT).await, env.code(NEW).await];
    env.minute();
    let late = request(&env, &owner, NEW).await.unwrap();
    let refused = confirm(&env, &owner, &early, [&codes[0], &codes[1]]).await;
    assert_eq!(reason(&refused), "FLOW_UNKNOWN");
    let codes = [env.code(PRESENT).await, env.code(NEW).await];
    env.time.advance(TimeDelta::minutes(5));
    let refused = confirm(&env, &owner, &late, [&codes[0], &codes[1]]).await;
    assert_eq!(reason(&refused), "FLOW_UNKNOWN");
    assert_eq!(profiles(&env, PRESENT).await, [owner.account_id]);
    assert_eq!(profiles(&env, NEW).await, [] as [String; 0]);
    env.close().await;
});

// Covers: R19 refused
on_both!(wrong_fields_of_a_change_are_named, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    for phone in ["8 916 123-45-67", "112", ""] {
        let refused = request(&env, &owner, phone).await.unwrap_err();
        assert_eq!(fields(&refused), ["phone"], "{phone}");
    }
    let mail = |email: &str| pb::RequestContactChangeRequest {
        request_id: env.act(),
        email: email.to_owned(),
        ..Default::default()
    };
    let mut api = env.accounts();
    let refused = api.request_contact_change(by(&owner.token, mail("anna"))).await;
    assert_eq!(fields(&refused.unwrap_err()), ["email"]);
    let refused = confirm(&env, &owner, "", ["", ""]).await.unwrap_err();
    assert_eq!(fields(&refused), ["flow_id", "new_code", "present_code"]);
    // A mail address replaces a phone, and is refused when it is the present address.
    let mail = mail("anna@example.org");
    let requested = api.request_contact_change(by(&owner.token, mail.clone())).await;
    let flow = requested.unwrap().into_inner().flow_id;
    let again = api.request_contact_change(by(&owner.token, mail.clone())).await;
    assert_eq!(again.unwrap().into_inner().flow_id, flow);
    let codes = [env.code(PRESENT).await, env.code("anna@example.org").await];
    confirm(&env, &owner, &flow, [&codes[0], &codes[1]])
        .await
        .unwrap();
    let same = pb::RequestContactChangeRequest {
        request_id: env.act(),
        ..mail
    };
    let refused = api.request_contact_change(by(&owner.token, same)).await;
    assert_eq!(fields(&refused.unwrap_err()), ["email"]);
    env.close().await;
});

// Both addresses count by the one limiter of sign-in. A change whose codes were limited leaves nothing.
// Covers: R19 refused
on_both!(codes_of_a_change_count_by_the_limits, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    request(&env, &owner, NEW).await.unwrap();
    // The new address waits for a minute, and so does the present one.
    let refused = request(&env, &owner, "+79163333333").await;
    assert_eq!(reason(&refused), "RATE_LIMITED");
    assert_eq!(reason(&env.request_code(PRESENT).await), "RATE_LIMITED");
    assert_eq!(reason(&env.request_code(NEW).await), "RATE_LIMITED");
    env.request_code("+79163333333").await.unwrap();
    // A wrong code counts for its address. A hundred in a row lock it.
    for _ in 0..20 {
        let owner = signed_in_later(&env, &owner).await;
        let flow = request(&env, &owner, NEW).await.unwrap();
        let (present, new) = (env.code(PRESENT).await, env.code(NEW).await);
        for _ in 0..5 {
            let refused = confirm(&env, &owner, &flow, [&present, other_code(&new)]).await;
            assert_eq!(wrong_codes(refused), "new_code");
        }
    }
    let owner = signed_in_later(&env, &owner).await;
    let refused = request(&env, &owner, NEW).await;
    assert_eq!(reason(&refused), "SIGN_IN_LOCKED");
    request(&env, &owner, "+79163333333").await.unwrap();
    env.close().await;
});

// Wrong codes of a sign-in from the network of the caller count for the same address, and the right codes
// of a change wait with them. An attempt that a limit refuses is not counted.
// Covers: R19 refused
on_both!(limit_of_wrong_codes_holds_for_a_change, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    let flow = request(&env, &owner, NEW).await.unwrap();
    let codes = [&*env.code(PRESENT).await, &*env.code(NEW).await];
    for _ in 0..4 {
        let refused = confirm(&env, &owner, &flow, [codes[0], other_code(codes[1])]).await;
        assert_eq!(wrong_codes(refused), "new_code");
    }
    for wrong_attempts in [5, 1] {
        env.minute();
        // All callers that name no network are of one, as the owner is.
        let sign_in = env.request_code(NEW).await.unwrap().flow_id;
        let wrong = other_code(&env.code(NEW).await);
        for _ in 0..wrong_attempts {
            assert_eq!(reason(&env.verify(&sign_in, wrong).await), "CODE_WRONG");
        }
    }
    for _ in 0..6 {
        let refused = confirm(&env, &owner, &flow, codes).await.unwrap_err();
        let refused = RpcError::from_status(&refused).unwrap();
        assert_eq!(refused.reason(), "RATE_LIMITED");
        assert_eq!(refused.metadata("limit"), Some("wrong_codes_to_address"));
    }
    env.minute();
    assert_eq!(profiles(&env, PRESENT).await, [owner.account_id]);
    env.close().await;
});

// A hundred wrong codes in a row from other networks lock the new address, also for a change that has begun.
// Covers: R19 refused
on_both!(lock_of_an_address_holds_for_a_change, |database| async move {
    let env = TestEnv::open(database).await;
    for n in 0..9 {
        enter_wrong_codes(&env, &format!("198.51.{n}.7"), NEW, 10).await;
    }
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    env.minute();
    let flow = request(&env, &owner, NEW).await.unwrap();
    let codes = [&*env.code(PRESENT).await, &*env.code(NEW).await];
    enter_wrong_codes(&env, "198.51.100.7", NEW, 10).await;
    for _ in 0..6 {
        let refused = confirm(&env, &owner, &flow, codes).await;
        assert_eq!(reason(&refused), "SIGN_IN_LOCKED");
    }
    env.minute();
    assert_eq!(profiles(&env, PRESENT).await, [owner.account_id]);
    env.close().await;
});

// A code that proved the earlier address before the change starts no session after it.
// Covers: R19 refused, F11 refused
on_both!(sign_in_by_the_earlier_address_ends, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    let flow = env.request_code(PRESENT).await.unwrap().flow_id;
    env.verify(&flow, &env.code(PRESENT).await).await.unwrap();
    change(&env, &owner, [PRESENT, NEW]).await;
    let refused = env.start(&flow, &owner.account_id, "").await;
    assert_eq!(reason(&refused.map(|_| ())), "NOT_FOUND");
    env.close().await;
});

// A link or an appointment for the earlier address is for its holder. A person whom a decision removed
// does not come back without a request by a change of the address and a new account at the earlier one.
// Covers: F8 refused, F9 refused, F11 refused
on_both!(earlier_address_admits_nobody, |database| async move {
    let env = TestEnv::open(database).await;
    let administrator = env.administrator(1).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    admit(&env, &owner, |_| ()).await.unwrap();
    let member = env.member_session(org(1), owner.clone()).await.unwrap();
    env.remove(&administrator, &member.member_id, "Проверка")
        .await
        .unwrap();
    change(&env, &owner, [PRESENT, NEW]).await;
    let other = env.newcomer("+79163333333", "Олег Волков").await;
    change(&env, &other, ["+79163333333", "+79164444444"]).await;
    let made_for = |phone: &'static str| {
        move |request: &mut AdmitMemberRequest| request.recipient_address = phone.to_owned()
    };
    let refused = admit(&env, &other, made_for("+79163333333")).await;
    assert_eq!(reason(&refused), "RECIPIENT_MISMATCH");
    let admitted = admit(&env, &other, made_for("+79164444444")).await;
    assert_ne!(admitted.unwrap().member_id, "");
    env.minute();
    let profile = env.newcomer(PRESENT, "Анна Новикова").await;
    let requested = admit(&env, &profile, |_| ()).await.unwrap();
    assert_eq!(
        (requested.member_id.as_str(), requested.join_request_id.is_empty()),
        ("", false)
    );
    env.close().await;
});

// An appointment names the phone of the application, so that a person who had it and has another one now does
// not claim it.
// Covers: R3 refused, F11 refused
on_both!(earlier_phone_claims_no_appointment, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer("+79160000001", "Анна Петрова").await;
    change(&env, &owner, ["+79160000001", NEW]).await;
    assert_eq!(reason(&env.claim(&owner, org(1)).await), "NOT_FOUND");
    change(&env, &owner, [NEW, "+79160000001"]).await;
    env.claim(&owner, org(1)).await.unwrap();
    env.close().await;
});

// Two changes and two confirmations of one person at once: one address is left, and it is the one that was
// confirmed.
// Covers: R19 refused
on_both!(changes_at_once_leave_one_address, |database| async move {
    let env = TestEnv::open(database).await;
    let owner = env.newcomer(PRESENT, "Анна Орлова").await;
    let third = "+79163333333";
    let (one, two) = tokio::join!(request(&env, &owner, NEW), request(&env, &owner, third));
    // The present address waits for a minute between two codes, so that one of them is refused.
    let (flow, to) = match (one, two) {
        (Ok(flow), Err(refused)) => (flow, (NEW, refused)),
        (Err(refused), Ok(flow)) => (flow, (third, refused)),
        other => panic!("{other:?}"),
    };
    let (to, refused) = to;
    assert_eq!(reason(&Err::<(), _>(refused)), "RATE_LIMITED");
    let (present, new) = (env.code(PRESENT).await, env.code(to).await);
    let codes = [&*present, &*new];
    let (one, two) = tokio::join!(
        confirm(&env, &owner, &flow, codes),
        confirm(&env, &owner, &flow, codes)
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(profiles(&env, PRESENT).await, [] as [String; 0]);
    assert_eq!(profiles(&env, to).await, std::slice::from_ref(&owner.account_id));
    assert_eq!(sessions(&env, &owner).await.unwrap(), 1);
    env.close().await;
});

// A person who signs in by the earlier address while the change commits gets no session: the session would
// outlive the end of all others.
// Covers: R19 refused, F11 refused
on_postgres!(
    session_begins_by_no_address_that_just_ended,
    "SQLite has one writer, so that no act waits between its check and its write",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let env = TestEnv::open(database).await;
        let owner = env.newcomer(PRESENT, "Анна Орлова").await;
        let flow = env.request_code(PRESENT).await.unwrap().flow_id;
        env.verify(&flow, &env.code(PRESENT).await).await.unwrap();
        let requested = request(&env, &owner, NEW).await.unwrap();
        let codes = [env.code(PRESENT).await, env.code(NEW).await];
        // StartSession has checked the address and waits for its flow.
        let locks = [format!(
            "SELECT 1 FROM sign_in_flow WHERE flow_id = '{}' FOR UPDATE",
            flow.parse::<parta_ids::FlowId>()
                .map(parta_ids::TypedId::uuid)
                .unwrap()
        )];
        let start = env.start(&flow, &owner.account_id, "");
        let change = confirm(&env, &owner, &requested, [&codes[0], &codes[1]]);
        let (started, changed) = while_waiting(&url, &locks, start, change).await;
        changed.unwrap();
        assert_eq!(reason(&started.map(|_| ())), "NOT_FOUND");
        assert_eq!(sessions(&env, &owner).await.unwrap(), 1);
        env.close().await;
    }
);

// A decision against a person counts at each address that the person has used, before and after the decision.
// Covers: F9 refused, F11 refused
on_both!(removal_counts_at_earlier_addresses, |database| async move {
    let env = TestEnv::open(database).await;
    let administrator = env.administrator(1).await;
    let member = env.join(PRESENT, "Анна Орлова", Role::Staff, |_| ()).await;
    env.remove(&administrator, &member.member_id, "Приказ № 7")
        .await
        .unwrap();
    env.minute();
    change(&env, &member.person, [PRESENT, NEW]).await;
    env.minute();
    let earlier = env.newcomer(PRESENT, "Мария Орлова").await;
    let present = env.newcomer(NEW, "Ольга Орлова").await;
    let other = env.newcomer("+79165555555", "Анна Орлова").await;
    for (person, admitted) in [
        (&member.person, false),
        (&earlier, false),
        (&present, false),
        (&other, true),
    ] {
        let response = admit(&env, person, |_| ()).await.unwrap();
        assert_eq!(!response.member_id.is_empty(), admitted, "{response:?}");
    }
    env.close().await;
});
