//! An acceptance that was interrupted is judged again when it is resumed (F18).
use chrono::TimeDelta;
use parta_ids::FlowId;
use parta_proto_invitation::v1 as pb;
use parta_proto_org_registry::v1::{UnitArchived, org_registry_event::Payload};
use parta_service_testkit::reason;
use parta_testkit::{TestDatabase, on_both};

use super::{fixture::Fixture, membership::Fault};

/// The ways in which a link ends while its acceptance is interrupted.
#[derive(Clone, Copy)]
enum Death {
    Revoked,
    Stopped,
}

impl Fixture {
    async fn kill(&self, id: &str, death: Death) {
        match death {
            Death::Revoked => self.revoke(id).await,
            Death::Stopped => {
                let archived = UnitArchived {
                    unit_id: self.school.class.to_string(),
                    ..Default::default()
                };
                self.test_env
                    .apply_org_registry(self.school.org, Payload::UnitArchived(archived))
                    .await;
            }
        }
    }

    /// Accepts a new link, and loses the call to membership or its response.
    async fn interrupt(&self, fault: Fault, act: &str) -> (String, String, FlowId) {
        parta_testkit::logs().allow("undocumented refusal: Aborted: lost");
        let (id, token) = self.link(2).await;
        self.membership.fail([fault]);
        let flow = self.flow();
        let lost = self.accept_as(flow, &token, act.to_owned()).await;
        assert_eq!(reason(&lost), "DEPENDENCY_UNAVAILABLE");
        (id, token, flow)
    }

    async fn resume(&self) {
        self.test_env.time.advance(TimeDelta::minutes(1));
        self.test_env.run_due_jobs(&self.ports.job_runner()).await;
    }
}

async fn admits_nobody(database: TestDatabase, death: Death) {
    let fixture = Fixture::open(&database).await;
    let act = fixture.test_env.request_id();
    let (id, token, flow) = fixture.interrupt(Fault::Before, &act).await;
    fixture.kill(&id, death).await;
    // Membership is away for the job of the acceptance, and for that of a revocation.
    let calls = match death {
        Death::Revoked => 2,
        Death::Stopped => 1,
    };
    fixture.membership.fail(vec![Fault::Before; calls]);
    fixture.resume().await;
    assert_eq!(fixture.get(&id).await.use_count, 1);
    fixture.resume().await;
    assert_eq!(fixture.membership.admitted(&id), 0);
    assert_eq!(fixture.get(&id).await.use_count, 0);
    let repeated = fixture.accept_as(flow, &token, act).await;
    assert_eq!(reason(&repeated), "INVITATION_NOT_USABLE");
    let again = fixture.accept(flow, &token).await;
    assert_eq!(reason(&again), "INVITATION_NOT_USABLE");
    fixture.test_env.close().await;
}

/// Membership had admitted the person before the link ended, and the response was lost.
async fn keeps_the_member(database: TestDatabase, death: Death) {
    let fixture = Fixture::open(&database).await;
    let act = fixture.test_env.request_id();
    let (id, token, flow) = fixture.interrupt(Fault::After, &act).await;
    fixture.kill(&id, death).await;
    fixture.resume().await;
    let seen = fixture.get(&id).await;
    assert_eq!((seen.use_count, fixture.membership.admitted(&id)), (1, 1));
    let joined = fixture.accept_as(flow, &token, act).await.unwrap();
    assert_ne!(joined.member_id, "");
    fixture.test_env.close().await;
}

on_both!(
    /// Covers: F18 refused, F8 refused
    interrupted_acceptance_by_a_revoked_link_admits_nobody,
    |database| admits_nobody(database, Death::Revoked)
);

on_both!(
    /// Covers: F18 refused, F8 refused
    interrupted_acceptance_by_a_stopped_link_admits_nobody,
    |database| admits_nobody(database, Death::Stopped)
);

on_both!(
    /// Covers: F18 allowed
    member_stays_when_the_link_was_revoked_afterwards,
    |database| keeps_the_member(database, Death::Revoked)
);

on_both!(
    /// Covers: F18 allowed
    member_stays_when_the_link_stopped_afterwards,
    |database| keeps_the_member(database, Death::Stopped)
);

// The link is adopted between two attempts. The second one sends the request of the first, so that membership
// finds the member.
// Covers: R16 allowed
on_both!(adopted_link_resumes_the_same_admission, |database| async move {
    let fixture = Fixture::open(&database).await;
    let act = fixture.test_env.request_id();
    let (id, token, flow) = fixture.interrupt(Fault::After, &act).await;
    let adopt = pb::AdoptInvitationsRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        invitation_ids: vec![id.clone()],
    };
    let by = fixture.school.administrator;
    let adopt = fixture.test_env.member_request(fixture.school.org, by, adopt);
    fixture.client.clone().adopt_invitations(adopt).await.unwrap();
    fixture.resume().await;
    let calls = fixture.membership.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0], calls[1]);
    let joined = fixture.accept_as(flow, &token, act).await.unwrap();
    assert_ne!(joined.member_id, "");
    fixture.test_env.close().await;
});
