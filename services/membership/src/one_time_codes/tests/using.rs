//! The use of a code, the session that it starts, and their ends.
use chrono::TimeDelta;
use parta_proto_membership::v1 as pb;
use tonic::Status;

use super::*;
use crate::tests::test_env::{Person, TestEnv};

/// Replaces the address of the pupil.
async fn replace_address(env: &TestEnv, person: &Person) {
    const NEW: &str = "+79167654321";
    let request = pb::RequestContactChangeRequest {
        request_id: env.act(),
        phone: NEW.to_owned(),
        ..Default::default()
    };
    let requested = env
        .accounts()
        .request_contact_change(by(&person.token, request))
        .await;
    let request = pb::ConfirmContactChangeRequest {
        flow_id: requested.unwrap().into_inner().flow_id,
        present_code: env.code(PUPIL).await,
        new_code: env.code(NEW).await,
    };
    let mut api = env.accounts();
    api.confirm_contact_change(by(&person.token, request))
        .await
        .unwrap();
}

// A code is judged when it is used: the issuer has lost the right, the member has got a role that needs
// others to issue, the member has left or has replaced the address, the code was replaced, revoked or has
// expired.
// Covers: R19 refused, F2 refused, F11 refused
on_both!(code_is_judged_when_it_is_used, |database| async move {
    let school = School::open(database).await;
    let (administrator, leader) = (&school.administrator, &school.leader);
    let first = school.code(leader, &school.pupil).await;
    let second = school.code(leader, &school.pupil).await;
    assert_eq!(school.not_redeemed(&first).await, "CODE_WRONG");
    school.revoke(&school.mother, &school.pupil).await.unwrap();
    assert_eq!(school.not_redeemed(&second).await, "CODE_WRONG");

    let of_parent = school.code(leader, &school.mother).await;
    school
        .set_roles(&school.mother.member_id, &[Role::Parent, Role::Staff])
        .await;
    assert_eq!(school.not_redeemed(&of_parent).await, "CODE_WRONG");

    let of_father = school.code(administrator, &school.father).await;
    school
        .env
        .remove(administrator, &school.father.member_id, "")
        .await
        .unwrap();
    assert_eq!(school.not_redeemed(&of_father).await, "CODE_WRONG");

    let of_pupil = school.code(leader, &school.pupil).await;
    school.set_roles(&leader.member_id, &[Role::Staff]).await;
    assert_eq!(school.not_redeemed(&of_pupil).await, "CODE_WRONG");
    // The sessions of the member have not ended by an attempt.
    assert_eq!(school.ended(&school.pupil.person).await, "OK");

    let of_pupil = school.code(administrator, &school.pupil).await;
    replace_address(&school.env, &school.pupil.person).await;
    assert_eq!(school.not_redeemed(&of_pupil).await, "CODE_WRONG");

    let code = school.code(administrator, &school.pupil).await;
    school.env.time.advance(TimeDelta::hours(24));
    assert_eq!(school.not_redeemed(&code).await, "CODE_WRONG");
    school.env.close().await;
});

// A lost response is repeated with the same `request_id` for a minute, until the session is refreshed. Nobody
// else uses the code.
// Covers: R19 allowed, R19 refused, F11 refused
on_both!(code_is_used_once, |database| async move {
    let school = School::open(database).await;
    let wanted = school.wanted(&school.pupil.member_id);
    let issued = school
        .issue_as(by(&school.leader.token, wanted.clone()))
        .await
        .unwrap();
    let repeated = school
        .issue_as(by(&school.leader.token, wanted.clone()))
        .await
        .unwrap();
    assert_eq!(repeated.code, issued.code);
    let act = school.env.act();
    let one = school.redeem_as(&act, &issued.code).await.unwrap();
    let two = school.redeem_as(&act, &issued.code).await.unwrap();
    assert_eq!(
        (&one.session_id, &one.refresh_token),
        (&two.session_id, &two.refresh_token)
    );
    assert_eq!(one.org_id, org(1).to_string());
    assert_eq!(school.not_redeemed(&issued.code).await, "CODE_WRONG");
    let repeated = school.issue_as(by(&school.leader.token, wanted)).await.unwrap();
    assert_eq!(repeated.code, "");
    let refresh = pb::RefreshSessionRequest {
        request_id: school.env.act(),
        refresh_token: one.refresh_token.clone(),
    };
    school
        .env
        .authentication()
        .refresh_session(refresh)
        .await
        .unwrap();
    assert_eq!(reason(&school.redeem_as(&act, &issued.code).await), "CODE_WRONG");

    let code = school.code(&school.administrator, &school.pupil).await;
    let act = school.env.act();
    school.redeem_as(&act, &code).await.unwrap();
    school.env.minute();
    assert_eq!(reason(&school.redeem_as(&act, &code).await), "CODE_WRONG");
    school.env.close().await;
});

