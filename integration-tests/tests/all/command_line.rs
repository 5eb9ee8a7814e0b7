//! Tests of the command line against a running suite: its output and its exit codes.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::process::Output;

use parta_integration_tests::Suite;
use serde_json::{Value, json};
use tokio::process::Command;

/// Runs `parta` with these arguments against a suite.
pub(crate) async fn parta(suite: &Suite, words: &[&str]) -> Output {
    let server = suite.addresses()["membership"].clone();
    let key = suite.keys().join("operator.key");
    let folder = suite.keys().parent().unwrap();
    Command::new(env!("CARGO_BIN_EXE_suite-process"))
        .args(words)
        .env_clear()
        .env("PARTA_SERVER", server)
        .env("PARTA_OPERATOR_KEY_FILE", key)
        .env("PARTA_SESSION_FILE", folder.join("session.json"))
        .output()
        .await
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn document(suite: &Suite, words: &[&str]) -> Value {
    let words: Vec<_> = words.iter().copied().chain(["--output", "json"]).collect();
    let output = parta(suite, &words).await;
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

mod operator_decides_applications {
    use super::*;

    // Covers: R2 allowed, R2 refused
    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::one_process().await;
            let phone = "+79160000001";
            let applied = suite.apply(1, "Школа № 1", "Иван Орлов", phone).await;
            let id = applied["application_id"].as_str().unwrap();

            let listed = document(&suite, &["application", "list"]).await;
            assert_eq!(listed["applications"][0]["id"], id);
            let made = document(&suite, &["application", "approve", id]).await;
            // An application can be decided only once.
            let again = parta(&suite, &["application", "refuse", id, "--reason", "поздно"]).await;
            assert_eq!(again.status.code(), Some(1));
            let printed = text(&again.stderr);
            assert!(
                printed.contains("APPLICATION_DECIDED of org-registry.parta"),
                "{printed}"
            );
            assert_eq!(
                document(&suite, &["application", "list"]).await,
                json!({"applications": []})
            );

            assert!(made["id"].as_str().is_some_and(|id| id.starts_with("org_")));

            // Signing in without a terminal: the first run prints the flow, the second presents the code from
            // the outbox.
            let requested = document(&suite, &["login", "--phone", phone]).await;
            let (flow, code) = (requested["flow_id"].as_str().unwrap(), suite.code(phone).await);
            let codes = text(&parta(&suite, &["codes", "--recipient", phone]).await.stdout);
            assert!(codes.contains(&code), "{codes}");
            let wrong = if code == "000000" { "000001" } else { "000000" };
            let login = ["login", "--phone", phone, "--flow", flow, "--code", wrong];
            let printed = text(&parta(&suite, &login).await.stderr);
            assert!(printed.contains("CODE_WRONG of membership.parta"), "{printed}");

            let unlocked = document(&suite, &["unlock", "--phone", phone]).await;
            // A response leaves `false` out.
            assert_ne!(
                unlocked["was_locked"], true,
                "one wrong code locks nothing: {unlocked}"
            );
            assert_eq!(parta(&suite, &["unlock"]).await.status.code(), Some(2));
            suite.stop().await;
        });
    }
}

mod exit_codes_distinguish_failures {
    use super::*;

    // Covers: R2 refused
    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::one_process().await;
            let wrong = suite.keys().join("membership.pub").display().to_string();
            for (words, code) in [
                (vec!["application", "list"], 0),
                (vec!["application", "list", "--operator-key-file", &wrong], 1),
                (vec!["application", "approve", "app_x"], 1),
                (vec!["application", "list", "--operator-key-file", "/nowhere"], 1),
                (vec!["roster", "list"], 1),
                (vec!["application", "bury"], 2),
                (vec!["application", "list", "--server", "http://127.0.0.1:9"], 3),
            ] {
                let output = parta(&suite, &words).await;
                assert_eq!(
                    output.status.code(),
                    Some(code),
                    "{words:?}: {}",
                    text(&output.stderr)
                );
                assert!(output.status.success() || text(&output.stderr).starts_with("error: "));
            }
            suite.stop().await;
        });
    }
}
