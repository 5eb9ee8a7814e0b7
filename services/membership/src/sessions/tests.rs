//! Sessions and the memberships of an account.
use parta_ids::{MemberId, TypedId as _};
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{
        self as pb, Role, authentication_service_client::AuthenticationServiceClient,
        member_service_client::MemberServiceClient,
    },
};
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::test_env::{MemberSession, Person, TestEnv, by, org, reason};

/// Adds the person of a caller to the second organization as staff.
async fn join_second(test_env: &TestEnv, caller: &MemberSession) -> MemberSession {
    let request = AdmitMemberRequest {
        request_id: test_env.act(),
        org_id: org(2).to_string(),
        invitation_id: test_env.env.id::<parta_ids::InvitationId>().to_string(),
        flow_id: test_env.flow(&caller.person, "second").await,
        role: Role::Staff.into(),
        ..Default::default()
    };
    test_env.admission().admit_member(request).await.unwrap();
    test_env
        .member_session(org(2), caller.person.clone())
        .await
        .unwrap()
}

/// Gives a member roles that this build does not know.
async fn give_unknown_roles(test_env: &TestEnv, member_id: &str) {
    let member = member_id.parse::<MemberId>().unwrap().uuid();
    test_env
        .change_row("member", "roles = 1073741824", "member_id", member)
        .await;
}

async fn memberships(test_env: &TestEnv, person: &Person) -> Result<Vec<String>, Status> {
    let request = pb::ListMembershipsRequest::default();
    let mut api = test_env.authentication();
    let response = api.list_memberships(by(&person.token, request)).await?;
    let list = response.into_inner().memberships;
    Ok(list.into_iter().map(|membership| membership.org_id).collect())
}

// Covers: R28 allowed, R29 allowed
on_both!(
    unreadable_membership_affects_one_organization_only,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        parta_testkit::logs().allow("a membership was left out of a list");
        let test_env = TestEnv::open(database).await;
        let first = test_env.administrator(1).await;
        let second = join_second(&test_env, &first).await;
        let person = first.person.clone();
        let both = [org(1).to_string(), org(2).to_string()];
        assert_eq!(memberships(&test_env, &person).await.unwrap(), both);
        give_unknown_roles(&test_env, &first.member_id).await;
        assert_eq!(memberships(&test_env, &person).await.unwrap(), both[1..]);
        let refused = test_env.member_session(org(1), person.clone()).await;
        assert_eq!(reason(&refused), "STORED_VALUE_UNKNOWN");
        let issued = test_env.member_session(org(2), person.clone()).await.unwrap();
        assert_eq!(issued.member_id, second.member_id);
        let end = pb::EndSessionRequest {
            request_id: test_env.act(),
            session_id: String::new(),
        };
        let ended = test_env
            .authentication()
            .end_session(by(&person.token, end))
            .await;
        assert_eq!(reason(&ended), "OK");
        let request = pb::ListMembersRequest {
            org_id: org(2).to_string(),
            ..Default::default()
        };
        let refused = test_env.members().list_members(by(&second.token, request)).await;
        assert_eq!(reason(&refused), "CREDENTIAL_REVOKED");
        test_env.close().await;
    }
);

// Covers: R19 allowed, R19 refused
on_both!(
    session_start_is_repeatable_until_the_session_is_refreshed,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let phone = "+79161234567";
        let flow_id = test_env.request_code(phone).await.unwrap().flow_id;
        let verified = test_env.verify(&flow_id, &test_env.code(phone).await).await;
        let request = pb::StartSessionRequest {
            request_id: test_env.act(),
            flow_id: flow_id.clone(),
            account_id: String::new(),
            new_account: Some(pb::NewAccount {
                full_name: "Иван Орлов".to_owned(),
            }),
            proof: verified.unwrap().proof,
        };
        let mut api = test_env.authentication();
        let first = api.start_session(request.clone()).await.unwrap().into_inner();
        let again = api.start_session(request.clone()).await.unwrap().into_inner();
        assert_eq!(
            (&again.session_id, &again.refresh_token),
            (&first.session_id, &first.refresh_token)
        );
        // With a different body, the flow is used up, and the caller does not learn that the request_id was
        // used.
        let other = pb::StartSessionRequest {
            account_id: first.account_id.clone(),
            new_account: None,
            ..request.clone()
        };
        assert_eq!(reason(&api.start_session(other).await), "FLOW_UNKNOWN");
        let refresh = pb::RefreshSessionRequest {
            request_id: test_env.act(),
            refresh_token: first.refresh_token,
        };
        api.refresh_session(refresh).await.unwrap();
        assert_eq!(reason(&api.start_session(request).await), "SESSION_ENDED");
        test_env.close().await;
    }
);

