//! The grounds of a link are judged whenever it is resolved, accepted and shown (F8).
use parta_ids::{MemberId, UnitId};
use parta_proto_invitation::v1::{self as pb, InvitationState, InvitationStop};
use parta_proto_membership::v1::{MemberChanged, MemberState, Role, membership_event::Payload};
use parta_service_testkit::{fields, reason};
use parta_testkit::on_both;
use prost_types::Duration;
use tonic::Status;

use super::fixture::Fixture;

const DAY: i64 = 86_400;

impl Fixture {
    async fn change(&self, member: MemberId, state: MemberState, roles: &[Role]) {
        self.change_after_removal(member, state, roles, false).await;
    }

    /// Changes a member who was, or was not, removed for a cause.
    async fn change_after_removal(
        &self,
        member: MemberId,
        state: MemberState,
        roles: &[Role],
        removed_for_cause: bool,
    ) {
        let changed = MemberChanged {
            member_id: member.to_string(),
            state: state.into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            teacher_verified: roles.contains(&Role::Teacher),
            removed_for_cause,
            ..Default::default()
        };
        self.test_env
            .apply_membership(self.school.org, Payload::MemberChanged(changed))
            .await;
    }

    /// The link does not work, and its holder does not learn why.
    async fn is_stopped(&self, token: &str, id: &str, why: InvitationStop) {
        assert_eq!(reason(&self.resolve(token).await), "INVITATION_NOT_USABLE");
        assert_eq!(
            reason(&self.accept(self.flow(), token).await),
            "INVITATION_NOT_USABLE"
        );
        assert_eq!(self.get(id).await.stop(), why);
    }

    async fn adopt(&self, member: MemberId, ids: &[&str]) -> Result<Vec<pb::Invitation>, Status> {
        let request = pb::AdoptInvitationsRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            invitation_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let request = self.test_env.member_request(self.school.org, member, request);
        let adopted = self.client.clone().adopt_invitations(request).await?;
        Ok(adopted.into_inner().invitations)
    }

    async fn extend(&self, member: MemberId, id: &str, days: i64) -> Result<Vec<pb::Invitation>, Status> {
        let request = pb::ExtendInvitationsRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            invitation_ids: vec![id.to_owned()],
            ttl: Some(Duration {
                seconds: days * DAY,
                nanos: 0,
            }),
        };
        let request = self.test_env.member_request(self.school.org, member, request);
        let extended = self.client.clone().extend_invitations(request).await?;
        Ok(extended.into_inner().invitations)
    }

    async fn link_text(&self, id: &str) -> Result<(), Status> {
        let request = pb::GetInvitationLinkRequest {
            org_id: self.school.org.to_string(),
            invitation_id: id.to_owned(),
        };
        let caller = self.school.administrator;
        let request = self.test_env.member_request(self.school.org, caller, request);
        self.client.clone().get_invitation_link(request).await?;
        Ok(())
    }
}

// Case 8: the link of a teacher who has left stops, until the holder of the office adopts it.
// Covers: F8 allowed, F8 refused
on_both!(open_link_stops_with_its_issuer, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(60).await;
    fixture.resolve(&token).await.unwrap();
    let issuer = fixture.school.class_teacher;
    fixture.change(issuer, MemberState::Left, &[]).await;
    fixture.is_stopped(&token, &id, InvitationStop::Issuer).await;
    assert_eq!(reason(&fixture.link_text(&id).await), "LINK_GROUND_GONE");
    assert_eq!(
        reason(&fixture.adopt(fixture.school.unverified, &[&id]).await),
        "PERMISSION_DENIED"
    );
    let administrator = fixture.school.administrator;
    let adopted = fixture.adopt(administrator, &[&id]).await.unwrap();
    assert_eq!(adopted[0].issuer_id, administrator.to_string());
    assert_eq!(adopted[0].stop(), InvitationStop::Unspecified);
    fixture.resolve(&token).await.unwrap();
    fixture.link_text(&id).await.unwrap();
    fixture.test_env.close().await;
});

