//! A link of N uses admits at most N people, under concurrency and across failures (R16, invariant 6).
use std::collections::BTreeSet;

use chrono::TimeDelta;
use parta_ids::FlowId;
use parta_proto::feed::v1::{SnapshotRequest, WatchRequest};
use parta_proto_invitation::v1::{self as pb, invitation_feed_service_client::InvitationFeedServiceClient};
use parta_proto_membership::v1::Role;
use parta_service_testkit::reason;
use parta_testkit::{TestDatabase, on_both, property_on_both};
use proptest::prelude::*;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::tests::{fixture::Fixture, membership::Fault};

// Covers: R16 allowed, R16 refused
on_both!(
    link_of_n_uses_admits_n_people_when_called_concurrently,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (id, token) = fixture.link(3).await;
        let outcomes =
            futures::future::join_all((0..12).map(|_| fixture.accept(fixture.flow(), &token))).await;
        let admitted: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().ok()).collect();
        assert_eq!(admitted.len(), 3);
        let refused = outcomes
            .iter()
            .filter(|o| reason(o) == "INVITATION_NOT_USABLE")
            .count();
        assert_eq!(refused, 9);
        assert_eq!(fixture.membership.admitted(&id), 3);
        let seen = fixture.get(&id).await;
        assert_eq!((seen.use_count, seen.state()), (3, pb::InvitationState::UsedUp));
    }
);

// A ticket that was made for another link, or for no link at all, takes no use (case 42).
// Covers: R16 refused
on_both!(ticket_for_another_link_takes_no_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    let (_, other) = fixture.link(1).await;
    for made_for in [other.as_str(), "junk", ""] {
        let request = pb::AcceptInvitationRequest {
            request_id: fixture.test_env.request_id(),
            secret: Some(pb::accept_invitation_request::Secret::LinkToken(token.clone())),
        };
        let request = fixture.test_env.joiner_request(fixture.flow(), made_for, request);
        let refused = fixture.client.clone().accept_invitation(request).await;
        assert_eq!(reason(&refused), "INVITATION_NOT_USABLE", "{made_for}");
    }
    assert_eq!(fixture.get(&id).await.use_count, 0);
    assert_eq!(fixture.membership.admitted(&id), 0);
    fixture.accept(fixture.flow(), &token).await.unwrap();
});

// Covers: R16 allowed
on_both!(repeated_acceptance_takes_one_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(2).await;
    let (flow, act) = (fixture.flow(), fixture.test_env.request_id());
    let first = fixture.accept_as(flow, &token, act.clone()).await.unwrap();
    assert_eq!(fixture.accept_as(flow, &token, act.clone()).await.unwrap(), first);
    assert_eq!(fixture.accept(flow, &token).await.unwrap(), first);
    let both = futures::future::join(fixture.accept(flow, &token), fixture.accept(flow, &token)).await;
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (first.clone(), first));
    assert_eq!(fixture.get(&id).await.use_count, 1);
    let (_, other) = fixture.link(1).await;
    assert_eq!(
        reason(&fixture.accept_as(flow, &other, act).await),
        "REQUEST_ID_REUSED"
    );
});

// Concurrent acceptances by one flow, with different request ids, reserve one use.
// Covers: R16 allowed
on_both!(concurrent_acceptances_take_one_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(5).await;
    let flow = fixture.flow();
    let outcomes = futures::future::join_all((0..6).map(|_| fixture.accept(flow, &token))).await;
    let members: BTreeSet<_> = outcomes.into_iter().map(|o| o.unwrap().member_id).collect();
    assert_eq!(members.len(), 1);
    assert_eq!(
        (fixture.get(&id).await.use_count, fixture.membership.admitted(&id)),
        (1, 1)
    );
});

// Covers: R16 allowed, R16 refused
on_both!(refused_admission_releases_the_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Refused]);
    let (flow, act) = (fixture.flow(), fixture.test_env.request_id());
    let refused = fixture.accept_as(flow, &token, act.clone()).await;
    assert_eq!(reason(&refused), "ADMISSION_REFUSED");
    assert_eq!(fixture.get(&id).await.use_count, 0);
    // A repetition returns the stored refusal; a new request may succeed.
    assert_eq!(
        reason(&fixture.accept_as(flow, &token, act).await),
        "ADMISSION_REFUSED"
    );
    assert_eq!(reason(&fixture.accept(flow, &token).await), "OK");
    assert_eq!(fixture.get(&id).await.use_count, 1);
});

// Covers: R16 allowed, R16 refused
on_both!(existing_member_takes_no_use, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Already]);
    fixture.accept(fixture.flow(), &token).await.unwrap();
    assert_eq!(fixture.get(&id).await.use_count, 0);
    assert_eq!(reason(&fixture.accept(fixture.flow(), &token).await), "OK");
    assert_eq!(
        reason(&fixture.accept(fixture.flow(), &token).await),
        "INVITATION_NOT_USABLE"
    );
});

