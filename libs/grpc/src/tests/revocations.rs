//! Revocations and their age end calls and streams.
use std::time::Duration;

use parta_access::Revoked;
use parta_status::RpcError;
use tokio::time::{Instant, advance, timeout};
use tonic::Code;

use super::test_env::{ADMIT, GET_CHAT, SUBSCRIBE, TestEnv, bearer, call, note, open, reason, refused};

#[test]
fn stream_ends_at_once_when_its_session_is_revoked() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let ((person, session), (other, _)) = (test_env.person(), test_env.person());
        let mut streams = Vec::new();
        for token in [&person, &person, &other] {
            let stream = open(test_env.outside(), SUBSCRIBE, bearer("", token)).await;
            streams.push(stream.unwrap());
        }
        for stream in &mut streams {
            assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        }
        let mut remaining = streams.pop().unwrap();
        test_env.verifier.revoke_session(session);
        for mut stream in streams {
            let end = timeout(Duration::from_secs(2), stream.message()).await.unwrap();
            assert_eq!(reason(&end.unwrap_err()), "CREDENTIAL_REVOKED");
        }
        test_env.draining.cancel();
        let end = remaining.message().await.unwrap_err();
        assert_eq!(reason(&end), "NOT_SERVING", "the others stay open");
    });
}

#[test]
fn people_are_refused_while_revocations_are_unknown() {
    parta_testkit::run_paused(async {
        let test_env = TestEnv::polled();
        let (person, _) = test_env.person();
        let list = Revoked::default();
        let record = |list| test_env.verifier.record_revocations(Instant::now(), list);
        record(Some(&list)).unwrap();
        let mut stream = open(test_env.outside(), SUBSCRIBE, bearer("", &person))
            .await
            .unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        let begun = Instant::now();
        let end = stream.message().await.unwrap_err();
        assert_eq!(
            (end.code(), reason(&end).as_str()),
            (Code::Unavailable, "PROJECTION_STALE")
        );
        let open_for = begun.elapsed().as_secs();
        assert!((30..=45).contains(&open_for), "{open_for}");
        let status = call(test_env.outside(), GET_CHAT, bearer("", &person))
            .await
            .unwrap_err();
        let refusal = RpcError::from_status(&status).unwrap();
        assert_eq!(
            (status.code(), refusal.reason()),
            (Code::Unavailable, "PROJECTION_STALE")
        );
        assert!(refusal.retry_delay().is_some());
        // The poll itself is such a call.
        let service = test_env.service("invitation", "membership");
        assert_eq!(refused(call(service, ADMIT, note("")).await), "OK");
        let operator = call(test_env.outside(), GET_CHAT, bearer("", &test_env.operator)).await;
        assert_eq!(refused(operator), "CALLER_NOT_ACCEPTED");
        advance(Duration::from_secs(60)).await;
        record(None).unwrap();
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &person)).await),
            "OK"
        );
    });
}
