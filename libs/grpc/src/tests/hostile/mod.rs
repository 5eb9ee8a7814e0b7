//! Clients that use HTTP/2 against the server: they send slowly, do not read, or say nothing.
mod raw;

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    Limits,
    server::{ConnectionLimits, Connections, ServeOptions},
};
use parta_testkit::run_paused;
use tokio::time::Instant;

use self::raw::{Ending, RawServer};
use super::test_env::{GET_CHAT, RESOLVE, SUBMIT, SUBSCRIBE, TestEnv};

const STALL: Duration = Duration::from_secs(20);
const OPTIONS: ServeOptions = ServeOptions {
    max_connection_age: None,
    max_streams_per_connection: Some(8),
    stall: Some(STALL),
};

fn env(limits: Limits) -> TestEnv {
    TestEnv::with(limits, chrono::TimeDelta::minutes(10))
}

fn one_of_each() -> Limits {
    Limits {
        calls: 1,
        streams: 1,
        ..Limits::default()
    }
}

fn serve(test_env: &TestEnv, limits: ConnectionLimits) -> RawServer {
    RawServer::start(test_env, OPTIONS, Connections::new(limits))
}

const ONE: &str = "192.0.2.1";
const OTHER: &str = "192.0.2.2";

#[test]
fn request_that_does_not_arrive_is_refused() {
    run_paused(async {
        let test_env = env(Limits {
            receive: Duration::from_secs(40),
            ..Limits::default()
        });
        let (server, person) = (serve(&test_env, ConnectionLimits::default()), test_env.person().0);
        let client = server.connect(ONE).await;
        for (path, within) in [(SUBMIT, 40), (SUBSCRIBE, 40), (GET_CHAT, 30)] {
            let begun = Instant::now();
            // Everyone submits without a credential.
            let token = Some(person.as_str()).filter(|_| path != SUBMIT);
            let mut call = client.begin(path, token).await;
            call.send_partly();
            assert_eq!(
                call.end().await,
                Ending::Refused("DEADLINE_EXCEEDED".into()),
                "{path}"
            );
            assert_eq!(begun.elapsed().as_secs(), within, "{path}");
        }
    });
}

#[test]
fn request_that_is_not_grpc_is_not_executed() {
    run_paused(async {
        let test_env = TestEnv::new();
        let server = serve(&test_env, ConnectionLimits::default());
        let (client, person) = (server.connect(ONE).await, test_env.person().0);
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/json"),
            Some("application/grpc-web"),
        ] {
            let status = client.post(GET_CHAT, &person, content_type).await;
            assert_eq!(status, 415, "{content_type:?}");
        }
        assert_eq!(test_env.seen.calls.load(Ordering::SeqCst), 0);
        let status = client
            .post(GET_CHAT, &person, Some("application/grpc+proto"))
            .await;
        assert_eq!(status, 200);
        assert_eq!(test_env.seen.calls.load(Ordering::SeqCst), 1);
    });
}

