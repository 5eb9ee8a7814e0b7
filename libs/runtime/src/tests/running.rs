//! Running services, in one process and standalone.
use std::{collections::BTreeSet, net::TcpListener};

use super::two_services::{CHAT, Client, GET_CHAT, MEMBERSHIP, SUBSCRIBE, ended, person, reason, settings};
use crate::{Running, Service, compose, migrate, start::connection_age, start_standalone};
use parta_ids::Env;
use parta_testkit::{Link, on_postgres};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn health(client: &Client, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.into(),
    };
    HealthClient::new(client.0.clone())
        .check(request)
        .await
        .unwrap()
        .into_inner()
        .status()
}

#[test]
fn lost_database_or_secret_is_an_error_at_start() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let settings = settings(&data, &[]);
        let start = async || {
            let started = compose(&[MEMBERSHIP, CHAT], &settings).await;
            started.map_err(|error| format!("{error:#}"))
        };
        start().await.unwrap().stop().await;

        for (file, named) in [
            ("chat.db", "chat.db is missing"),
            ("keys/suite.secret", "suite.secret is missing"),
        ] {
            let (there, away) = (data.join(file), folder.path().join("away"));
            std::fs::rename(&there, &away).unwrap();
            let refused = start().await.err().unwrap();
            assert!(refused.contains(named), "{refused}");
            assert!(!there.exists());
            std::fs::rename(&away, &there).unwrap();
            start().await.unwrap().stop().await;
        }
        // The operator goes on without the content of a database.
        std::fs::remove_file(data.join("chat.db")).unwrap();
        std::fs::write(data.join("created-databases.txt"), "membership\n").unwrap();
        start().await.unwrap().stop().await;
    });
}

#[cfg(unix)]
#[test]
fn data_is_private_whatever_was_there_before() {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("chat.db"), "").unwrap();
        for open in [data.clone(), data.join("chat.db")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let running = compose(&[MEMBERSHIP, CHAT], &settings(&data, &[])).await.unwrap();
        for private in ["", "chat.db", "chat.db-wal", "membership.db", "keys/suite.secret"] {
            let mode = fs::metadata(data.join(private)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{private}");
        }
        running.stop().await;
    });
}

#[test]
fn one_process_serves_all_services_and_keeps_its_keys() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), &[]);
        let running = compose(&[MEMBERSHIP, CHAT], &settings).await.unwrap();
        let client = Client::of(&running);
        for name in [
            "",
            "parta.chat.v1.ChatService",
            "parta.membership.v1.AuthenticationService",
        ] {
            assert_eq!(health(&client, name).await, ServingStatus::Serving, "{name}");
        }
        // The token is verified with the key that membership returns over the in-memory connection.
        let token = person(folder.path());
        assert!(
            client
                .call(GET_CHAT, Some(&token))
                .await
                .unwrap()
                .starts_with("org_")
        );
        assert_eq!(
            reason(&client.call(GET_CHAT, None).await.unwrap_err()),
            "CREDENTIAL_MISSING"
        );
        let operator = std::fs::read_to_string(running.operator_key_file()).unwrap();
        let refused = client.call(GET_CHAT, Some(operator.trim())).await.unwrap_err();
        assert_eq!(
            reason(&refused),
            "CALLER_NOT_ACCEPTED",
            "the key is known, the kind is not let in"
        );
        assert!(folder.path().join("chat.db").exists() && folder.path().join("membership.db").exists());
        running.stop().await;

        let again = compose(&[MEMBERSHIP, CHAT], &settings).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(again.operator_key_file()).unwrap(),
            operator
        );
        assert!(
            Client::of(&again).call(GET_CHAT, Some(&token)).await.is_ok(),
            "a restart ends no session"
        );
        again.stop().await;
    });
}

#[cfg(unix)]
#[test]
fn generated_keys_are_readable_by_their_owner_only() {
    parta_testkit::run(async {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &[]))
            .await
            .unwrap()
            .stop()
            .await;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder.path().join("keys")).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{entry:?}"
            );
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        let expected = [
            "chat.pem",
            "chat.pub",
            "membership.pem",
            "membership.pub",
            "operator.key",
            "suite.secret",
        ];
        assert!(
            expected.iter().all(|name| names.iter().any(|n| n == name)),
            "{names:?}"
        );
        assert!(names.iter().any(|name| name == "token-signing.pem"), "{names:?}");
    });
}

