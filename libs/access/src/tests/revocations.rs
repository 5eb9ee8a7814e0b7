//! Revocations that membership lists.
use std::time::Duration;

use parta_ids::{ServiceAccountKeyId, SessionId};
use parta_testkit::run_paused;
use tokio::time::{Instant, advance};

use super::*;

struct Polled {
    test: TestEnv,
    session: SessionId,
    token: String,
}

impl Polled {
    fn new() -> Self {
        let mut test = test_env();
        test.verifier = test.verifier.polled();
        let session = test.env.id();
        let token = test.issuer.person(test.env.id(), test.env.id(), session).unwrap();
        Self {
            test,
            session,
            token: token.text,
        }
    }

    fn list(&self, sessions: &[SessionId]) {
        let list = Revoked {
            sessions: sessions.to_vec(),
            ..Revoked::default()
        };
        let recorded = self.test.verifier.record_revocations(Instant::now(), Some(&list));
        recorded.unwrap();
    }

    async fn reason(&self) -> Option<&'static str> {
        let refused = self.test.verifier.caller(&self.token, "rpc").await.err()?;
        for reason in [ErrorReason::CredentialRevoked, ErrorReason::ProjectionStale] {
            if refused.is(reason) {
                return Some(reason.as_str_name());
            }
        }
        panic!("{refused:?}")
    }
}

const STALE: Option<&str> = Some("ERROR_REASON_PROJECTION_STALE");
const REVOKED: Option<&str> = Some("ERROR_REASON_CREDENTIAL_REVOKED");

#[test]
fn people_are_refused_30_seconds_after_the_last_response() {
    run_paused(async {
        let polled = Polled::new();
        polled.list(&[]);
        assert_eq!(polled.reason().await, None);
        advance(Duration::from_secs(30)).await;
        assert_eq!(polled.reason().await, None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(polled.reason().await, STALE);
        // The age counts from the request and not from the response.
        let requested_at = Instant::now();
        advance(Duration::from_secs(20)).await;
        polled
            .test
            .verifier
            .record_revocations(requested_at, None)
            .unwrap();
        assert_eq!(polled.reason().await, None);
        advance(Duration::from_secs(11)).await;
        assert_eq!(polled.reason().await, STALE);
        // A join ticket belongs to a session, which may have ended.
        let joiner = ticket(&polled.test.issuer, &polled.test.env);
        let refused = polled.test.verifier.caller(&joiner, "rpc").await;
        assert_eq!(refused.unwrap_err().reason(), "PROJECTION_STALE");
        let service = Principal::Service { name: "chat".into() };
        assert!(polled.test.verifier.require_current(&service).is_ok());
    });
}

#[test]
fn first_call_waits_for_the_first_response() {
    run_paused(async {
        let polled = Polled::new();
        let begun = Instant::now();
        assert_eq!(polled.reason().await, STALE);
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        assert!(!polled.test.verifier.knows_revocations());
        let poll = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            polled.list(&[polled.session]);
        };
        let (reason, ()) = tokio::join!(polled.reason(), poll);
        assert_eq!(reason, REVOKED);
        assert!(polled.test.verifier.knows_revocations());
    });
}

#[test]
fn listed_revocation_is_kept_until_its_tokens_have_expired() {
    run_paused(async {
        let polled = Polled::new();
        polled.list(&[polled.session]);
        // Another replica of membership that read earlier, and the response `unchanged`.
        polled.list(&[]);
        assert_eq!(polled.reason().await, REVOKED);
        let verifier = &polled.test.verifier;
        verifier.record_revocations(Instant::now(), None).unwrap();
        assert_eq!(polled.reason().await, REVOKED);
        let principal = Principal::Person {
            org_id: polled.test.env.id(),
            member_id: polled.test.env.id(),
            session_id: polled.session,
        };
        polled.test.clock.advance(TimeDelta::minutes(10));
        assert!(verifier.is_revoked(&principal));
        polled.test.clock.advance(TimeDelta::seconds(10));
        assert!(!verifier.is_revoked(&principal));
        assert!(REVOCATION_LIFETIME > TimeDelta::minutes(10) + TimeDelta::seconds(10));
    });
}

#[test]
fn response_with_too_many_revocations_does_not_count() {
    run_paused(async {
        let polled = Polled::new();
        let list = Revoked {
            sessions: vec![polled.session; MAX_REVOCATIONS],
            service_account_keys: vec![polled.test.env.id()],
        };
        let verifier = &polled.test.verifier;
        assert!(verifier.record_revocations(Instant::now(), Some(&list)).is_err());
        assert!(!verifier.knows_revocations());
    });
}

#[test]
fn watch_wakes_for_its_own_revocation_only() {
    run_paused(async {
        let polled = Polled::new();
        let key_id: ServiceAccountKeyId = polled.test.env.id();
        let account = Principal::ServiceAccount {
            org_id: polled.test.env.id(),
            id: polled.test.env.id(),
            key_id,
            permissions: BTreeSet::new(),
        };
        let verifier = &polled.test.verifier;
        let (first, second) = (verifier.watch(&account), verifier.watch(&account));
        // Not polled before the revocation.
        let revoked = first.revoked();
        drop(second);
        verifier.revoke_session(polled.session);
        let waiting = tokio::time::timeout(Duration::from_secs(60), first.revoked()).await;
        assert!(waiting.is_err(), "another revocation woke the watch");
        verifier.revoke_service_account_keys(vec![key_id]);
        tokio::time::timeout(Duration::ZERO, revoked).await.unwrap();
    });
}