/// Runs the recovery jobs until none is pending.
async fn recover(fixture: &Fixture) {
    let (test_env, runner) = (&fixture.test_env, fixture.ports.job_runner());
    while test_env.count_rows("job").await > 0 {
        // The first attempt of a job, and the next one after a failure, are due later.
        test_env.time.advance(TimeDelta::seconds(40));
        test_env.run_due_jobs(&runner).await;
    }
}

// Invariants 1 and 6: after a crash before or after the admission, the person joins and the limit of uses
// holds.
// Covers: R16 allowed, R16 refused
on_both!(
    interrupted_acceptance_is_finished_by_the_recovery_job,
    |database| async move {
        parta_testkit::logs().allow("undocumented refusal: Aborted: lost");
        for fault in [Fault::Before, Fault::After] {
            let database = database.another().await;
            let fixture = Fixture::open(&database).await;
            let (id, token) = fixture.link(1).await;
            fixture.membership.fail([fault]);
            let flow = fixture.flow();
            assert_eq!(
                reason(&fixture.accept(flow, &token).await),
                "DEPENDENCY_UNAVAILABLE"
            );
            // The use stays reserved, so another flow cannot take it.
            assert_eq!(
                reason(&fixture.accept(fixture.flow(), &token).await),
                "INVITATION_NOT_USABLE"
            );
            recover(&fixture).await;
            let seen = fixture.get(&id).await;
            assert_eq!((seen.use_count, fixture.membership.admitted(&id)), (1, 1));
            assert!(seen.last_use_time.is_some());
            assert_eq!(reason(&fixture.accept(flow, &token).await), "OK");
            assert_eq!(fixture.membership.admitted(&id), 1);
        }
    }
);

// Both RPCs return the same error for unknown, expired, used-up and revoked links.
// Covers: R13 refused, R16 refused
on_both!(unusable_links_return_the_same_error, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (_, used_up) = fixture.link(1).await;
    fixture.accept(fixture.flow(), &used_up).await.unwrap();
    let (revoked_id, revoked) = fixture.link(1).await;
    let request = pb::RevokeInvitationRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        invitation_id: revoked_id,
        etag: String::new(),
    };
    let request = fixture
        .test_env
        .member_request(fixture.school.org, fixture.school.class_teacher, request);
    fixture.client.clone().revoke_invitation(request).await.unwrap();
    let (_, expired) = fixture.link(1).await;
    fixture.test_env.time.advance(TimeDelta::days(14));
    let mut responses = BTreeSet::new();
    for token in [
        &used_up,
        &revoked,
        &expired,
        &"A".repeat(24),
        &"short".to_owned(),
        &"Ё".repeat(12),
    ] {
        let tell = |status: tonic::Status| {
            let refusal = parta_status::RpcError::from_status(&status).unwrap();
            (
                refusal.reason().to_owned(),
                status.code() as i32,
                status.message().to_owned(),
                status.details().to_vec(),
            )
        };
        responses.insert(tell(fixture.resolve(token).await.unwrap_err()));
        responses.insert(tell(fixture.accept(fixture.flow(), token).await.unwrap_err()));
    }
    let reasons: Vec<_> = responses.iter().map(|a| a.0.as_str()).collect();
    assert_eq!(reasons, ["INVITATION_NOT_USABLE"]);
});

// A join ticket is required; the token of a member is of another kind.
// Covers: R16 refused
on_both!(acceptance_requires_a_join_ticket, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (_, token) = fixture.link(1).await;
    let secret = Some(pb::accept_invitation_request::Secret::LinkToken(token));
    let request = pb::AcceptInvitationRequest {
        request_id: fixture.test_env.request_id(),
        secret,
    };
    let outcome = fixture
        .client
        .clone()
        .accept_invitation(fixture.test_env.member_request(
            fixture.school.org,
            fixture.school.pupil,
            request.clone(),
        ))
        .await;
    assert_eq!(reason(&outcome), "CALLER_NOT_ACCEPTED");
    let outcome = fixture.client.clone().accept_invitation(request).await;
    assert_eq!(reason(&outcome), "CREDENTIAL_MISSING");
});

