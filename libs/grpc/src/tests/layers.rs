//! The layers of servers and clients.
use std::{sync::atomic::Ordering, time::Duration};

use super::test_env::{
    ADMIT, ANNOUNCE, GET_CHAT, Note, RESOLVE, SUBSCRIBE, TestEnv, WATCH, bearer, call, note, open, reason,
    refused,
};
use crate::{Limits, RequestExt as _, TRACE_ID};
use parta_access::ServiceAccountPermission;
use parta_status::RpcError;
use tonic::{Code, Request};

#[test]
fn layers_are_in_the_documented_order() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        assert_eq!(
            test_env.server_layers(),
            [
                "catch_panic",
                "trace",
                "metrics",
                "trace_id",
                "status",
                "shed",
                "deadline",
                "authenticate",
                "receive",
                "capture_request"
            ]
        );
        assert_eq!(
            test_env.outside().names(),
            ["trace", "metrics", "retry", "deadline", "credentials"]
        );
    });
}

#[test]
fn each_rpc_accepts_exactly_the_callers_of_its_rule() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let (person, _) = test_env.person();
        let (watcher, reader) = (
            test_env.service_account(ServiceAccountPermission::MembershipFeedRead),
            test_env.service_account(ServiceAccountPermission::RosterRead),
        );
        let (joiner, operator) = (test_env.joiner(), test_env.operator.clone());
        let out = || test_env.outside();

        assert_eq!(
            refused(call(out(), GET_CHAT, note("")).await),
            "CREDENTIAL_MISSING"
        );
        assert_eq!(refused(call(out(), GET_CHAT, bearer("", &person)).await), "OK");
        assert_eq!(
            refused(call(out(), GET_CHAT, bearer("", &operator)).await),
            "CALLER_NOT_ACCEPTED"
        );
        assert_eq!(
            refused(call(out(), GET_CHAT, bearer("", &joiner)).await),
            "CALLER_NOT_ACCEPTED"
        );
        assert_eq!(
            refused(call(out(), GET_CHAT, bearer("", &watcher)).await),
            "CALLER_NOT_ACCEPTED"
        );
        assert_eq!(
            refused(call(test_env.service("invitation", "chat"), GET_CHAT, note("")).await),
            "CALLER_NOT_ACCEPTED"
        );

        assert_eq!(refused(call(out(), RESOLVE, note("")).await), "OK");
        assert_eq!(refused(call(out(), RESOLVE, bearer("", &joiner)).await), "OK");

        // The two service accounts differ in the permission that the rule names.
        assert_eq!(refused(open(out(), WATCH, bearer("", &watcher)).await), "OK");
        assert_eq!(
            refused(open(out(), WATCH, bearer("", &reader)).await),
            "CALLER_NOT_ACCEPTED"
        );
        assert_eq!(
            refused(open(out(), WATCH, bearer("", &person)).await),
            "CALLER_NOT_ACCEPTED"
        );
        // `*` accepts any service of Parta; a name accepts only that service.
        assert_eq!(
            refused(open(test_env.service("chat", "membership"), WATCH, note("")).await),
            "OK"
        );
        assert_eq!(
            refused(call(test_env.service("invitation", "membership"), ADMIT, note("")).await),
            "OK"
        );
        assert_eq!(
            refused(call(test_env.service("chat", "membership"), ADMIT, note("")).await),
            "CALLER_NOT_ACCEPTED"
        );
        assert_eq!(
            refused(call(out(), ADMIT, bearer("", &person)).await),
            "CALLER_NOT_ACCEPTED"
        );
    });
}

#[test]
fn forged_and_misdirected_credentials_are_refused() {
    parta_testkit::run(async {
        let (test_env, other) = (TestEnv::new(), TestEnv::new());
        let (foreign, _) = other.person();
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &foreign)).await),
            "CREDENTIAL_INVALID"
        );
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &other.operator)).await),
            "CREDENTIAL_INVALID"
        );
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", "not a token")).await),
            "CREDENTIAL_INVALID"
        );
        let mut basic = note("");
        basic
            .metadata_mut()
            .insert("authorization", "Basic dXNlcjpwYXNz".parse().unwrap());
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, basic).await),
            "CREDENTIAL_INVALID"
        );
        // A token that invitation issued for chat is not valid at membership.
        assert_eq!(
            refused(call(test_env.service("invitation", "chat"), ADMIT, note("")).await),
            "CREDENTIAL_INVALID"
        );
    });
}