/// A client that always sends something is not faster for it.
#[test]
fn request_that_trickles_is_refused() {
    run_paused(async {
        let test_env = env(Limits {
            receive: Duration::from_secs(40),
            ..Limits::default()
        });
        let server = serve(&test_env, ConnectionLimits::default());
        let client = server.connect(ONE).await;
        let mut call = client.begin(SUBMIT, None).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(39) {
            call.send("more");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(call.end().await, Ending::Refused("DEADLINE_EXCEEDED".into()));
        assert_eq!(begun.elapsed().as_secs(), 40);
    });
}

#[test]
fn uploads_beyond_their_bytes_are_refused_and_calls_are_not() {
    const KIB: usize = 1_024;
    run_paused(async {
        let test_env = TestEnv::new();
        let limits = ConnectionLimits {
            request_bytes: 400 * KIB as u64,
            ..ConnectionLimits::default()
        };
        let server = serve(&test_env, limits);
        let (client, other) = (server.connect(ONE).await, server.connect(OTHER).await);
        let person = test_env.person().0;
        let too_many = Ending::Refused("TOO_MANY_REQUEST_BYTES".into());

        let mut first = client.begin(SUBMIT, None).await;
        first.send(&"x".repeat(250 * KIB));
        test_env.seen.entered.notified().await;
        // The client may have three quarters.
        let mut second = client.begin(SUBMIT, None).await;
        second.send(&"x".repeat(100 * KIB));
        let refused = second.end().await;
        assert_eq!(refused, too_many);
        // Each client stream counts from its begin.
        let mut third = client.begin(SUBMIT, None).await;
        third.send("x");
        assert_eq!(third.end().await, too_many);
        let mut small = client.begin(GET_CHAT, Some(&person)).await;
        small.send_last("small");
        assert_eq!(small.end().await, Ending::Ok);
        let mut large = client.begin(GET_CHAT, Some(&person)).await;
        large.send_last(&"x".repeat(150 * KIB));
        assert_eq!(large.end().await, too_many);

        // The other client has the rest.
        let mut beside = other.begin(SUBMIT, None).await;
        beside.send_last(&"x".repeat(100 * KIB));
        assert_eq!(beside.end().await, Ending::Ok);
        first.send_last("x");
        assert_eq!(first.end().await, Ending::Ok);
        let mut again = client.begin(SUBMIT, None).await;
        again.send_last(&"x".repeat(250 * KIB));
        assert_eq!(again.end().await, Ending::Ok);
    });
}

#[test]
fn old_connection_takes_no_new_call_and_completes_the_open_ones() {
    const AGE: Duration = Duration::from_secs(5);
    run_paused(async {
        let test_env = TestEnv::new();
        let options = ServeOptions {
            max_connection_age: Some(AGE),
            ..OPTIONS
        };
        let server = RawServer::start(&test_env, options, Connections::new(ConnectionLimits::default()));
        let client = server.connect(ONE).await;
        let mut upload = client.begin(SUBMIT, None).await;
        upload.send("before");
        test_env.seen.entered.notified().await;
        assert!(client.accepts_calls().await);
        tokio::time::sleep(AGE + Duration::from_secs(1)).await;
        assert!(!client.accepts_calls().await);
        upload.send_last("after");
        assert_eq!(upload.end().await, Ending::Ok);
        client.closed().await;
        let person = test_env.person().0;
        let again = server.connect(ONE).await;
        assert_eq!(again.call(GET_CHAT, &person).await, Ending::Ok);
    });
}

#[test]
fn cancelled_upload_is_not_taken_for_a_complete_one() {
    run_paused(async {
        let test_env = TestEnv::new();
        let server = serve(&test_env, ConnectionLimits::default());
        let client = server.connect(ONE).await;
        let mut call = client.begin(SUBMIT, None).await;
        call.send("half");
        test_env.seen.entered.notified().await;
        call.cancel();
        test_env.seen.entered.notified().await;
        assert_eq!(
            test_env.seen.uploads.load(Ordering::SeqCst),
            0,
            "complete uploads"
        );
    });
}

/// A client that is killed in the middle of its request is no fault of the server: nothing is logged as one.
#[test]
fn disconnection_within_a_request_is_not_a_fault() {
    run_paused(async {
        let test_env = TestEnv::new();
        let server = serve(&test_env, ConnectionLimits::default());
        let person = test_env.person().0;
        for path in [GET_CHAT, SUBSCRIBE] {
            let client = server.connect(ONE).await;
            let mut call = client.begin(path, Some(&person)).await;
            call.send_partly();
            tokio::task::yield_now().await;
            client.disconnect();
            client.closed().await;
        }
        // The stop waits for the calls.
        server.stop().await;
    });
}

#[test]
fn connection_has_a_limited_number_of_streams() {
    run_paused(async {
        let test_env = TestEnv::new();
        let server = serve(&test_env, ConnectionLimits::default());
        let client = server.connect(ONE).await;
        let mut call = client.begin(RESOLVE, None).await;
        call.send_last("");
        assert_eq!(call.end().await, Ending::Ok);
        assert_eq!(client.max_streams(), 8);
    });
}

/// The permits are those of a call and of a stream whose client gives no space for the first byte.
/// A proxy has one connection for many clients. HTTP/2 limits the streams that a side resets because of
/// faults of the other one, and the small frames that nobody has read, over the whole life of a connection.
/// Calls that are refused before their request has arrived, and calls that are canceled, count as neither.
#[test]
fn proxy_connection_survives_refused_and_canceled_calls() {
    /// More than the 1,024 resets that h2 allows.
    const CALLS: usize = 1_500;
    run_paused(async {
        let test_env = TestEnv::new();
        let (server, person) = (serve(&test_env, ConnectionLimits::default()), test_env.person().0);
        let client = server.connect(ONE).await;
        for _ in 0..CALLS {
            let mut refused = client.begin(GET_CHAT, None).await;
            refused.send_partly();
            assert_eq!(refused.end().await, Ending::Refused("CREDENTIAL_MISSING".into()));
            let mut canceled = client.begin(SUBSCRIBE, Some(&person)).await;
            canceled.send_last("");
            canceled.head().await;
            canceled.cancel();
        }
        assert_eq!(client.call(GET_CHAT, &person).await, Ending::Ok);
        assert!(client.accepts_calls().await);
    });
}

#[test]
fn response_that_is_not_read_is_ended() {
    run_paused(async {
        for path in [GET_CHAT, SUBSCRIBE] {
            let test_env = env(one_of_each());
            let (server, person) = (serve(&test_env, ConnectionLimits::default()), test_env.person().0);
            let (client, other) = (
                server.connect_with_window(ONE, 0).await,
                server.connect(OTHER).await,
            );
            let begun = Instant::now();
            let mut unread = client.begin(path, Some(&person)).await;
            unread.send_last("short");
            unread.head().await;
            assert_eq!(
                other.call(path, &person).await,
                Ending::Refused("OVERLOADED".into()),
                "{path}"
            );
            assert_eq!(unread.end().await, Ending::Reset, "{path}");
            assert_eq!(begun.elapsed(), STALL, "{path}");
            assert_eq!(other.call(path, &person).await, Ending::Ok, "{path}");
        }
    });
}

#[test]
fn idle_stream_is_not_ended() {
    run_paused(async {
        let test_env = TestEnv::new();
        let (server, person) = (serve(&test_env, ConnectionLimits::default()), test_env.person().0);
        let client = server.connect(ONE).await;
        let mut stream = client.begin(SUBSCRIBE, Some(&person)).await;
        stream.send_last("");
        let ended = tokio::time::timeout(10 * STALL, stream.end()).await;
        assert!(ended.is_err(), "{ended:?}");
    });
}

/// The transport takes the whole response, so that the stream has ended for the server.
#[test]
fn connection_with_a_partly_read_response_is_closed() {
    run_paused(async {
        let test_env = env(one_of_each());
        let (server, person) = (serve(&test_env, ConnectionLimits::default()), test_env.person().0);
        let client = server.connect_with_window(ONE, 1).await;
        let begun = Instant::now();
        let mut unread = client.begin(GET_CHAT, Some(&person)).await;
        unread.send_last("");
        unread.head().await;
        client.closed().await;
        assert!(
            (STALL..=2 * STALL).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
    });
}

#[test]
fn unread_stream_ends_with_its_session() {
    run_paused(async {
        let test_env = env(one_of_each());
        let server = RawServer::start(
            &test_env,
            ServeOptions {
                stall: None,
                ..OPTIONS
            },
            Connections::new(ConnectionLimits::default()),
        );
        let (person, session) = test_env.person();
        let client = server.connect_with_window(ONE, 0).await;
        let mut unread = client.begin(SUBSCRIBE, Some(&person)).await;
        unread.send_last("");
        unread.head().await;
        test_env.verifier.revoke_session(session);
        let begun = Instant::now();
        assert_eq!(unread.end().await, Ending::Reset);
        assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

#[test]
fn unread_stream_does_not_delay_the_stop() {
    run_paused(async {
        let test_env = TestEnv::new();
        let (server, person) = (serve(&test_env, ConnectionLimits::default()), test_env.person().0);
        let client = server.connect_with_window(ONE, 0).await;
        let mut unread = client.begin(SUBSCRIBE, Some(&person)).await;
        unread.send_last("");
        unread.head().await;
        let begun = Instant::now();
        test_env.draining.cancel();
        server.stop().await;
        assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}

/// One has sent nothing, one only the preface: it does not acknowledge GOAWAY.
#[test]
fn silent_connections_do_not_delay_the_stop() {
    run_paused(async {
        let test_env = TestEnv::new();
        let server = serve(&test_env, ConnectionLimits::default());
        let _silent = server.open(ONE).unwrap();
        let mut prefaced = server.open(ONE).unwrap();
        raw::send_preface(&mut prefaced).await;
        let begun = Instant::now();
        server.stop().await;
        assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}

#[test]
fn connection_without_a_preface_is_closed() {
    run_paused(async {
        let test_env = TestEnv::new();
        let server = serve(&test_env, ConnectionLimits::default());
        for sent in ["", "PRI * HTT"] {
            let begun = Instant::now();
            let mut silent = server.open(ONE).unwrap();
            raw::send(&mut silent, sent).await;
            raw::closed(&mut silent).await;
            assert_eq!(begun.elapsed().as_secs(), 10, "{sent}");
        }
        let mut other_protocol = server.open(ONE).unwrap();
        raw::send(&mut other_protocol, "GET / HTTP/1.1\r\nHost: school\r\n\r\n").await;
        let begun = Instant::now();
        raw::closed(&mut other_protocol).await;
        assert!(begun.elapsed().is_zero());
    });
}

#[test]
fn silent_connections_do_not_lock_out_their_address() {
    run_paused(async {
        let test_env = TestEnv::new();
        let limits = ConnectionLimits {
            opening_per_client: 2,
            ..ConnectionLimits::default()
        };
        let server = serve(&test_env, limits);
        let mut silent: Vec<_> = (0..3).map(|_| server.open(ONE).unwrap()).collect();
        let begun = Instant::now();
        raw::closed(&mut silent[0]).await;
        let client = server.connect(ONE).await;
        let mut call = client.begin(RESOLVE, None).await;
        call.send_last("");
        assert_eq!(call.end().await, Ending::Ok);
        assert!(begun.elapsed().is_zero(), "{:?}", begun.elapsed());
    });
}
