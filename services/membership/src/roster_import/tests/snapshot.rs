//! A snapshot repeats what an import has requested and what may not be done yet.
use futures::TryStreamExt as _;
use parta_ids::OrgId;
use parta_proto::feed::v1::{ReadRequest, SnapshotRequest};
use parta_proto_membership::v1::{
    self as pb, RosterImportState, membership_event::Payload,
    membership_feed_service_client::MembershipFeedServiceClient,
};
use parta_testkit::on_both;

use super::edge::check_small_import;
use crate::tests::test_env::{TestEnv, by, org};

fn staged(payloads: impl IntoIterator<Item = Payload>) -> Vec<pb::RosterImportStaged> {
    let staged = payloads.into_iter().filter_map(|payload| match payload {
        Payload::RosterImportStaged(staged) => Some(staged),
        _ => None,
    });
    staged.collect()
}

/// The events of the log of an organization, at most 256.
pub(super) async fn log_of(of: &TestEnv, org: OrgId) -> Vec<Payload> {
    let channel = of.test_env.channel_of("chat", "membership", &of.transport);
    let request = ReadRequest {
        org_id: org.to_string(),
        ..Default::default()
    };
    let page = MembershipFeedServiceClient::new(channel).read(request).await;
    let events = page.unwrap().into_inner().events.into_iter();
    events.filter_map(|event| event.payload).collect()
}

/// The events of the snapshot of an organization.
async fn snapshot_of(of: &TestEnv, org: OrgId) -> Vec<Payload> {
    let channel = of.test_env.channel_of("chat", "membership", &of.transport);
    let request = SnapshotRequest {
        org_id: org.to_string(),
    };
    let stream = MembershipFeedServiceClient::new(channel).snapshot(request).await;
    let responses: Vec<_> = stream.unwrap().into_inner().try_collect().await.unwrap();
    let payloads = responses.into_iter();
    payloads.filter_map(|response| response.event?.payload).collect()
}

// An import waits for a class. If org-registry and invitation replace their projection by a snapshot before
// they have read its event, they find the request in the snapshot.
// Covers: R31 allowed
on_both!(
    snapshot_repeats_the_requests_of_an_import,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        assert!(staged(snapshot_of(&test_env, org(1)).await).is_empty());
        let import = check_small_import(&test_env, &administrator).await;
        assert!(
            staged(snapshot_of(&test_env, org(1)).await).is_empty(),
            "a checked import requests nothing"
        );
        let start = pb::StartRosterImportRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            roster_import_id: import.clone(),
            ..Default::default()
        };
        let mut api = test_env.roster_imports();
        let started = api.start_roster_import(by(&administrator.token, start)).await;
        let started = started.unwrap().into_inner().roster_import.unwrap();
        assert_eq!(started.state(), RosterImportState::Running);
        test_env.run_due_jobs().await;

        let published = staged(log_of(&test_env, org(1)).await);
        assert_eq!(published.len(), 1);
        assert_eq!(published[0].roster_import_id, import);
        assert_eq!((published[0].units.len(), published[0].invitations.len()), (1, 1));
        // The same request under the same key, however often it is requested.
        for _ in 0..2 {
            assert_eq!(staged(snapshot_of(&test_env, org(1)).await), published);
        }
        test_env.close().await;
    }
);