#[test]
fn service_acts_for_a_person_only_with_their_token() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let (person, _) = test_env.person();
        let calls = || test_env.service("call-scheduling", "chat");
        let response = call(calls(), ANNOUNCE, note("").on_behalf(person.as_str().into()))
            .await
            .unwrap()
            .into_inner()
            .text;
        assert!(
            response.starts_with("service/call-scheduling for org_"),
            "{response}"
        );
        assert_eq!(
            refused(call(calls(), ANNOUNCE, note("")).await),
            "CALLER_NOT_ACCEPTED"
        );
        assert_eq!(
            refused(call(test_env.outside(), ANNOUNCE, bearer("", &person)).await),
            "CALLER_NOT_ACCEPTED"
        );
        let joiner = test_env.joiner();
        assert_eq!(
            refused(call(calls(), ANNOUNCE, note("").on_behalf(joiner.into())).await),
            "CALLER_NOT_ACCEPTED"
        );
        let wrong = test_env.service("invitation", "chat");
        assert_eq!(
            refused(call(wrong, ANNOUNCE, note("").on_behalf(person.into())).await),
            "CALLER_NOT_ACCEPTED"
        );
    });
}

#[test]
fn unserved_rpcs_are_unimplemented() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        for path in [
            "/parta.chat.v1.ChatService/NoSuchRpc",
            "/no.Such/Rpc",
            "/parta.chat.v1.MessageService/SendMessage",
        ] {
            let status = call(test_env.outside(), path, note("")).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented, "{path}");
        }
    });
}

#[test]
fn call_to_a_package_that_the_client_does_not_list_is_not_sent() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("internal fault");
        let test_env = TestEnv::new();
        let (token, _) = test_env.person();
        let refused = call(test_env.without_packages(), GET_CHAT, bearer("hi", &token)).await;
        assert_eq!(reason(&refused.unwrap_err()), "INTERNAL");
        assert_eq!(test_env.seen.calls.load(Ordering::SeqCst), 0);
    });
}

/// Invariant 9: no input panics a service, and if one does, it costs one call.
#[test]
fn panic_fails_one_call_and_returns_its_trace_id() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("panicked");
        parta_testkit::logs().allow("internal fault");
        let test_env = TestEnv::new();
        let status = call(test_env.outside(), RESOLVE, note("panic"))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Internal, "INTERNAL")
        );
        assert!(!status.message().contains("as requested"), "no internal details");
        assert_eq!(status.metadata().get(TRACE_ID).unwrap().len(), 32);
        let mut stream = open(test_env.service("chat", "membership"), WATCH, note("panic"))
            .await
            .unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        assert_eq!(reason(&stream.message().await.unwrap_err()), "INTERNAL");
        assert_eq!(refused(call(test_env.outside(), RESOLVE, note("")).await), "OK");
    });
}

#[test]
fn every_refusal_has_a_reason_and_no_internal_detail() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("internal fault");
        let test_env = TestEnv::new();
        let status = call(test_env.outside(), RESOLVE, note("undocumented"))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Internal, "INTERNAL")
        );
        assert!(!status.message().contains("detail"), "{}", status.message());

        let huge = note(&"x".repeat(5 * 1024 * 1024));
        let status = call(test_env.outside(), RESOLVE, huge).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "FIELD_INVALID")
        );

        let mut grpc = tonic::client::Grpc::new(test_env.outside());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Garbage, Note>::default();
        let status = grpc
            .unary(
                Request::new(Garbage { number: 7 }),
                RESOLVE.parse().unwrap(),
                codec,
            )
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "FIELD_INVALID")
        );
    });
}

/// The same field with another wire type.
#[derive(Clone, PartialEq, prost::Message)]
struct Garbage {
    #[prost(int64, tag = "1")]
    number: i64,
}

#[test]
fn server_replies_before_the_deadline_of_the_caller() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let mut request = note("wait");
        request.set_timeout(Duration::from_millis(400));
        let status = call(test_env.outside(), RESOLVE, request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        );
        // Only a response of the server carries it.
        assert!(status.metadata().contains_key(TRACE_ID));
    });
}

#[test]
fn calls_and_streams_beyond_their_limits_are_refused() {
    parta_testkit::run(async {
        let test_env = TestEnv::with(
            Limits {
                calls: 1,
                streams: 1,
                ..Limits::default()
            },
            chrono::TimeDelta::minutes(10),
        );
        let (person, _) = test_env.person();
        let (out, held) = (test_env.outside(), bearer("wait", &person));
        let waiting = test_env.tracker.spawn(call(out, GET_CHAT, held));
        test_env.seen.entered.notified().await;

        let status = call(test_env.outside(), GET_CHAT, bearer("", &person))
            .await
            .unwrap_err();
        let refusal = RpcError::from_status(&status).unwrap();
        assert_eq!(
            (status.code(), refusal.reason()),
            (Code::Unavailable, "OVERLOADED")
        );
        assert!(refusal.retry_delay().is_some());
        assert_eq!(
            test_env.seen.calls.load(Ordering::SeqCst),
            1,
            "nothing was done for it"
        );
        // The limit of another service in the same process is not reached.
        assert_eq!(refused(call(test_env.outside(), RESOLVE, note("")).await), "OK");

        let first = open(test_env.outside(), SUBSCRIBE, bearer("", &person))
            .await
            .unwrap();
        assert_eq!(
            refused(open(test_env.outside(), SUBSCRIBE, bearer("", &person)).await),
            "OVERLOADED"
        );

        test_env.seen.release.notify_one();
        assert_eq!(waiting.await.unwrap().unwrap().into_inner().text, "waited");
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &person)).await),
            "OK"
        );
        drop(first);
    });
}

