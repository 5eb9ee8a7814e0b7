//! Requests to join: the use of a link stays reserved until staff has decided (R18).
use chrono::TimeDelta;
use parta_proto_invitation::v1 as pb;
use parta_proto_membership::v1::{JoinDecided, MemberChanged, MemberState, Role, membership_event::Payload};
use parta_service_testkit::reason;
use parta_testkit::on_both;

use super::{fixture::Fixture, membership::Fault};

impl Fixture {
    /// Applies the event of a decision and runs the job that it enqueues.
    async fn decide(&self, join_request_id: &str, invitation_id: &str, member_id: &str) {
        let decided = JoinDecided {
            join_request_id: join_request_id.to_owned(),
            invitation_id: invitation_id.to_owned(),
            member_id: member_id.to_owned(),
        };
        self.test_env
            .apply_membership(self.school.org, Payload::JoinDecided(decided))
            .await;
        self.test_env.run_due_jobs(&self.ports.job_runner()).await;
    }
}

// Covers: R18 allowed, R16 allowed
on_both!(accepted_request_confirms_the_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Requested]);
    let flow = fixture.flow();
    let requested = fixture.accept(flow, &token).await.unwrap();
    assert_eq!(requested.member_id, "");
    assert_ne!(requested.join_request_id, "");
    let again = fixture.accept(flow, &token).await.unwrap();
    assert_eq!(again.join_request_id, requested.join_request_id);
    // The use is taken while the request waits.
    let other = fixture.accept(fixture.flow(), &token).await;
    assert_eq!(reason(&other), "INVITATION_NOT_USABLE");
    assert_eq!(fixture.get(&id).await.use_count, 1);

    let member = fixture.school.stranger.to_string();
    for _ in 0..2 {
        fixture.decide(&requested.join_request_id, &id, &member).await;
    }
    let joined = fixture.accept(flow, &token).await.unwrap();
    assert_eq!((joined.member_id, joined.join_request_id.as_str()), (member, ""));
    assert!(fixture.get(&id).await.last_use_time.is_some());
    fixture.test_env.close().await;
});

// Covers: R18 allowed, R16 allowed
on_both!(one_request_takes_one_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(3).await;
    fixture.membership.fail([Fault::Requested, Fault::RequestedAgain]);
    let requested = fixture.accept(fixture.flow(), &token).await.unwrap();
    // The same person by the code of the link, which is another flow.
    let again = fixture.accept(fixture.flow(), &token).await.unwrap();
    assert_eq!(again.join_request_id, requested.join_request_id);
    assert_eq!(fixture.get(&id).await.use_count, 1);
    let member = fixture.school.stranger.to_string();
    fixture.decide(&requested.join_request_id, &id, &member).await;
    fixture.membership.fail([Fault::RequestedAgain]);
    fixture.accept(fixture.flow(), &token).await.unwrap();
    assert_eq!(fixture.get(&id).await.use_count, 1);
    fixture.test_env.close().await;
});

// Covers: R18 refused, R16 allowed
on_both!(refused_request_gives_the_use_back, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Requested]);
    let flow = fixture.flow();
    let requested = fixture.accept(flow, &token).await.unwrap();
    fixture.decide(&requested.join_request_id, &id, "").await;
    assert_eq!(fixture.get(&id).await.use_count, 0);
    fixture.membership.fail([Fault::Requested]);
    let second = fixture.accept(flow, &token).await.unwrap();
    assert_ne!(second.join_request_id, requested.join_request_id);
    fixture.test_env.close().await;
});

// The decision arrives before the response of membership: the job waits for the reservation.
// Covers: R18 allowed
on_both!(decision_that_comes_first_waits, |database| async move {
    parta_testkit::logs().allow("undocumented refusal: Aborted: lost");
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Before]);
    let flow = fixture.flow();
    let lost = fixture.accept(flow, &token).await;
    assert_eq!(reason(&lost), "DEPENDENCY_UNAVAILABLE");
    fixture.membership.fail([Fault::Requested]);
    let requested = fixture.accept(flow, &token).await.unwrap();
    let member = fixture.school.stranger.to_string();
    fixture.decide(&requested.join_request_id, &id, &member).await;
    assert_eq!(fixture.accept(flow, &token).await.unwrap().member_id, member);
    fixture.test_env.close().await;
});

