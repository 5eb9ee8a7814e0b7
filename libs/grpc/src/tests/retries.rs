//! The repetition of refused calls by the client.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{Patience, RequestExt as _, Target};
use parta_status::RpcError;
use tokio::time::Instant;

use super::test_env::{RESOLVE, TestEnv, call, note, refused};

#[test]
fn only_idempotent_requests_are_retried() {
    parta_testkit::run_paused(async {
        let test_env = TestEnv::new();
        assert_eq!(
            refused(call(test_env.outside(), RESOLVE, note("busy twice")).await),
            "DEPENDENCY_UNAVAILABLE"
        );
        assert_eq!(test_env.seen.calls.swap(0, Ordering::SeqCst), 1);
        assert_eq!(
            refused(call(test_env.outside(), RESOLVE, note("busy twice").idempotent()).await),
            "OK"
        );
        assert_eq!(test_env.seen.calls.swap(0, Ordering::SeqCst), 3);
        // Without RetryInfo, a call is not retried.
        assert_eq!(
            refused(call(test_env.outside(), RESOLVE, note("no retry info").idempotent()).await),
            "NOT_SERVING"
        );
        assert_eq!(test_env.seen.calls.load(Ordering::SeqCst), 1);
    });
}

/// Returns the outcome of a call with a patience of 30 seconds, its duration and the number of notices.
async fn call_patiently(test_env: &TestEnv, text: &str) -> (String, Duration, usize) {
    let notices = Arc::new(AtomicUsize::new(0));
    let counted = notices.clone();
    let patience = Patience {
        limit: Duration::from_secs(30),
        notice_after: Duration::from_secs(3),
        notice: Arc::new(move |refusal| {
            assert_eq!(refusal.reason(), "DEPENDENCY_UNAVAILABLE");
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let begun = Instant::now();
    let outcome = call(test_env.patient(patience), RESOLVE, note(text).idempotent()).await;
    (refused(outcome), begun.elapsed(), notices.load(Ordering::SeqCst))
}

#[test]
fn patient_client_retries_until_the_server_responds() {
    parta_testkit::run_paused(async {
        let test_env = TestEnv::new();
        let (outcome, lasted, notices) = call_patiently(&test_env, "busy five times").await;
        assert_eq!((outcome.as_str(), notices), ("OK", 1));
        assert_eq!(test_env.seen.calls.load(Ordering::SeqCst), 6);
        // RetryInfo says one second, and up to half a second is added.
        assert!((5.0..7.6).contains(&lasted.as_secs_f64()), "{lasted:?}");
    });
}

#[test]
fn patient_client_gives_up_at_the_limit() {
    parta_testkit::run_paused(async {
        let test_env = TestEnv::new();
        let (outcome, lasted, notices) = call_patiently(&test_env, "busy").await;
        assert_eq!((outcome.as_str(), notices), ("DEPENDENCY_UNAVAILABLE", 1));
        assert!((28.0..=30.0).contains(&lasted.as_secs_f64()), "{lasted:?}");
        // Without RetryInfo, patience does not matter.
        let (outcome, lasted, notices) = call_patiently(&test_env, "no retry info").await;
        assert_eq!((outcome.as_str(), notices), ("NOT_SERVING", 0));
        assert!(lasted < Duration::from_secs(1), "{lasted:?}");
    });
}

#[test]
fn absent_service_is_an_unavailable_dependency() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        // Bound and dropped, so that no listener uses this port.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let channel = test_env
            .client()
            .channel("chat", Target::Uri(format!("http://{address}")))
            .unwrap();
        let status = call(channel, RESOLVE, note("").idempotent()).await.unwrap_err();
        let refusal = RpcError::from_status(&status).unwrap();
        assert_eq!(
            (refusal.reason(), refusal.metadata("dependency")),
            ("DEPENDENCY_UNAVAILABLE", Some("chat"))
        );
        assert!(
            !status.message().contains("127.0.0.1"),
            "addresses are not disclosed"
        );
    });
}
