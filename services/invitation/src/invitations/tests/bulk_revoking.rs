//! Revoking links, one or by filter (R15).
use chrono::TimeDelta;
use parta_ids::MemberId;
use parta_proto_invitation::v1 as pb;
use parta_proto_membership::v1::Role;
use parta_service_testkit::reason;
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::fixture::Fixture;

async fn bulk_revoke(
    fixture: &Fixture,
    member: MemberId,
    condition: pb::RevocationCondition,
    change: impl FnOnce(&mut pb::BulkRevokeInvitationsRequest),
) -> Result<Vec<String>, Status> {
    let mut request = pb::BulkRevokeInvitationsRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        condition: condition.into(),
        ..Default::default()
    };
    change(&mut request);
    let request = fixture
        .test_env
        .member_request(fixture.school.org, member, request);
    let report = fixture
        .client
        .clone()
        .bulk_revoke_invitations(request)
        .await?
        .into_inner();
    Ok(report.invitations.into_iter().map(|i| i.id).collect())
}

// Covers: R15 allowed, R15 refused
on_both!(
    unused_links_are_revoked_by_filter_and_reported,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let admin = fixture.school.administrator;
        let (used, token) = fixture.link(2).await;
        fixture.accept(fixture.flow(), &token).await.unwrap();
        let (old, old_token) = fixture.link(1).await;
        fixture.test_env.time.advance(TimeDelta::days(3));
        let (young, _) = fixture.link(1).await;
        let parents = fixture
            .create(fixture.school.class_teacher, fixture.wanted(Role::Parent))
            .await
            .unwrap();
        let parents = parents.invitation.unwrap().id;

        let unused = pb::RevocationCondition::Unused;
        let denied = bulk_revoke(&fixture, fixture.school.class_teacher, unused, |_| {}).await;
        assert_eq!(reason(&denied), "PERMISSION_DENIED");
        let all = bulk_revoke(&fixture, admin, unused, |r| r.dry_run = true)
            .await
            .unwrap();
        assert_eq!(all, [old.clone(), young.clone(), parents.clone()]);
        assert_eq!(fixture.get(&old).await.state(), pb::InvitationState::Active);
        assert!(fixture.membership.ended().is_empty(), "nothing was revoked");
        let of_parents = bulk_revoke(&fixture, admin, unused, |r| r.role = Role::Parent.into())
            .await
            .unwrap();
        // The response waits until membership has ended the requests by the links.
        assert_eq!(fixture.membership.ended(), std::slice::from_ref(&of_parents));
        assert_eq!(of_parents, [parents]);
        let days = prost_types::Duration {
            seconds: 2 * 86_400,
            nanos: 0,
        };
        let aged = bulk_revoke(&fixture, admin, unused, |r| r.older_than = Some(days))
            .await
            .unwrap();
        assert_eq!(aged, std::slice::from_ref(&old));
        assert_eq!(fixture.get(&old).await.state(), pb::InvitationState::Revoked);
        assert_eq!(fixture.get(&young).await.state(), pb::InvitationState::Active);
        assert_eq!(fixture.get(&used).await.state(), pb::InvitationState::Active);
        assert_eq!(
            reason(&fixture.accept(fixture.flow(), &old_token).await),
            "INVITATION_NOT_USABLE"
        );
        let none = bulk_revoke(&fixture, admin, unused, |r| {
            r.unit_id = fixture.school.other_class.to_string();
        })
        .await
        .unwrap();
        assert!(none.is_empty());
    }
);

// A link is idle if its last use is older than the period of the policy.
// Covers: R15 allowed
on_both!(idle_time_starts_at_the_last_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let month = prost_types::Duration {
        seconds: 30 * 86_400,
        nanos: 0,
    };
    let made = async || {
        let wanted = pb::CreateInvitationRequest {
            max_uses: 4,
            ttl: Some(month),
            ..fixture.wanted(Role::Parent)
        };
        let made = fixture
            .create(fixture.school.class_teacher, wanted)
            .await
            .unwrap();
        (made.invitation.unwrap().id, made.link.unwrap().link_token)
    };
    let (idle, _) = made().await;
    let (busy, token) = made().await;
    fixture.test_env.time.advance(TimeDelta::days(10));
    fixture.accept(fixture.flow(), &token).await.unwrap();
    let (administrator, condition) = (fixture.school.administrator, pb::RevocationCondition::Idle);
    for (days, expected) in [(5, idle), (10, busy)] {
        fixture.test_env.time.advance(TimeDelta::days(days));
        let revoked = bulk_revoke(&fixture, administrator, condition, |_| {}).await;
        assert_eq!(revoked.unwrap(), [expected]);
    }
});

// The issuer and the administration can revoke a link. Members who joined with it remain members.
// Covers: R15 allowed, R15 refused
on_both!(
    link_is_revoked_by_its_issuer_and_the_administration,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (id, token) = fixture.link(2).await;
        let flow = fixture.flow();
        let accepted = fixture.accept(flow, &token).await.unwrap();
        let revoke = async |member, etag: &str| {
            let request = pb::RevokeInvitationRequest {
                request_id: fixture.test_env.request_id(),
                org_id: fixture.school.org.to_string(),
                invitation_id: id.clone(),
                etag: etag.to_owned(),
            };
            fixture
                .client
                .clone()
                .revoke_invitation(
                    fixture
                        .test_env
                        .member_request(fixture.school.org, member, request),
                )
                .await
        };
        assert_eq!(
            reason(&revoke(fixture.school.teacher, "").await),
            "PERMISSION_DENIED"
        );
        assert_eq!(
            reason(&revoke(fixture.school.class_teacher, "AAAAAAAAAAE").await),
            "ETAG_MISMATCH"
        );
        let seen = fixture.get(&id).await;
        let revoked = revoke(fixture.school.class_teacher, &seen.etag)
            .await
            .unwrap()
            .into_inner()
            .invitation
            .unwrap();
        assert_eq!(revoked.state(), pb::InvitationState::Revoked);
        let again = revoke(fixture.school.administrator, "")
            .await
            .unwrap()
            .into_inner()
            .invitation
            .unwrap();
        assert_eq!(again.revoke_time, revoked.revoke_time);
        assert_eq!(
            reason(&fixture.accept(fixture.flow(), &token).await),
            "INVITATION_NOT_USABLE"
        );
        // The token of a repetition covers the revocation; the rest of the response is unchanged.
        let again = fixture.accept(flow, &token).await.unwrap();
        assert_ne!(again.consistency_token, accepted.consistency_token);
        let expected = pb::AcceptInvitationResponse {
            consistency_token: again.consistency_token.clone(),
            ..accepted
        };
        assert_eq!(again, expected);
    }
);

// Covers: R81 allowed
on_both!(links_of_a_restored_database_are_revoked, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (open, token) = fixture.link(1).await;
    let (used, used_token) = fixture.link(1).await;
    fixture.accept(fixture.flow(), &used_token).await.unwrap();
    for revoked in [1, 0] {
        let found = crate::revoke_open_links(&fixture.test_env.db).await.unwrap();
        assert_eq!(found, revoked);
    }
    assert_eq!(fixture.get(&open).await.state(), pb::InvitationState::Revoked);
    assert_eq!(fixture.get(&used).await.state(), pb::InvitationState::UsedUp);
    let refused = fixture.accept(fixture.flow(), &token).await;
    assert_eq!(reason(&refused), "INVITATION_NOT_USABLE");
});
