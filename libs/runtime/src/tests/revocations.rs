//! Revocations that a replica polls from membership in another process.
use std::{net::TcpListener, time::Duration};

use parta_grpc::{ClientBuilder, Target};
use parta_ids::{Env, SessionId};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::two_services::{
    CHAT, Client, GET_CHAT, MEMBERSHIP, REVOKED, SUBSCRIBE, person_of, reason, settings,
};
use crate::{Running, Settings, compose, migrate, start_standalone};

/// The time within which every replica refuses a revoked credential.
const PROMISED: Duration = Duration::from_secs(2);

/// The settings of two services of a cluster whose schemas and keys exist.
async fn cluster(folder: &TempDir) -> Settings {
    compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &[]))
        .await
        .unwrap()
        .stop()
        .await;
    let membership = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = |name: &str| {
        let path = folder.path().display();
        format!("{name}.database_url=sqlite://{path}/{name}-alone.db")
    };
    let settings = settings(
        folder.path(),
        &[
            url("membership"),
            url("chat"),
            format!("membership.listen={membership}"),
            format!("membership.address=http://{membership}"),
            "chat.listen=127.0.0.1:0".into(),
        ],
    );
    for service in [MEMBERSHIP, CHAT] {
        migrate(service, &settings, Env::system()).await.unwrap();
    }
    settings
}

/// Waits until `readiness` is SERVING and returns all statuses until then.
async fn ready(of: &Running) -> Vec<ServingStatus> {
    let target = Target::Uri(format!("http://{}", of.address()));
    let channel = ClientBuilder::new(Env::system(), &[]).channel("suite", target);
    let request = HealthCheckRequest {
        service: "readiness".into(),
    };
    let watch = HealthClient::new(channel.unwrap()).watch(request).await;
    let (mut watch, mut seen) = (watch.unwrap().into_inner(), Vec::new());
    while seen.last() != Some(&ServingStatus::Serving) {
        seen.push(watch.message().await.unwrap().unwrap().status());
    }
    seen
}

#[test]
fn revocation_reaches_other_processes_and_their_streams() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = cluster(&folder).await;
        let start = || start_standalone(CHAT, &settings, Env::system());
        let membership = start_standalone(MEMBERSHIP, &settings, Env::system())
            .await
            .unwrap();
        let chat = start().await.unwrap();
        let session: SessionId = Env::system().id();
        let (person, other) = (
            person_of(folder.path(), session),
            person_of(folder.path(), Env::system().id()),
        );
        let client = Client::of(&chat);
        let mut stream = client.open(SUBSCRIBE, Some(&person)).await.unwrap();
        let mut stays = client.open(SUBSCRIBE, Some(&other)).await.unwrap();
        for stream in [&mut stream, &mut stays] {
            assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
        }
        REVOKED.lock().unwrap().push(session);
        let end = timeout(PROMISED, stream.message()).await.unwrap().unwrap_err();
        assert_eq!(reason(&end), "CREDENTIAL_REVOKED");
        let refused = client.call(GET_CHAT, Some(&person)).await.unwrap_err();
        assert_eq!(reason(&refused), "CREDENTIAL_REVOKED");
        assert!(client.call(GET_CHAT, Some(&other)).await.is_ok());
        chat.stop().await;
        let end = stays.message().await.unwrap_err();
        assert_eq!(reason(&end), "NOT_SERVING");

        // The first call of a new process waits for the first response.
        let chat = start().await.unwrap();
        let refused = Client::of(&chat).call(GET_CHAT, Some(&person)).await.unwrap_err();
        assert_eq!(reason(&refused), "CREDENTIAL_REVOKED");
        chat.stop().await;
        membership.stop().await;
    });
}

#[test]
fn replica_is_ready_after_the_first_response() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = cluster(&folder).await;
        let chat = start_standalone(CHAT, &settings, Env::system()).await.unwrap();
        let (seen, membership) = tokio::join!(ready(&chat), async {
            // Several polls fail before membership starts. The time is real, because sockets fail in it.
            tokio::time::sleep(Duration::from_secs(1)).await;
            start_standalone(MEMBERSHIP, &settings, Env::system()).await
        });
        assert_eq!(seen, [ServingStatus::NotServing, ServingStatus::Serving]);
        chat.stop().await;
        membership.unwrap().stop().await;
    });
}
