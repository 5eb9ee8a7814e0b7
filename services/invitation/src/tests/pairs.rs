//! Every pair of mutations that touch one link, at the same time, on PostgreSQL. SQLite has one writer.
use parta_ids::{FlowId, InvitationId, TypedId as _};
use parta_proto_invitation::v1 as pb;
use parta_service_testkit::Races;
use parta_testkit::{TestDatabase, on_postgres};

use crate::tests::fixture::Fixture;

/// A link of one use, and the join flows of two people.
struct Link {
    id: String,
    token: String,
    flows: [FlowId; 2],
}

on_postgres!(
    /// Covers: R16 allowed, R16 refused
    pairs_about_one_link_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let fixture = Fixture::open(&database).await;
        let races = Races::<Fixture, Link> {
            acts: vec![
                ("AcceptInvitation by one", |fixture, link| Box::pin(async move {
                    fixture.accept(link.flows[0], &link.token).await.map(|_| ())
                })),
                ("AcceptInvitation by another", |fixture, link| Box::pin(async move {
                    fixture.accept(link.flows[1], &link.token).await.map(|_| ())
                })),
                ("RevokeInvitation", |fixture, link| Box::pin(async move {
                    let request = pb::RevokeInvitationRequest {
                        request_id: fixture.test_env.request_id(),
                        org_id: fixture.school.org.to_string(),
                        invitation_id: link.id.clone(),
                        etag: String::new(),
                    };
                    let (org, by) = (fixture.school.org, fixture.school.administrator);
                    let request = fixture.test_env.member_request(org, by, request);
                    fixture.client.clone().revoke_invitation(request).await.map(|_| ())
                })),
            ],
            subject: |fixture| Box::pin(async move {
                let (id, token) = fixture.link(1).await;
                Link { id, token, flows: [fixture.flow(), fixture.flow()] }
            }),
            barrier: |_| vec!["LOCK TABLE invitation IN EXCLUSIVE MODE".to_owned()],
            compares_reasons: true,
            state: |link| {
                let id = link.id.parse::<InvitationId>().unwrap().uuid();
                vec![
                    format!(
                        "SELECT CONCAT_WS(' ', use_count, revoke_time IS NULL) FROM invitation WHERE id = '{id}'"
                    ),
                    format!(
                        "SELECT STRING_AGG(stage, ',' ORDER BY stage) FROM reservation \
                         WHERE invitation_id = '{id}' AND stage <> 'released'"
                    ),
                ]
            },
        };
        races.run(&fixture, &url).await;
    }
);