// Section 3 of the architecture: the feed contains each event once and no event of a released reservation.
// Covers: R63 allowed
on_both!(feed_contains_created_and_used_links, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(1).await;
    fixture.membership.fail([Fault::Refused]);
    let flow = fixture.flow();
    let _ = fixture.accept(flow, &token).await;
    let member = fixture.accept(flow, &token).await.unwrap().member_id;
    fixture.accept(flow, &token).await.unwrap();
    let mut feed =
        InvitationFeedServiceClient::new(fixture.test_env.channel_of("chat", "invitation", &fixture.pipe));
    let mut events = Vec::new();
    let mut stream = feed
        .snapshot(SnapshotRequest {
            org_id: fixture.school.org.to_string(),
        })
        .await
        .unwrap()
        .into_inner();
    while let Some(next) = stream.message().await.unwrap() {
        events.extend(next.event.and_then(|e| e.payload));
    }
    use pb::invitation_event::Payload;
    let wanted = [
        Payload::InvitationCreated(pb::InvitationCreated {
            invitation_id: id.clone(),
        }),
        Payload::InvitationUsed(pb::InvitationUsed {
            invitation_id: id,
            member_id: member,
        }),
    ];
    assert_eq!(events, wanted);
    let mut watched = Vec::new();
    let mut stream = feed
        .watch(WatchRequest {
            org_id: fixture.school.org.to_string(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    while watched.len() < 2 {
        match stream.message().await.unwrap().unwrap().item {
            Some(pb::watch_response::Item::Event(event)) => watched.extend(event.payload),
            _ => panic!("a checkpoint before all events"),
        }
    }
    assert_eq!(watched, wanted);
});

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    /// These people accept concurrently.
    Accept(Vec<u8>),
    /// The next call to membership fails.
    Fail(u8),
    /// The recovery jobs run.
    Recover,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0_u8..6, 1..5).prop_map(Step::Accept),
        2 => (0_u8..3).prop_map(Step::Fail),
        1 => Just(Step::Recover),
    ]
}

async fn play(database: TestDatabase, uses: i32, steps: &[Step]) {
    parta_testkit::logs().allow("undocumented refusal: Aborted: lost");
    // The PostgreSQL driver logs this when the simulated crash closes its connections.
    parta_testkit::logs().allow("error occurred while testing the connection on-release");
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(uses).await;
    let flows: Vec<FlowId> = (0..6).map(|_| fixture.flow()).collect();
    let mut members: std::collections::BTreeMap<u8, String> = std::collections::BTreeMap::new();
    let most = usize::try_from(uses).unwrap();
    for step in steps {
        match step {
            Step::Accept(people) => {
                let outcomes = futures::future::join_all(
                    people
                        .iter()
                        .map(|p| fixture.accept(flows[usize::from(*p)], &token)),
                );
                for (person, outcome) in people.iter().zip(outcomes.await) {
                    if let Ok(done) = outcome {
                        let known = members.entry(*person).or_insert_with(|| done.member_id.clone());
                        assert_eq!(*known, done.member_id, "one person became two members");
                    }
                }
            }
            Step::Fail(kind) => {
                fixture
                    .membership
                    .fail([[Fault::Before, Fault::After, Fault::Refused][usize::from(*kind)]]);
            }
            Step::Recover => recover(&fixture).await,
        }
        assert!(fixture.membership.admitted(&id) <= most, "more people than uses");
        assert!(members.len() <= most);
    }
    // After the recovery, the number of uses equals the number of admitted people.
    fixture.membership.fail([]);
    recover(&fixture).await;
    let seen = fixture.get(&id).await;
    assert_eq!(
        usize::try_from(seen.use_count).unwrap(),
        fixture.membership.admitted(&id)
    );
    assert_eq!(seen.role(), Role::Pupil);
}

// Invariant 6
// Covers: R16 refused
property_on_both!(
    uses_never_exceed_the_limit,
    ProptestConfig {
        cases: 6,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    },
    (1_i32..4, prop::collection::vec(step(), 1..7)),
    |database, (uses, steps): (i32, Vec<Step>)| async move { play(database, uses, &steps).await }
);

on_both!(
    /// Covers: R75 allowed
    released_reservation_is_deleted_after_its_retention,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (_, token) = fixture.link(1).await;
        fixture.membership.fail([Fault::Refused]);
        let flow = fixture.flow();
        assert_eq!(reason(&fixture.accept(flow, &token).await), "ADMISSION_REFUSED");
        assert_eq!(reason(&fixture.accept(flow, &token).await), "OK");
        let db = &fixture.test_env.db;
        let reservations = async || {
            let sql = "SELECT stage FROM reservation ORDER BY stage";
            let rows = db.conn().query_all_raw(Statement::from_string(db.backend(), sql)).await.unwrap();
            rows.iter().map(|row| row.try_get("", "stage").unwrap()).collect::<Vec<String>>()
        };
        fixture.test_env.time.advance(TimeDelta::days(31));
        crate::acceptance::purge(db).await.unwrap();
        assert_eq!(reservations().await, ["confirmed", "released"]);
        fixture.test_env.time.advance(TimeDelta::seconds(1));
        crate::acceptance::purge(db).await.unwrap();
        assert_eq!(reservations().await, ["confirmed"]);
    }
);