// Case 9: a link to a class that is archived admits nobody.
// Covers: F8 refused
on_both!(link_to_an_archived_class_stops, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(2).await;
    fixture
        .school
        .archive(&fixture.test_env, fixture.school.class)
        .await;
    fixture.is_stopped(&token, &id, InvitationStop::Unit).await;
    let administrator = fixture.school.administrator;
    assert_eq!(
        reason(&fixture.extend(administrator, &id, 1).await),
        "LINK_GROUND_GONE"
    );
    fixture.test_env.close().await;
});

// Case 10: of two links for one record, the second one stops when the record is claimed.
// Covers: F8 refused, F10 refused
on_both!(claimed_record_has_no_live_link, |database| async move {
    let fixture = Fixture::open(&database).await;
    let claim = || pb::CreateInvitationRequest {
        claim_member_id: fixture.school.expected.to_string(),
        ..fixture.wanted(Role::Pupil)
    };
    let administrator = fixture.school.administrator;
    let first = fixture.create(administrator, claim()).await.unwrap();
    let second = fixture.create(administrator, claim()).await.unwrap();
    let (first, second) = (
        (first.invitation.unwrap().id, first.link.unwrap().link_token),
        (second.invitation.unwrap().id, second.link.unwrap().link_token),
    );
    fixture.resolve(&second.1).await.unwrap();
    let expected = fixture.school.expected;
    fixture
        .change(expected, MemberState::Active, &[Role::Pupil])
        .await;
    for (id, token) in [first, second] {
        fixture.is_stopped(&token, &id, InvitationStop::Record).await;
    }
    fixture.test_env.close().await;
});

// Staff released the record from the person who had claimed it: a link from before, which that person may
// know, does not come alive, and a new one does.
// Covers: F8 refused, F10 allowed, F10 refused
on_both!(links_of_a_released_record_are_revoked, |database| async move {
    let fixture = Fixture::open(&database).await;
    let claim = || pb::CreateInvitationRequest {
        claim_member_id: fixture.school.expected.to_string(),
        ..fixture.wanted(Role::Pupil)
    };
    let administrator = fixture.school.administrator;
    let made = fixture.create(administrator, claim()).await.unwrap();
    let (id, token) = (made.invitation.unwrap().id, made.link.unwrap().link_token);
    let (other, _) = fixture.link(2).await;
    let expected = fixture.school.expected;
    for state in [MemberState::Active, MemberState::Expected] {
        let changed = MemberChanged {
            member_id: expected.to_string(),
            state: state.into(),
            roles: vec![Role::Pupil.into()],
            release_count: i32::from(state == MemberState::Expected),
            ..Default::default()
        };
        fixture
            .test_env
            .apply_membership(fixture.school.org, Payload::MemberChanged(changed))
            .await;
    }
    assert_eq!(reason(&fixture.resolve(&token).await), "INVITATION_NOT_USABLE");
    let refused = fixture.accept(fixture.flow(), &token).await;
    assert_eq!(reason(&refused), "INVITATION_NOT_USABLE");
    assert_eq!(fixture.get(&id).await.state(), InvitationState::Revoked);
    let refused = fixture.extend(administrator, &id, 7).await;
    assert_eq!(reason(&refused), "INVITATION_CLOSED");
    assert_eq!(fixture.get(&other).await.state(), InvitationState::Active);
    let made = fixture.create(administrator, claim()).await.unwrap();
    fixture.resolve(&made.link.unwrap().link_token).await.unwrap();
    fixture.test_env.close().await;
});

// The link of a parent follows the child into another class, and stops when the child has left.
// Covers: F8 allowed, F8 refused
on_both!(link_of_a_parent_follows_the_child, |database| async move {
    let fixture = Fixture::open(&database).await;
    let administrator = fixture.school.administrator;
    let wanted = fixture.wanted(Role::Parent);
    let made = fixture.create(administrator, wanted).await.unwrap();
    let (id, token) = (made.invitation.unwrap().id, made.link.unwrap().link_token);
    let pupil = fixture.school.pupil;
    let enrolled: UnitId = fixture.school.other_class;
    fixture.school.enroll(&fixture.test_env, pupil, enrolled).await;
    fixture.resolve(&token).await.unwrap();
    fixture.change(pupil, MemberState::Left, &[Role::Pupil]).await;
    fixture.is_stopped(&token, &id, InvitationStop::Child).await;
    fixture.test_env.close().await;
});

