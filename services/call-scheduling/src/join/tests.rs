//! Tokens of the media server (R55).
mod adults;
mod lesson;
mod looking;

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_service_testkit::reason;
use parta_testkit::{MediaServer, on_both};
use serde_json::Value;

use crate::tests::fixture::Fixture;

fn set_time(fixture: &Fixture, time: &str) {
    fixture.test_env.time.set(time.parse().unwrap());
}

/// Verifies a token as LiveKit does, with HS256 and the API secret, and returns its claims.
fn claims(token: &str) -> BTreeMap<String, Value> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[MediaServer::API_KEY]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "sub"]);
    // The clock of the tests differs from the clock of the machine.
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(MediaServer::API_SECRET.as_bytes());
    jsonwebtoken::decode::<BTreeMap<String, Value>>(token, &key, &validation)
        .unwrap()
        .claims
}

// Covers: R55 allowed
on_both!(token_has_the_claims_of_the_media_server, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture.lesson(|_| ()).await;
    set_time(&fixture, "2026-09-01T09:00:00Z");
    let host = fixture.join(s.teacher, &call).await.unwrap();
    assert_eq!(host.server_url, "wss://media.school.example");
    let token_claims = claims(&host.token);
    let now = 1_788_253_200;
    assert_eq!(
        (token_claims["nbf"].as_i64(), token_claims["exp"].as_i64()),
        (Some(now), Some(now + 600))
    );
    assert_eq!(host.expire_time.unwrap().seconds, now + 600);
    assert_eq!(token_claims["metadata"], r#"{"role":"teacher"}"#);
    let grant = serde_json::json!({
        "room": host.room, "roomJoin": true, "roomAdmin": true,
        "canPublish": true, "canSubscribe": true, "canPublishData": true,
    });
    assert_eq!(token_claims["video"], grant);
    let pupil = fixture.join(s.pupil, &call).await.unwrap();
    let token_claims = claims(&pupil.token);
    assert_eq!(token_claims["video"]["roomAdmin"], false);
    assert_eq!(
        (&token_claims["video"]["canPublish"], &token_claims["metadata"]),
        (&Value::Bool(true), &Value::from(r#"{"role":"pupil"}"#))
    );
    assert_eq!(pupil.room, host.room);
    // R28: the media server does not receive member ids, and each session of a person has one identity.
    let identity = token_claims["sub"].as_str().unwrap();
    assert!(!identity.contains(&s.pupil.to_string()) && identity.len() == 22);
    let session = fixture.test_env.member_token(s.org, s.pupil);
    let mut identities = Vec::new();
    for _ in 0..2 {
        let joined = fixture.join_with(&session, &call, call.start_time).await.unwrap();
        identities.push(claims(&joined.token)["sub"].clone());
    }
    assert_eq!(identities[0], identities[1]);
    assert_ne!(identities[0], token_claims["sub"]);
});

// Covers: R55 allowed, R55 refused
on_both!(room_is_open_only_around_the_call, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture.lesson(|_| ()).await;
    for (time, expected) in [
        ("2026-09-01T08:44:59Z", "OUTSIDE_JOIN_WINDOW"),
        ("2026-09-01T08:45:00Z", "OK"),
        ("2026-09-01T09:59:59Z", "OK"),
        ("2026-09-01T10:00:00Z", "OUTSIDE_JOIN_WINDOW"),
    ] {
        set_time(&fixture, time);
        assert_eq!(reason(&fixture.join(s.teacher, &call).await), expected, "{time}");
    }
    // A token expires no later than the room closes.
    set_time(&fixture, "2026-09-01T09:58:00Z");
    let token = fixture.join(s.teacher, &call).await.unwrap();
    let close: chrono::DateTime<chrono::Utc> = "2026-09-01T10:00:00Z".parse().unwrap();
    assert_eq!(token.expire_time.unwrap().seconds, close.timestamp());
});

// Without staff, no participant can publish or receive media.
// Covers: R55 allowed, R55 refused
on_both!(pupils_wait_in_the_lobby_until_staff_join, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture.lesson(|_| ()).await;
    set_time(&fixture, "2026-09-01T08:50:00Z");
    let early = fixture.join(s.pupil, &call).await.unwrap();
    let grants = &claims(&early.token)["video"];
    assert!(early.lobby);
    assert_eq!(
        (&grants["canPublish"], &grants["canSubscribe"]),
        (&Value::Bool(false), &Value::Bool(false))
    );
    assert!(!fixture.join(s.class_teacher, &call).await.unwrap().lobby);
    let later = fixture.join(s.pupil, &call).await.unwrap();
    assert!(!later.lobby);
    assert_eq!(claims(&later.token)["video"]["canPublish"], true);
});

// Only the current audience can join.
// Covers: R55 allowed, R55 refused
on_both!(joining_is_limited_to_the_audience, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let lesson = fixture.lesson(|_| ()).await;
    let parents = fixture
        .plan(s.class_teacher, fixture.plan_request(CallKind::ParentMeeting))
        .await
        .unwrap();
    set_time(&fixture, "2026-09-01T09:00:00Z");
    let denied = "PERMISSION_DENIED";
    for (member, to_lesson, to_parents) in [
        (s.teacher, "OK", "OK"),
        (s.class_teacher, "OK", "OK"),
        (s.administrator, denied, "OK"),
        (s.pupil, "OK", denied),
        (s.parent, denied, "OK"),
        (s.unverified, denied, denied),
        (s.stranger, denied, denied),
        (s.other_pupil, denied, denied),
    ] {
        assert_eq!(reason(&fixture.join(member, &lesson).await), to_lesson);
        assert_eq!(reason(&fixture.join(member, &parents).await), to_parents);
    }
});

// Covers: R52 allowed, R52 refused, R55 allowed, R55 refused
on_both!(
    offline_and_canceled_calls_cannot_be_joined,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let s = fixture.school;
        let in_person = fixture
            .lesson(|w| {
                w.format = pb::CallFormat::InPerson.into();
                w.room = "каб. 12".to_owned();
            })
            .await;
        let hybrid = fixture
            .lesson(|w| {
                w.format = pb::CallFormat::Hybrid.into();
                w.room = "каб. 12".to_owned();
            })
            .await;
        let online = fixture.lesson(|_| ()).await;
        fixture
            .cancel_occurrence(s.teacher, &online, online.start_time)
            .await
            .unwrap();
        set_time(&fixture, "2026-09-01T09:00:00Z");
        assert_eq!(reason(&fixture.join(s.pupil, &in_person).await), "NOT_ONLINE");
        assert_eq!(reason(&fixture.join(s.pupil, &hybrid).await), "OK");
        assert_eq!(
            reason(&fixture.join(s.pupil, &online).await),
            "OCCURRENCE_CANCELED"
        );
        let unknown = Some(prost_types::Timestamp {
            seconds: 1_788_253_260,
            nanos: 0,
        });
        assert_eq!(
            reason(&fixture.join_at(s.pupil, &hybrid, unknown).await),
            "NOT_FOUND"
        );
    }
);
