//! A failover that loses commits while the services run, as docs/operations/failover.md describes it.
use std::{path::Path, process::Stdio};

use parta_integration_tests::{School, Suite, reason};
use parta_testkit::eventually;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Lost, forget_codes};
use crate::command_line::{parta, text};

/// Replaces the database of membership by its copy, as a promoted standby that lacks the last commits.
async fn lose_commits(suite: &Suite, folder: &str) {
    suite.kill("membership").await;
    let urls = suite.database_urls().await;
    let mut services = parta::SERVICES.iter();
    let membership = services.position(|service| service.name == "membership");
    if let Some(url) = urls.get(membership.unwrap()) {
        let dump = Path::new(folder).join("membership.dump");
        let mut restore = Command::new("pg_restore");
        restore.args(["--no-owner", "--no-privileges", "--clean", "--if-exists"]);
        restore.args(["--single-transaction", "--dbname", url]).arg(dump);
        let output = restore.stdin(Stdio::null()).output().await.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        // The dump has no privileges of the role that serves.
        suite.run(&["migrate", "membership"]).await;
    } else {
        let file = suite.keys().parent().unwrap().join("membership.db");
        for journal in ["db-wal", "db-shm"] {
            let journal = file.with_extension(journal);
            if journal.exists() {
                std::fs::remove_file(journal).unwrap();
            }
        }
        std::fs::copy(Path::new(folder).join("membership.sqlite"), &file).unwrap();
    }
    suite.restart("membership").await;
}

/// Returns the findings of `parta doctor` about lost events.
pub(super) async fn losses(suite: &Suite) -> Vec<Value> {
    let mut findings = findings(suite).await;
    findings.retain(|one| one["check"] == "lost_events");
    findings
}

/// Returns the findings of `parta doctor`.
pub(super) async fn findings(suite: &Suite) -> Vec<Value> {
    let mut words = vec!["doctor".to_owned(), "--output".to_owned(), "json".to_owned()];
    for (service, url) in suite.addresses() {
        words.extend(["--service".to_owned(), format!("{service}={url}")]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = parta(suite, &words).await;
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["findings"].as_array().unwrap().clone()
}

/// The commands of the page about failovers.
fn commands() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/operations/failover.md")).unwrap();
    let lines = page.lines().filter_map(|line| line.strip_prefix("    parta "));
    lines.map(str::to_owned).collect()
}

/// Loses the commits, and does what the page about failovers says. The others serve nobody of the school
/// until then: neither with the rights that the lost commits had ended, nor with others.
pub(super) async fn fail_over(
    suite: &Suite,
    folder: &str,
    processes: &[&'static str],
    school: &School,
    lost: &Lost,
) {
    assert_eq!(commands(), ["doctor", "recover", "recover --keep-links"]);
    lose_commits(suite, folder).await;
    let administrator = &school.administrator.client;
    for rpc in ["ChatService/ListChats", "InvitationService/ListInvitations"] {
        eventually("the loss is noticed", async || {
            // The removed member has no access at any time.
            lost.removed.client.refused(rpc, json!({})).await;
            let refused = administrator.call(rpc, json!({})).await.err()?;
            (reason(&refused) == "ORGANIZATION_QUARANTINED").then_some(())
        })
        .await;
    }
    // Every consumer of membership has noticed it, also those whose calls were not tried.
    let found = eventually("the doctor names the loss", async || {
        let found = losses(suite).await;
        (found.len() == 4).then_some(found)
    })
    .await;
    for one in found {
        assert_eq!(one["page"], "docs/operations/failover.md");
        let advice = one["advice"].as_str().unwrap();
        assert!(advice.ends_with("parta recover"), "{advice}");
    }
    for process in processes {
        suite.kill(process).await;
    }
    suite.run(&["recover", "--keep-links"]).await;
    // A command that was interrupted is repeated.
    suite.run(&["recover"]).await;
    forget_codes(suite).await;
    for process in processes {
        suite.restart(process).await;
    }
}
