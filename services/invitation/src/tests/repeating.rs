//! Repeated mutations are authorized before they return an outcome, and they show the current state.
use parta_proto_invitation::v1 as pb;
use parta_proto_membership::v1::{MemberChanged, MemberState, Role, membership_event::Payload as Membership};

use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::{fixture::Fixture, membership::Fault};

async fn class_teacher_leaves(fixture: &Fixture) {
    let changed = MemberChanged {
        member_id: fixture.school.class_teacher.to_string(),
        state: MemberState::Left.into(),
        ..Default::default()
    };
    fixture
        .test_env
        .apply_membership(fixture.school.org, Membership::MemberChanged(changed))
        .await;
}

// Covers: R13 refused, R14 refused
on_both!(
    repeated_creation_is_refused_when_the_right_has_ended,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let wanted = fixture.wanted(Role::Parent);
        let teacher = fixture.school.teacher;
        let school = fixture.school;
        school
            .let_class_staff_invite_parents(&fixture.test_env, true)
            .await;
        fixture.create(teacher, wanted.clone()).await.unwrap();
        school
            .let_class_staff_invite_parents(&fixture.test_env, false)
            .await;
        let again = fixture.create(teacher, wanted.clone()).await;
        assert_eq!(reason(&again), "PERMISSION_DENIED");
        // The caller does not learn whether the request_id was used.
        let other = pb::CreateInvitationRequest {
            max_uses: 3,
            ..wanted
        };
        let refused = fixture.create(teacher, other).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
    }
);

// Covers: R15 allowed, R15 refused
on_both!(repeated_revocation_is_authorized_again, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, _) = fixture.link(1).await;
    let request = pb::RevokeInvitationRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        invitation_id: id.clone(),
        etag: fixture.get(&id).await.etag,
    };
    let revoke = async |request: &pb::RevokeInvitationRequest| {
        let request = fixture.test_env.member_request(
            fixture.school.org,
            fixture.school.class_teacher,
            request.clone(),
        );
        fixture.client.clone().revoke_invitation(request).await
    };
    let first = revoke(&request).await.unwrap().into_inner();
    // The etag names the state before the act. A repetition succeeds nevertheless.
    let again = revoke(&request).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = pb::RevokeInvitationRequest {
        etag: String::new(),
        ..request.clone()
    };
    assert_eq!(reason(&revoke(&other).await), "REQUEST_ID_REUSED");
    // The organization does not exist for a member who has left.
    class_teacher_leaves(&fixture).await;
    assert_eq!(reason(&revoke(&request).await), "NOT_FOUND");
    assert_eq!(reason(&revoke(&other).await), "NOT_FOUND");
});

// Covers: R15 allowed
on_both!(
    repeated_bulk_revocation_shows_the_links_as_they_are_now,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (id, _) = fixture.link(1).await;
        let request = pb::BulkRevokeInvitationsRequest {
            request_id: fixture.test_env.request_id(),
            org_id: fixture.school.org.to_string(),
            condition: pb::RevocationCondition::Unused.into(),
            ..Default::default()
        };
        let bulk_revoke = async |member, request: &pb::BulkRevokeInvitationsRequest| {
            let request = fixture
                .test_env
                .member_request(fixture.school.org, member, request.clone());
            fixture.client.clone().bulk_revoke_invitations(request).await
        };
        let administrator = fixture.school.administrator;
        let first = bulk_revoke(administrator, &request).await.unwrap().into_inner();
        let shown: Vec<_> = first.invitations.iter().map(|i| (&i.id, i.state())).collect();
        assert_eq!(shown, [(&id, pb::InvitationState::Revoked)]);
        fixture.link(1).await;
        let again = bulk_revoke(administrator, &request).await.unwrap().into_inner();
        assert_eq!(again.invitations, first.invitations);
        let other = pb::BulkRevokeInvitationsRequest {
            dry_run: true,
            ..request
        };
        let refused = bulk_revoke(administrator, &other).await;
        assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
        let refused = bulk_revoke(fixture.school.class_teacher, &other).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
    }
);

// The act takes the last use, and with it the caller's right to accept. A repetition succeeds nevertheless.
// Covers: R16 allowed, R16 refused
on_both!(
    repeated_acceptance_succeeds_after_the_last_use,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (id, token) = fixture.link(1).await;
        let (flow, act) = (fixture.flow(), fixture.test_env.request_id());
        let first = fixture.accept_as(flow, &token, act.clone()).await.unwrap();
        assert_eq!(fixture.get(&id).await.state(), pb::InvitationState::UsedUp);
        let again = fixture.accept_as(flow, &token, act.clone()).await.unwrap();
        assert_eq!(again, first);
        // REQUEST_ID_REUSED is returned only for a link that the caller can use.
        let (_, usable) = fixture.link(1).await;
        let reused = fixture.accept_as(flow, &usable, act.clone()).await;
        assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
        let (_, used_up) = fixture.link(1).await;
        fixture.accept(fixture.flow(), &used_up).await.unwrap();
        for unusable in [&used_up, &"A".repeat(24)] {
            let refused = fixture.accept_as(flow, unusable, act.clone()).await;
            assert_eq!(reason(&refused), "INVITATION_NOT_USABLE");
        }
    }
);

// A released reservation is not a use of the link. The flow learns the outcome from its idempotency record.
// Covers: R16 refused
on_both!(
    repeated_acceptance_returns_the_refusal_of_a_revoked_link,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (id, token) = fixture.link(1).await;
        let (flow, act) = (fixture.flow(), fixture.test_env.request_id());
        fixture.membership.fail([Fault::Refused]);
        let refused = fixture.accept_as(flow, &token, act.clone()).await;
        assert_eq!(reason(&refused), "ADMISSION_REFUSED");
        let request = pb::RevokeInvitationRequest {
            request_id: fixture.test_env.request_id(),
            org_id: fixture.school.org.to_string(),
            invitation_id: id,
            etag: String::new(),
        };
        let request =
            fixture
                .test_env
                .member_request(fixture.school.org, fixture.school.administrator, request);
        fixture.client.clone().revoke_invitation(request).await.unwrap();
        let again = fixture.accept_as(flow, &token, act).await;
        assert_eq!(reason(&again), "ADMISSION_REFUSED");
        let fresh = fixture.accept(flow, &token).await;
        assert_eq!(reason(&fresh), "INVITATION_NOT_USABLE");
    }
);
