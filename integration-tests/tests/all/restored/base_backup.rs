//! A base backup of PostgreSQL, made and restored by the commands of docs/operations/backup.md.
#![expect(
    clippy::print_stdout,
    reason = "a test on a shared server says that it did nothing"
)]
use std::path::Path;

use parta_integration_tests::{Postgres, School, Suite};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::json;
use tokio::process::Command;
use tonic::Code;

use super::{PROGRAM, again};
use crate::command_line::text;

/// The commands of the page about base backups.
fn commands() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/operations/backup.md")).unwrap();
    let (_, section) = page.split_once("### Base backup of PostgreSQL\n").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(str::to_owned).collect()
}

async fn execute(mut command: Command) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

/// The labels of the classes, in their order.
async fn classes(school: &School) -> Vec<String> {
    let client = &school.administrator.client;
    let listed = client.must("UnitService/ListUnits", json!({})).await;
    let units = listed["units"].as_array().unwrap();
    let classes = units.iter().filter(|unit| unit["kind"] == "UNIT_KIND_CLASS");
    let mut labels: Vec<String> = classes
        .map(|unit| unit["label"].as_str().unwrap().to_owned())
        .collect();
    labels.sort();
    labels
}

/// A server with the databases of all services.
async fn suite_on(server: &Postgres) -> Suite {
    let db = Database::connect(server.url()).await.unwrap();
    let mut settings = Vec::new();
    for service in &parta::SERVICES {
        let section = service.section();
        db.execute_unprepared(&format!("CREATE DATABASE {section}"))
            .await
            .unwrap();
        let (base, _) = server.url().rsplit_once('/').unwrap();
        settings.push((format!("{section}.database_url"), format!("{base}/{section}")));
    }
    db.close().await.unwrap();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    Suite::process_with(PROGRAM, &["serve"], false, &settings).await
}

/// A phone gets one code a minute, and the administrator signs in twice.
async fn forget_codes(server: &Postgres) {
    let (base, _) = server.url().rsplit_once('/').unwrap();
    let db = Database::connect(format!("{base}/membership")).await.unwrap();
    db.execute_unprepared("DELETE FROM limit_bucket").await.unwrap();
    db.close().await.unwrap();
}

/// Covers: R81 allowed
#[test]
fn base_backup_is_restored_by_its_commands() {
    parta_testkit::run(async {
        let server = Postgres::start().await;
        let commands = commands();
        let (backup, restore) = commands.split_first().unwrap();
        let mut words = backup.split_whitespace();
        let Some(mut command) = server.command(words.next().unwrap()) else {
            println!("not executed, because the server is shared: PARTA_TEST_POSTGRES_BIN is not set");
            return;
        };
        let suite = suite_on(&server).await;
        suite.expect_complaints(&["feed interrupted"]).await;
        let school = suite.school("Школа № 1").await;
        school.class("5А").await;
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base").display().to_string();
        let restored = server.restored_folder().display().to_string();
        let place = |word: &str| {
            word.replace("/var/backups/base", &base)
                .replace("/var/lib/postgresql/restored", &restored)
        };
        command.args(words.map(place));
        execute(command).await;
        school.class("6Б").await;
        assert_eq!(classes(&school).await, ["5А", "6Б"]);

        suite.kill("membership").await;
        assert_eq!(restore.len(), 3, "{restore:?}");
        for line in restore {
            let mut words = line.split_whitespace().map(place);
            let mut command = Command::new(words.next().unwrap());
            command.args(words);
            execute(command).await;
        }
        server.start_restored().await;
        suite.run(&["recover"]).await;
        forget_codes(&server).await;
        suite.restart("membership").await;
        // The sessions of before the restore have ended.
        let refused = school
            .administrator
            .client
            .refused("UnitService/ListUnits", json!({}));
        assert_eq!(refused.await.code, Code::Unauthenticated);
        let org_id = school.org_id.clone();
        let administrator = again(&suite, &school.administrator, &org_id).await;
        let school = school.with(&suite, administrator);
        assert_eq!(classes(&school).await, ["5А"]);
        school.class("7В").await;
        assert_eq!(classes(&school).await, ["5А", "7В"]);
        suite.stop().await;
        server.stop().await;
    });
}