// Wrong codes of the school count with those that are sent, by the network.
// Covers: R19 refused, F11 refused
on_both!(wrong_codes_are_limited_by_the_network, |database| async move {
    let school = School::open(database).await;
    let code = school.code(&school.leader, &school.pupil).await;
    for _ in 0..100 {
        assert_eq!(school.not_redeemed("7K3M-Q2XN-0V8D-R4TA").await, "CODE_WRONG");
    }
    assert_eq!(school.not_redeemed(&code).await, "RATE_LIMITED");
    school.env.time.advance(TimeDelta::minutes(2));
    school.redeem(&code).await.unwrap();
    school.env.close().await;
});

/// The reasons for which a session does nothing for the account, by RPC.
async fn refusals(env: &TestEnv, person: &Person) -> Vec<String> {
    let token = person.token.as_str();
    let request_id = || env.act();
    let change = pb::RequestContactChangeRequest {
        request_id: request_id(),
        phone: "+79167654321".to_owned(),
        ..Default::default()
    };
    let confirm = pb::ConfirmContactChangeRequest {
        flow_id: env.env.id::<parta_ids::FlowId>().to_string(),
        present_code: "000000".to_owned(),
        new_code: "000000".to_owned(),
    };
    let claim = pb::ClaimAppointmentRequest {
        request_id: request_id(),
        org_id: org(2).to_string(),
    };
    let ticket = pb::CreateJoinTicketRequest {
        request_id: request_id(),
        invitation_token: "link".to_owned(),
    };
    let withdraw = pb::WithdrawJoinRequestRequest {
        request_id: request_id(),
        join_request_id: env.env.id::<parta_ids::JoinRequestId>().to_string(),
    };
    let list = pb::ListAppointmentsRequest::default();
    let appointments = env.appointments().list_appointments(by(token, list)).await;
    let list = pb::ListOwnJoinRequestsRequest::default();
    let own = env.join_requests().list_own_join_requests(by(token, list)).await;
    vec![
        reason(&env.accounts().request_contact_change(by(token, change)).await),
        reason(&env.accounts().confirm_contact_change(by(token, confirm)).await),
        reason(&env.appointments().claim_appointment(by(token, claim)).await),
        reason(&env.authentication().create_join_ticket(by(token, ticket)).await),
        reason(
            &env.join_requests()
                .withdraw_join_request(by(token, withdraw))
                .await,
        ),
        reason(&appointments),
        reason(&own),
    ]
}

// A session that a code started acts for the organization that issued it, also after the confirmation, and
// changes nothing of the account. The person is a member of another organization too.
// Covers: R28 refused, F11 refused
on_both!(code_session_acts_for_one_organization, |database| async move {
    let school = School::open(database).await;
    let env = &school.env;
    let flow_id = env.flow(&school.pupil.person, "other school").await;
    let admit = parta_proto_membership::internal::v1::AdmitMemberRequest {
        request_id: env.act(),
        org_id: org(2).to_string(),
        invitation_id: env.env.id::<parta_ids::InvitationId>().to_string(),
        flow_id,
        role: Role::Pupil.into(),
        unit_id: crate::tests::test_env::unit(1).to_string(),
        issuer_id: env.env.id::<MemberId>().to_string(),
        ..Default::default()
    };
    env.admission().admit_member(admit).await.unwrap();
    env.member_session(org(2), school.pupil.person.clone())
        .await
        .unwrap();
    let code = school.code(&school.leader, &school.pupil).await;
    let person = school.redeem(&code).await.unwrap();
    let later = env.request_code(PUPIL).await.unwrap().flow_id;
    env.verify(&later, &env.code(PUPIL).await).await.unwrap();
    let own = env.start(&later, &person.account_id, "").await.unwrap();

    let used = school.state(&school.mother, &school.pupil).await.unwrap();
    for confirmed in [false, true] {
        if confirmed {
            school.confirm(&school.mother, &used).await.unwrap();
        }
        env.member_session(org(1), person.clone()).await.unwrap();
        let elsewhere: Result<_, Status> = env.member_session(org(2), person.clone()).await;
        assert_eq!(reason(&elsewhere), "NOT_FOUND");
        for refused in refusals(env, &person).await {
            assert_eq!(refused, "CODE_NOT_ALLOWED");
        }
        let request = pb::ListMembershipsRequest::default();
        let listed = env
            .authentication()
            .list_memberships(by(&person.token, request))
            .await;
        let listed = listed.unwrap().into_inner().memberships;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].org_id, org(1).to_string());
        let request = pb::ListSessionsRequest::default();
        let listed = env
            .authentication()
            .list_sessions(by(&person.token, request))
            .await;
        let listed = listed.unwrap().into_inner().sessions;
        assert_eq!(listed.len(), 1);
        assert!(listed[0].current);
        let end = pb::EndSessionRequest {
            request_id: env.act(),
            session_id: own.session_id.clone(),
        };
        let refused = env.authentication().end_session(by(&person.token, end)).await;
        assert_eq!(reason(&refused), "NOT_FOUND");
    }
    // A session of the address is as before, and ends the other one.
    env.member_session(org(2), own.clone()).await.unwrap();
    let end = pb::EndSessionRequest {
        request_id: env.act(),
        session_id: person.session_id.clone(),
    };
    env.authentication()
        .end_session(by(&own.token, end))
        .await
        .unwrap();
    assert_eq!(school.ended(&person).await, "CREDENTIAL_REVOKED");
    school.env.close().await;
});