#[test]
fn shutdown_is_ordered() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let running = compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &[]))
            .await
            .unwrap();
        let client = Client::of(&running);
        let token = person(folder.path());
        let mut stream = client.open(SUBSCRIBE, Some(&token)).await.unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        let mut watch = HealthClient::new(client.0.clone())
            .watch(HealthCheckRequest {
                service: "parta.chat.v1.ChatService".into(),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            watch.message().await.unwrap().unwrap().status(),
            ServingStatus::Serving
        );

        let stopped = running.stop();
        let seen = async {
            let health = watch.message().await;
            (health, stream.message().await)
        };
        let ((), (health, end)) = tokio::join!(stopped, seen);
        // The stream reports NOT_SERVING, unless it ended before the message was read.
        assert!(health.map_or_else(
            |s| reason(&s) == "NOT_SERVING",
            |h| h.unwrap().status() == ServingStatus::NotServing
        ));
        assert_eq!(reason(&end.unwrap_err()), "NOT_SERVING");
        assert_eq!(ended(folder.path()), ["consumer", "task"]);
        assert!(client.call(GET_CHAT, Some(&token)).await.is_err());
    });
}

/// Sends a request of reflection as a client without a credential.
async fn reflect(running: &Running, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let mut responses = ServerReflectionClient::new(Client::of(running).0)
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let response = responses.message().await.unwrap().unwrap();
    response.message_response.unwrap()
}

/// Returns the names of the gRPC services that reflection lists.
async fn reflected(running: &Running) -> Vec<String> {
    let response = reflect(running, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(list) = response else {
        unreachable!("{response:?}")
    };
    list.service.into_iter().map(|service| service.name).collect()
}

#[test]
fn reflection_lists_the_services_of_the_process() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let running = compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &[]))
            .await
            .unwrap();
        let all = reflected(&running).await;
        for name in ["grpc.health.v1.Health"]
            .iter()
            .chain(MEMBERSHIP.grpc_services)
            .chain(CHAT.grpc_services)
        {
            assert!(all.iter().any(|listed| listed == name), "{name} of {all:?}");
        }
        assert!(
            !all.iter().any(|name| name.starts_with("parta.invitation.")),
            "{all:?}"
        );
        // A tool prints the details of a refusal only if it knows their messages.
        for detail in [
            "google.rpc.ErrorInfo",
            "google.rpc.RetryInfo",
            "google.rpc.BadRequest",
        ] {
            let request = MessageRequest::FileContainingSymbol(detail.to_owned());
            let response = reflect(&running, request).await;
            assert!(
                matches!(response, MessageResponse::FileDescriptorResponse(_)),
                "{detail}: {response:?}"
            );
        }
        running.stop().await;
    });
}

/// Waits until the health check `name` has this status.
async fn until(client: &Client, name: &str, status: ServingStatus) {
    let request = HealthCheckRequest { service: name.into() };
    let mut changes = HealthClient::new(client.0.clone())
        .watch(request)
        .await
        .unwrap()
        .into_inner();
    while changes.message().await.unwrap().unwrap().status() != status {}
}

on_postgres!(
    service_waits_for_its_database_and_reports_its_loss,
    "SQLite is a file of the process",
    |database| async move {
        for text in [
            "database unavailable, waiting for it",
            "service not serving: database failed",
            "task failed, starting again",
            "communicating with database",
        ] {
            parta_testkit::logs().allow(text);
        }
        let link = Link::disconnected(database.url()).await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("membership.database_url={}", link.through(database.url()));
        let settings = settings(folder.path(), &[url]);
        let (running, ()) = tokio::join!(compose(&[MEMBERSHIP, CHAT], &settings), async {
            parta_testkit::logs()
                .until("database unavailable, waiting for it")
                .await;
            link.reconnect();
        });
        let running = running.unwrap();
        let client = Client::of(&running);
        until(&client, "readiness", ServingStatus::Serving).await;

        link.disconnect().await;
        until(&client, "readiness", ServingStatus::NotServing).await;
        for (name, status) in [
            (
                "parta.membership.v1.AuthenticationService",
                ServingStatus::NotServing,
            ),
            ("parta.chat.v1.ChatService", ServingStatus::Serving),
            ("", ServingStatus::NotServing),
            ("startup", ServingStatus::Serving),
            ("liveness", ServingStatus::Serving),
        ] {
            assert_eq!(health(&client, name).await, status, "{name}");
        }
        link.reconnect();
        until(&client, "readiness", ServingStatus::Serving).await;
        running.stop().await;
    }
);