// A named link outlives the membership of its issuer, but not a removal for a cause, also when the person
// returns without the right to invite. The holder of the office adopts it.
// Covers: F8 allowed, F8 refused
on_both!(
    named_link_stops_when_issuer_was_removed_for_cause,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let issuer = fixture.school.class_teacher;
        let wanted = fixture.wanted(Role::Parent);
        let made = fixture.create(issuer, wanted).await.unwrap();
        let (id, token) = (made.invitation.unwrap().id, made.link.unwrap().link_token);
        fixture.change(issuer, MemberState::Left, &[Role::Teacher]).await;
        fixture.resolve(&token).await.unwrap();
        assert_eq!(fixture.get(&id).await.stop(), InvitationStop::Unspecified);
        fixture
            .change_after_removal(issuer, MemberState::Left, &[Role::Teacher], true)
            .await;
        fixture.is_stopped(&token, &id, InvitationStop::Issuer).await;
        assert_eq!(reason(&fixture.link_text(&id).await), "LINK_GROUND_GONE");
        fixture
            .change_after_removal(issuer, MemberState::Active, &[Role::Parent], true)
            .await;
        fixture.is_stopped(&token, &id, InvitationStop::Issuer).await;
        let administrator = fixture.school.administrator;
        fixture.adopt(administrator, &[&id]).await.unwrap();
        fixture.resolve(&token).await.unwrap();
        fixture.test_env.close().await;
    }
);

// A link that names nobody lives for at most 14 days, however it is extended.
// Covers: R13 allowed, R13 refused
on_both!(open_link_lives_for_two_weeks, |database| async move {
    let fixture = Fixture::open(&database).await;
    let ttl = |days: i64| {
        Some(Duration {
            seconds: days * DAY,
            nanos: 0,
        })
    };
    let open = pb::CreateInvitationRequest {
        ttl: ttl(15),
        ..fixture.wanted(Role::Pupil)
    };
    let refused = fixture.create(fixture.school.class_teacher, open).await;
    assert_eq!(fields(&refused.unwrap_err()), ["ttl"]);
    let named = pb::CreateInvitationRequest {
        ttl: ttl(30),
        ..fixture.wanted(Role::Parent)
    };
    fixture.create(fixture.school.class_teacher, named).await.unwrap();

    let (id, token) = fixture.link(2).await;
    fixture.test_env.time.advance(chrono::TimeDelta::days(15));
    assert_eq!(reason(&fixture.resolve(&token).await), "INVITATION_NOT_USABLE");
    let administrator = fixture.school.administrator;
    // An expired link is adopted before it is extended.
    let adopted = fixture.adopt(administrator, &[&id]).await.unwrap();
    assert_eq!(adopted[0].issuer_id, administrator.to_string());
    let extended = fixture.extend(administrator, &id, 30).await.unwrap();
    let (created, expiry) = (
        extended[0].create_time.unwrap().seconds,
        extended[0].expire_time.unwrap().seconds,
    );
    assert_eq!(expiry - created, 29 * DAY);
    fixture.resolve(&token).await.unwrap();
    assert_eq!(
        fields(&fixture.extend(administrator, "x", 1).await.unwrap_err()),
        ["invitation_ids[0]"]
    );
    fixture.test_env.close().await;
});

// A teacher who lost the role invites nobody, also not by an old link.
// Covers: R14 refused, F8 refused
on_both!(link_of_a_former_teacher_stops, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(60).await;
    let issuer = fixture.school.class_teacher;
    fixture.change(issuer, MemberState::Active, &[Role::Staff]).await;
    fixture.is_stopped(&token, &id, InvitationStop::Issuer).await;
    fixture.test_env.close().await;
});