// A link for staff is bound to a phone or e-mail, which membership compares.
// Covers: F8 allowed
on_both!(recipient_is_passed_on, |database| async move {
    let fixture = Fixture::open(&database).await;
    let mut wanted = fixture.wanted(parta_proto_membership::v1::Role::Teacher);
    wanted.recipient_address = "8 (916) 555-44-33".to_owned();
    let made = fixture
        .create(fixture.school.administrator, wanted)
        .await
        .unwrap();
    assert!(made.invitation.unwrap().named);
    let token = made.link.unwrap().link_token;
    fixture.accept(fixture.flow(), &token).await.unwrap();
    let (_, open) = fixture.link(1).await;
    fixture.accept(fixture.flow(), &open).await.unwrap();
    let calls: Vec<_> = fixture
        .membership
        .calls()
        .into_iter()
        .map(|call| (call.open, call.recipient_address))
        .collect();
    assert_eq!(calls, [(false, "+79165554433".to_owned()), (true, String::new())]);
    fixture.test_env.close().await;
});

impl Fixture {
    pub(super) async fn revoke(&self, invitation_id: &str) {
        let request = pb::RevokeInvitationRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            invitation_id: invitation_id.to_owned(),
            etag: String::new(),
        };
        let request = self
            .test_env
            .member_request(self.school.org, self.school.class_teacher, request);
        self.client.clone().revoke_invitation(request).await.unwrap();
    }

    async fn run_jobs(&self) {
        self.test_env.run_due_jobs(&self.ports.job_runner()).await;
    }
}

// Membership ends the requests by a revoked link, however often the revocation is repeated, also after it was
// away. An event of the end gives the use back.
// Covers: R15 allowed, F8 refused
on_both!(revocation_ends_the_requests_of_a_link, |database| async move {
    parta_testkit::logs().allow("undocumented refusal: Aborted: lost");
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(2).await;
    let (unused, _) = fixture.link(1).await;
    fixture.membership.fail([Fault::Requested]);
    let flow = fixture.flow();
    let requested = fixture.accept(flow, &token).await.unwrap();
    // Membership is away while the link is revoked, and at the first attempt of the job.
    fixture.membership.fail([Fault::Before, Fault::Before]);
    fixture.revoke(&id).await;
    fixture.run_jobs().await;
    assert!(fixture.membership.ended().is_empty(), "membership is away");
    fixture.test_env.time.advance(TimeDelta::minutes(1));
    fixture.run_jobs().await;
    assert_eq!(fixture.membership.ended(), [vec![id.clone()]]);
    // The response to a revocation waits for the end, also of a link that was revoked before or that
    // nobody has used. The job repeats it.
    for link in [&id, &unused] {
        let before = fixture.membership.ended().len();
        fixture.revoke(link).await;
        assert_eq!(fixture.membership.ended()[before..], [vec![link.clone()]]);
        fixture.run_jobs().await;
        assert_eq!(
            fixture.membership.ended()[before..],
            [vec![link.clone()], vec![link.clone()]]
        );
    }
    assert_eq!(fixture.get(&id).await.use_count, 1);
    fixture.decide(&requested.join_request_id, &id, "").await;
    assert_eq!(fixture.get(&id).await.use_count, 0);
    let again = fixture.accept(flow, &token).await;
    assert_eq!(reason(&again), "INVITATION_NOT_USABLE");
    fixture.test_env.close().await;
});

