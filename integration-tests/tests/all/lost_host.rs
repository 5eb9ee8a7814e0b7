//! SIGTERM while the host of the databases has vanished without a word. SQLite is a file of the process.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::time::{Duration, Instant};

use parta_integration_tests::{Suite, reason};
use parta_testkit::{Link, TestDatabase, dynamic, eventually};
use serde_json::json;

/// `server.grace_seconds` of the suite.
const GRACE: Duration = Duration::from_secs(5);
/// The databases that do not respond have one second more (docs/running-a-cluster.md).
const CLOSE: Duration = Duration::from_secs(1);
/// The machine of the tests may be loaded.
const MARGIN: Duration = Duration::from_secs(2);

/// The part of the loss that the process has noticed when SIGTERM arrives.
#[derive(Clone, Copy, PartialEq)]
enum Noticed {
    Nothing,
    /// Heartbeats and statements got no reply, and new connections get none either.
    LostConnections,
}

/// Serves all services on five databases whose host vanishes, and sends SIGTERM.
async fn stops_within_its_grace(noticed: Noticed) {
    let mut databases = Vec::new();
    for _ in &parta::SERVICES {
        databases.push(TestDatabase::postgres().await);
    }
    // All of them are on one server.
    let link = Link::to(databases[0].url()).await;
    let settings: Vec<(String, String)> = parta::SERVICES
        .iter()
        .zip(&databases)
        .map(|(service, database)| {
            let key = format!("{}.database_url", service.section());
            (key, link.through(database.url()))
        })
        .collect();
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let program = env!("CARGO_BIN_EXE_suite-process");
    let suite = Suite::process_with(program, &["serve"], false, &settings).await;
    let school = suite.school("Школа № 1").await;
    let client = &school.administrator.client;
    let chats = client.must("ChatService/ListChats", json!({})).await;
    let mut stream = client
        .open("LiveService/SubscribeChats", json!({}))
        .await
        .unwrap();
    stream.message().await.unwrap().unwrap();
    suite
        .expect_complaints(&[
            "database connection given up",
            "the database is unavailable",
            "service not serving: database failed",
            "task failed",
            "periodic work failed",
            "feed interrupted",
            "events not applied",
            "late endings could not be read",
        ])
        .await;

    link.silence();
    if noticed == Noticed::LostConnections {
        eventually("a connection is given up", async || {
            let log = suite.log().await;
            let given_up =
                |line: &serde_json::Value| line["fields"]["message"] == "database connection given up";
            log.iter().any(given_up).then_some(())
        })
        .await;
    }
    // A read and a message are in flight whose statements never get a reply.
    let read = dynamic::method("parta.chat.v1.ChatService/ListChats");
    let send = dynamic::method("parta.chat.v1.MessageService/SendMessage");
    let message = json!({
        "request_id": client.request_id(), "org_id": client.org_id(), "chat_id": chats["chats"][0]["id"],
        "text": "Дошло?",
    });
    let read = client.once(&read, json!({"org_id": client.org_id()}));
    let send = client.once(&send, message);
    let stream_ends = async {
        loop {
            if let Err(end) = stream.message().await.transpose().unwrap() {
                return end;
            }
        }
    };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begin = Instant::now();
        // Fails unless the process ends by itself with exit code 0.
        suite.stop().await;
        begin.elapsed()
    };
    let (elapsed, end, read, send) = tokio::join!(stop, stream_ends, read, send);
    assert!(elapsed < GRACE + CLOSE + MARGIN, "{elapsed:?}");
    assert_eq!(reason(&end), "NOT_SERVING");
    for response in [read, send] {
        response.unwrap_err();
    }
}

#[test]
fn process_stops_at_once_after_its_database_host_vanished() {
    parta_testkit::run(stops_within_its_grace(Noticed::Nothing));
}

#[test]
fn process_stops_after_it_gave_up_its_database_host() {
    parta_testkit::run(stops_within_its_grace(Noticed::LostConnections));
}