#[test]
fn streams_of_a_service_account_are_limited() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let (one, other) = (
            test_env.service_account(ServiceAccountPermission::MembershipFeedRead),
            test_env.service_account(ServiceAccountPermission::MembershipFeedRead),
        );
        let watch = |token: String| {
            let channel = test_env.outside();
            async move { open(channel, WATCH, bearer("", &token)).await }
        };
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(watch(one.clone()).await.unwrap());
        }
        let status = watch(one.clone()).await.unwrap_err();
        let refusal = RpcError::from_status(&status).unwrap();
        assert_eq!(
            (status.code(), refusal.reason()),
            (Code::ResourceExhausted, "TOO_MANY_STREAMS")
        );
        assert!(refusal.retry_delay().is_some());
        watch(other).await.unwrap();

        // All end when the server drains, and each gives its place back.
        test_env.draining.cancel();
        for mut stream in held {
            assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
            assert_eq!(reason(&stream.message().await.unwrap_err()), "NOT_SERVING");
        }
        watch(one).await.unwrap();
    });
}

#[test]
fn stream_ends_with_its_credential() {
    parta_testkit::run(async {
        let test_env = TestEnv::with(Limits::default(), chrono::TimeDelta::seconds(2));
        let (person, _) = test_env.person();
        let mut stream = open(test_env.outside(), SUBSCRIBE, bearer("", &person))
            .await
            .unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        assert_eq!(reason(&stream.message().await.unwrap_err()), "CREDENTIAL_EXPIRED");
        assert_eq!(
            refused(open(test_env.outside(), SUBSCRIBE, bearer("", &person)).await),
            "CREDENTIAL_EXPIRED"
        );
    });
}

#[test]
fn revoked_session_is_refused() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let (person, session) = test_env.person();
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &person)).await),
            "OK"
        );
        test_env.verifier.revoke_session(session);
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &person)).await),
            "CREDENTIAL_REVOKED"
        );
    });
}

#[test]
fn draining_server_ends_streams_and_completes_calls() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let (person, _) = test_env.person();
        let mut stream = open(test_env.outside(), SUBSCRIBE, bearer("", &person))
            .await
            .unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        let waiting = test_env
            .tracker
            .spawn(call(test_env.outside(), GET_CHAT, bearer("wait", &person)));
        test_env.seen.entered.notified().await;

        test_env.stop.cancel();
        test_env.draining.cancel();
        let status = stream.message().await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "NOT_SERVING")
        );
        test_env.seen.release.notify_one();
        assert_eq!(waiting.await.unwrap().unwrap().into_inner().text, "waited");
        test_env.tracker.close();
        test_env.tracker.wait().await;
        assert_eq!(
            refused(call(test_env.outside(), GET_CHAT, bearer("", &person)).await),
            "DEPENDENCY_UNAVAILABLE"
        );
    });
}

#[test]
fn stream_that_ends_by_itself_ends_with_ok() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let (person, _) = test_env.person();
        let mut stream = open(test_env.outside(), SUBSCRIBE, bearer("short", &person))
            .await
            .unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        assert_eq!(stream.message().await.unwrap(), None);
    });
}

#[test]
fn trace_of_the_caller_is_continued_and_returned() {
    parta_testkit::run(async {
        let test_env = TestEnv::new();
        let mut request = note("");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        request
            .metadata_mut()
            .insert("traceparent", parent.parse().unwrap());
        let response = call(test_env.outside(), RESOLVE, request).await.unwrap();
        assert_eq!(
            response.metadata().get(TRACE_ID).unwrap(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        let fresh = call(test_env.outside(), RESOLVE, note("")).await.unwrap();
        assert_ne!(
            fresh.metadata().get(TRACE_ID).unwrap(),
            "0af7651916cd43dd8448eb211c80319c"
        );
    });
}

/// The layers report every refusal of unary calls and streams to the tests.
#[test]
fn reason_missing_from_the_comment_fails_the_test() {
    for streams in [false, true] {
        let test = || {
            parta_testkit::run(async {
                let test_env = TestEnv::new();
                let request = bearer("etag", &test_env.person().0);
                if streams {
                    let mut stream = open(test_env.outside(), SUBSCRIBE, request).await.unwrap();
                    stream.message().await.unwrap();
                    stream.message().await.unwrap_err();
                } else {
                    call(test_env.outside(), GET_CHAT, request).await.unwrap_err();
                }
            });
        };
        let panic = std::panic::catch_unwind(test).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(": ETAG_MISMATCH of parta"), "{message}");
    }
}