on_both!(sessions_end_after_a_restore, |database| async move {
    let test_env = TestEnv::open(database).await;
    let (first, second) = (test_env.administrator(1).await, test_env.administrator(2).await);
    for (ended, people) in [(2, [&first, &second].as_slice()), (0, [&first].as_slice())] {
        assert_eq!(crate::end_all_sessions(&test_env.db).await.unwrap(), ended);
        for caller in people {
            let refresh = pb::RefreshSessionRequest {
                request_id: test_env.act(),
                refresh_token: caller.person.refresh_token.clone(),
            };
            let refused = test_env.authentication().refresh_session(refresh).await;
            assert_eq!(reason(&refused), "SESSION_ENDED");
        }
    }
    test_env.close().await;
});

// Covers: R29 allowed, R29 refused
on_both!(
    end_of_own_session_is_repeatable_at_a_replica,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let caller = test_env.administrator(1).await;
        let token = &caller.person.token;
        let request = pb::EndSessionRequest {
            request_id: test_env.act(),
            session_id: String::new(),
        };
        let ended = test_env
            .authentication()
            .end_session(by(token, request.clone()))
            .await;
        ended.unwrap();
        // The process that ended the session rejects its tokens before the edge.
        let here = test_env
            .authentication()
            .end_session(by(token, request.clone()))
            .await;
        assert_eq!(reason(&here), "CREDENTIAL_REVOKED");
        // A replica without the revocation accepts the repetition and no other call.
        let channel = test_env.replica();
        let mut api = AuthenticationServiceClient::new(channel.clone());
        let other_request = pb::EndSessionRequest {
            request_id: test_env.act(),
            ..request.clone()
        };
        assert_eq!(
            reason(&api.end_session(by(token, other_request)).await),
            "CREDENTIAL_REVOKED"
        );
        let other = pb::EndSessionRequest {
            session_id: caller.person.session_id.clone(),
            ..request.clone()
        };
        assert_eq!(
            reason(&api.end_session(by(token, other)).await),
            "CREDENTIAL_REVOKED"
        );
        assert_eq!(reason(&api.end_session(by(token, request)).await), "OK");
        // The repetition revokes the organization tokens at the replica too.
        let request = pb::ListMembersRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let refused = MemberServiceClient::new(channel)
            .list_members(by(&caller.token, request))
            .await;
        assert_eq!(reason(&refused), "CREDENTIAL_REVOKED");
        test_env.close().await;
    }
);

// Covers: R3 allowed, R3 refused
on_both!(
    appointment_claim_is_repeatable_by_its_account_only,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let person = test_env.newcomer("+79160000001", "Анна Петрова").await;
        let request = pb::ClaimAppointmentRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
        };
        let mut api = test_env.appointments();
        let mut members = Vec::new();
        for _ in 0..2 {
            let response = api.claim_appointment(by(&person.token, request.clone())).await;
            members.push(response.unwrap().into_inner().member.unwrap());
        }
        assert_eq!(members[0], members[1]);
        // A new claim, another organization with the same request_id, and another account are refused.
        let other_request = pb::ClaimAppointmentRequest {
            request_id: test_env.act(),
            ..request.clone()
        };
        let other = pb::ClaimAppointmentRequest {
            org_id: org(2).to_string(),
            ..request.clone()
        };
        for refused in [other_request, other] {
            let response = api.claim_appointment(by(&person.token, refused)).await;
            assert_eq!(reason(&response), "NOT_FOUND");
        }
        let stranger = test_env.newcomer("+79161234567", "Пётр Ильин").await;
        let response = api.claim_appointment(by(&stranger.token, request)).await;
        assert_eq!(reason(&response), "NOT_FOUND");
        test_env.close().await;
    }
);