// The links that are revoked after a restore, and those of a released record, end their requests too. The
// restored database does not know who used its links.
// Covers: F8 refused
on_both!(each_revocation_ends_requests, |database| async move {
    let fixture = Fixture::open(&database).await;
    let expected = fixture.school.expected;
    let wanted = pb::CreateInvitationRequest {
        claim_member_id: expected.to_string(),
        ..fixture.wanted(Role::Pupil)
    };
    let made = fixture
        .create(fixture.school.class_teacher, wanted)
        .await
        .unwrap();
    let named = made.invitation.unwrap().id;
    fixture.membership.fail([Fault::Requested]);
    let token = made.link.unwrap().link_token;
    fixture.accept(fixture.flow(), &token).await.unwrap();
    let released = MemberChanged {
        member_id: expected.to_string(),
        state: MemberState::Expected.into(),
        roles: vec![Role::Pupil.into()],
        release_count: 1,
        ..Default::default()
    };
    fixture
        .test_env
        .apply_membership(fixture.school.org, Payload::MemberChanged(released))
        .await;
    fixture.run_jobs().await;
    assert_eq!(fixture.membership.ended(), [vec![named.clone()]]);
    let mut open = Vec::new();
    for _ in 0..21 {
        open.push(fixture.link(1).await.0);
    }
    let revoked = crate::revoke_open_links(&fixture.test_env.db).await.unwrap();
    assert_eq!(revoked, 21);
    fixture.run_jobs().await;
    let ended = fixture.membership.ended();
    // The two jobs of one moment run in either order.
    let mut sizes: Vec<_> = ended.iter().map(Vec::len).collect();
    sizes[1..].sort_unstable();
    assert_eq!(sizes, [1, 1, 20]);
    let mut ids: Vec<_> = ended.into_iter().skip(1).flatten().collect();
    ids.sort();
    assert_eq!(ids, open);
    // Membership was restored, and invitation repeats all of it.
    let links = crate::end_revoked_again(&fixture.test_env.db).await.unwrap();
    assert_eq!(links, 22);
    fixture.run_jobs().await;
    let mut again: Vec<_> = fixture.membership.ended().split_off(3).concat();
    again.sort();
    open.insert(0, named);
    assert_eq!(again, open);
    fixture.test_env.time.advance(TimeDelta::days(31));
    assert_eq!(crate::end_revoked_again(&fixture.test_env.db).await.unwrap(), 0);
    fixture.test_env.close().await;
});

// The restored membership learns which requests had ended.
// Covers: R81 allowed
on_both!(
    refused_requests_are_listed_after_a_restore,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (id, token) = fixture.link(2).await;
        fixture.membership.fail([Fault::Requested, Fault::Requested]);
        let refused = fixture.accept(fixture.flow(), &token).await.unwrap();
        let pending = fixture.accept(fixture.flow(), &token).await.unwrap();
        assert_ne!(pending.join_request_id, refused.join_request_id);
        fixture.decide(&refused.join_request_id, &id, "").await;
        let listed = crate::list_refused_requests(&fixture.test_env.db).await.unwrap();
        let expected = [refused.join_request_id.parse().unwrap()].into();
        assert_eq!(listed, [(fixture.school.org, expected)].into());
        fixture.test_env.close().await;
    }
);

// A person who has made too many requests reserves no use, and the refusal says when to try again.
// Covers: R18 refused
on_both!(acceptance_of_an_impatient_person_ends, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Limited, Fault::Requested]);
    let flow = fixture.flow();
    let refused = fixture.accept(flow, &token).await.unwrap_err();
    let refused = parta_status::RpcError::from_status(&refused).unwrap();
    assert_eq!(refused.reason(), "ADMISSION_REFUSED");
    assert_eq!(refused.metadata("membership_reason"), Some("RATE_LIMITED"));
    assert_eq!(refused.retry_delay(), Some(std::time::Duration::from_secs(3600)));
    assert_eq!(fixture.get(&id).await.use_count, 0);
    // The job does not repeat the call on its own.
    fixture.test_env.time.advance(TimeDelta::minutes(1));
    fixture.run_jobs().await;
    assert_eq!(fixture.membership.calls().len(), 1);
    let requested = fixture.accept(flow, &token).await.unwrap();
    assert_ne!(requested.join_request_id, "");
    fixture.test_env.close().await;
});
