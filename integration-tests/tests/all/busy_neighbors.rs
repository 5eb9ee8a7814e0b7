//! Schools that import their rosters do not delay another school.
use std::time::{Duration, Instant};

use futures::future::join_all;
use parta_integration_tests::{Suite, on_both_topologies, write_roster};
use serde_json::json;
use tokio::sync::watch;

use crate::roster_import::import;

/// Schools that import at the same time, and people in each roster.
const SCHOOLS: usize = 5;
const PEOPLE: usize = 200;
/// The longest acceptable wait for a message. The goal of one second is that of a release build; this one
/// shares two cores with other tests.
const SLOW: Duration = Duration::from_secs(3);

on_both_topologies!(
    // Case 1 of the issue at a small size: before, the consumers of chat had one order for all organizations,
    // and a quiet school was refused with PROJECTION_STALE.
    // Covers: R26 allowed
    quiet_school_writes_while_others_import,
    |suite: Suite| async move {
        let quiet = suite.school("Тихая школа").await;
        let client = &quiet.administrator.client;
        let chats = client.must("ChatService/ListChats", json!({})).await;
        let chat = &chats["chats"][0]["id"];
        let mut importing = Vec::new();
        for n in 0..SCHOOLS {
            let school = suite.school(&format!("Школа № {n}")).await;
            let folder = tempfile::tempdir().unwrap();
            write_roster(folder.path(), PEOPLE);
            importing.push((school, folder));
        }
        let (done, mut finished) = watch::channel(false);
        let imports = async {
            let all = importing
                .iter()
                .map(|(school, folder)| import(school, folder.path(), &["--yes"]));
            let outcomes = join_all(all).await;
            done.send_replace(true);
            outcomes
        };
        let method = parta_testkit::dynamic::method("parta.chat.v1.MessageService/SendMessage");
        let sends = async {
            let mut waits = Vec::new();
            let mut tick = tokio::time::interval(Duration::from_millis(200));
            while !*finished.borrow() {
                tokio::select! {
                    _ = finished.changed() => continue,
                    _ = tick.tick() => {}
                }
                let body = json!({
                    "request_id": client.request_id(), "org_id": client.org_id(), "chat_id": chat, "text": "Урок в 9:00",
                });
                let started = Instant::now();
                // One attempt: a refusal is not repeated.
                client.once(&method, body).await.unwrap();
                waits.push(started.elapsed());
            }
            waits
        };
        let (outcomes, mut waits) = tokio::join!(imports, sends);
        for (code, document) in outcomes {
            assert_eq!(code, 0, "{document:#}");
            assert_eq!(
                document["roster_import"]["done"]["members"], PEOPLE,
                "{document:#}"
            );
        }
        waits.sort();
        let slowest = waits.last().copied().unwrap_or_default();
        assert!(
            slowest < SLOW,
            "{} messages, the slowest took {slowest:?}",
            waits.len()
        );
    }
);