// The session ends when the member, a guardian, the school or the operator revokes the code, and an
// unconfirmed one when another code is issued, because nobody could revoke it any more.
// Covers: R19 refused, F5 allowed, F11 allowed
on_both!(code_session_ends_with_the_code, |database| async move {
    let school = School::open(database).await;
    let start = async || {
        let code = school.code(&school.leader, &school.pupil).await;
        school.redeem(&code).await.unwrap()
    };
    for caller in [&school.mother, &school.leader, &school.second] {
        let person = start().await;
        let refused = school.revoke(&school.father, &school.pupil).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let request = school.revocation(&school.pupil);
        let mut api = school.env.one_time_codes();
        for _ in 0..2 {
            let request = by(&caller.token, request.clone());
            api.revoke_one_time_code(request).await.unwrap();
        }
        assert_eq!(school.ended(&person).await, "CREDENTIAL_REVOKED");
        assert_eq!(reason(&school.state(caller, &school.pupil).await), "NOT_FOUND");
    }
    let person = start().await;
    let request = school.env.by_operator(school.revocation(&school.pupil));
    school
        .env
        .one_time_codes()
        .revoke_one_time_code(request)
        .await
        .unwrap();
    assert_eq!(school.ended(&person).await, "CREDENTIAL_REVOKED");

    let person = start().await;
    let session = school.env.member_session(org(1), person.clone()).await.unwrap();
    school.revoke(&session, &school.pupil).await.unwrap();
    assert_eq!(school.ended(&person).await, "CREDENTIAL_REVOKED");

    let person = start().await;
    school.code(&school.leader, &school.pupil).await;
    assert_eq!(school.ended(&person).await, "CREDENTIAL_REVOKED");
    school.env.close().await;
});

// A person who gave a code to a parent and signed in with it does not confirm the use of a code of the child
// in that session, and issues none as an administrator.
// Covers: F6 refused, F11 refused
on_both!(unconfirmed_session_decides_about_no_code, |database| async move {
    let school = School::open(database).await;
    let of_mother = school.code(&school.leader, &school.mother).await;
    let as_mother = school.redeem(&of_mother).await.unwrap();
    let as_mother = school.env.member_session(org(1), as_mother).await.unwrap();
    let of_pupil = school.code(&school.leader, &school.pupil).await;
    school.redeem(&of_pupil).await.unwrap();
    let used = school.state(&school.leader, &school.pupil).await.unwrap();
    let refused = reason(&school.confirm(&as_mother, &used).await);
    assert_eq!(refused, "SECOND_PERSON_REQUIRED");

    let wanted = school.wanted(&school.second.member_id);
    let issued = school.issue_as(school.env.by_operator(wanted)).await.unwrap();
    let second = school.redeem(&issued.code).await.unwrap();
    let second = school.env.member_session(org(1), second).await.unwrap();
    let refused = school.refused(&second, &school.pupil.member_id).await;
    assert_eq!(refused, "SECOND_PERSON_REQUIRED");

    // After the confirmation the mother's session decides.
    let of_mother = school.state(&school.administrator, &school.mother).await.unwrap();
    school.confirm(&school.administrator, &of_mother).await.unwrap();
    let as_mother = school.env.member_session(org(1), as_mother.person).await.unwrap();
    let confirmed = school.confirm(&as_mother, &used).await.unwrap();
    assert_eq!(confirmed, OneTimeCodeState::Confirmed);
    school.env.close().await;
});

// Old codes are deleted after 31 days, and all codes of a database that was restored.
// Covers: F11 refused
on_both!(codes_are_deleted, |database| async move {
    let school = School::open(database).await;
    let code = school.code(&school.leader, &school.pupil).await;
    assert_eq!(crate::delete_one_time_codes(&school.env.db).await.unwrap(), 1);
    assert_eq!(school.not_redeemed(&code).await, "CODE_WRONG");
    school.code(&school.leader, &school.pupil).await;
    school.env.time.advance(TimeDelta::days(30));
    school.env.purge().await;
    let administrator = school.env.again(&school.administrator, ADMINISTRATOR).await;
    school.state(&administrator, &school.pupil).await.unwrap();
    school.env.time.advance(TimeDelta::days(2));
    school.env.purge().await;
    assert_eq!(crate::delete_one_time_codes(&school.env.db).await.unwrap(), 0);
    school.env.close().await;
});