on_postgres!(
    process_ends_although_its_database_host_is_lost,
    "SQLite is a file of the process",
    |database| async move {
        for text in [
            "shutdown timed out",
            "databases did not close in time",
            "database connection given up",
            "database connections given up at the close",
            "service not serving: database failed",
            "task failed",
        ] {
            parta_testkit::logs().allow(text);
        }
        let link = Link::to(database.url()).await;
        let folder = tempfile::tempdir().unwrap();
        let changes = [
            format!("membership.database_url={}", link.through(database.url())),
            "server.grace_seconds=2".into(),
        ];
        let settings = settings(folder.path(), &changes);
        let running = compose(&[MEMBERSHIP, CHAT], &settings).await.unwrap();
        let client = Client::of(&running);
        until(&client, "readiness", ServingStatus::Serving).await;
        link.silence();
        // By then statements are in flight whose replies never come.
        until(&client, "readiness", ServingStatus::NotServing).await;
        let started = std::time::Instant::now();
        running.stop().await;
        // The grace period, and a second more.
        let elapsed = started.elapsed();
        assert!(elapsed < std::time::Duration::from_secs(5), "{elapsed:?}");
    }
);

/// Both topologies have the same services, keys and calls; here, each service has its own server.
#[test]
fn standalone_service_connects_by_address() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("keys could not be fetched");
        let folder = tempfile::tempdir().unwrap();
        // A first start creates the keys that a cluster receives as a Secret.
        compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &[]))
            .await
            .unwrap()
            .stop()
            .await;
        let membership_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = |name: &str| {
            format!(
                "{name}.database_url=sqlite://{}/{name}-alone.db",
                folder.path().display()
            )
        };
        let settings = settings(
            folder.path(),
            &[
                url("membership"),
                url("chat"),
                format!("membership.listen={membership_port}"),
                format!("membership.address=http://{membership_port}"),
                "chat.listen=127.0.0.1:0".into(),
            ],
        );
        let early = start_standalone(CHAT, &settings, Env::system())
            .await
            .err()
            .unwrap();
        assert!(
            format!("{early:#}").contains("database of chat"),
            "a service with a wrong schema does not start: {early:#}"
        );
        for service in [MEMBERSHIP, CHAT] {
            migrate(service, &settings, Env::system()).await.unwrap();
        }
        let chat = start_standalone(CHAT, &settings, Env::system()).await.unwrap();
        let listed = reflected(&chat).await;
        let package_of_chat = |name: &String| name.starts_with("parta.chat.") || name.starts_with("grpc.");
        assert!(listed.iter().all(package_of_chat), "{listed:?}");
        let token = person(folder.path());
        let client = Client::of(&chat);
        assert_eq!(
            reason(&client.call(GET_CHAT, Some(&token)).await.unwrap_err()),
            "DEPENDENCY_UNAVAILABLE"
        );
        // Membership may start later.
        let membership = start_standalone(MEMBERSHIP, &settings, Env::system())
            .await
            .unwrap();
        assert!(
            client
                .call(GET_CHAT, Some(&token))
                .await
                .unwrap()
                .starts_with("org_")
        );
        chat.stop().await;
        membership.stop().await;
    });
}

/// Kubernetes checks health without TLS.
#[test]
fn health_port_serves_only_health_without_tls() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let authority = parta_testkit::Authority::new();
        let certificate = authority.issue("localhost");
        let (chain, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&chain, &certificate.certificate).unwrap();
        std::fs::write(&key, &certificate.key).unwrap();
        let keys = [
            format!("server.tls_certificate_file={}", chain.display()),
            format!("server.tls_key_file={}", key.display()),
            "server.health_listen=127.0.0.1:0".to_owned(),
        ];
        let running = compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &keys))
            .await
            .unwrap();
        let client = Client::at(running.health_address().unwrap());
        // After the first list of revocations.
        let request = HealthCheckRequest {
            service: "readiness".into(),
        };
        let watch = HealthClient::new(client.0.clone()).watch(request).await;
        let mut watch = watch.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
        for name in ["startup", "readiness", "liveness", ""] {
            assert_eq!(health(&client, name).await, ServingStatus::Serving, "{name}");
        }
        let token = person(folder.path());
        let refused = client.call(GET_CHAT, Some(&token)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented, "{refused:?}");
        running.stop().await;
    });
}

#[test]
fn declared_and_built_services_must_agree() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let wrong = Service {
            grpc_services: &["parta.chat.v1.ChatService"],
            ..CHAT
        };
        let error = compose(&[MEMBERSHIP, wrong], &settings(folder.path(), &[]))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("declares"), "{error:#}");
    });
}

#[test]
fn replicas_close_connections_at_different_ages() {
    let ages: BTreeSet<_> = (0..20).map(|_| connection_age(&Env::system())).collect();
    assert!(ages.len() > 1);
    assert!(ages.iter().all(|age| (240..360).contains(&age.as_secs())));
}
