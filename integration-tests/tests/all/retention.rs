//! docs/operations/retention.md lists every table, and every task that it names exists.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::{collections::BTreeMap, path::Path};

use parta_integration_tests::Suite;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::operator_services::database;

/// The section of the tables that every service has.
const COMMON: &str = "Tables of every service";

/// One row of the document.
struct Row {
    grows_by: String,
    kept_for: String,
    removed_by: String,
}

/// The rows of the document by section and table.
fn rows(root: &Path) -> BTreeMap<(String, String), Row> {
    let text = std::fs::read_to_string(root.join("docs/operations/retention.md")).unwrap();
    let (mut section, mut rows) = (String::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let Some(table) = cells.get(1).and_then(|cell| cell.strip_prefix('`')) else {
            continue;
        };
        let row = Row {
            grows_by: cells[2].to_owned(),
            kept_for: cells[3].to_owned(),
            removed_by: cells[4].to_owned(),
        };
        let key = (section.clone(), table.trim_end_matches('`').to_owned());
        assert!(rows.insert(key, row).is_none(), "{table} is listed twice");
    }
    rows
}

/// The sources of a folder in one text.
fn sources(folder: &Path) -> String {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs")
    });
    files
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
        .collect()
}

async fn tables(suite: &Suite, service: &str) -> Vec<String> {
    let db = database(suite, service).await;
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let found = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
        .await;
    let found = found.unwrap();
    found.iter().map(|row| row.try_get("", "name").unwrap()).collect()
}

mod every_table_has_a_retention {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
            let mut rows = rows(root);
            let suite = Suite::one_process().await;
            let common = sources(&root.join("libs/runtime/src"));
            let mut wrong = Vec::new();
            let mut seen = Vec::new();
            for service in &parta::SERVICES {
                let own = sources(&root.join("services").join(service.name).join("src"));
                for table in tables(&suite, service.name).await {
                    let keys = [service.name, COMMON].map(|section| (section.to_owned(), table.clone()));
                    let Some(key) = keys.into_iter().find(|key| rows.contains_key(key)) else {
                        wrong.push(format!("{} has no retention for {table}", service.name));
                        continue;
                    };
                    let row = &rows[&key];
                    let tasks = row.removed_by.split('`').skip(1).step_by(2);
                    for task in tasks {
                        let is_run = own.contains(&format!("\"{task}\""))
                            || (key.0 == COMMON && common.contains(&format!("name(\"{task}\")")));
                        if !is_run {
                            wrong.push(format!("{}: there is no task {task}", service.name));
                        }
                    }
                    // A table that no task and no act empties is kept for ever, for a reason.
                    let reason = row.kept_for.split_once("ever: ").map_or("", |(_, reason)| reason);
                    if row.grows_by.is_empty() || (row.removed_by.is_empty() && reason.is_empty()) {
                        wrong.push(format!("{}: {table} is kept without a reason", service.name));
                    }
                    seen.push(key);
                }
            }
            for key in seen {
                rows.remove(&key);
            }
            wrong.extend(
                rows.keys()
                    .map(|(section, table)| format!("{section}: {table} is no table")),
            );
            suite.stop().await;
            assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        });
    }
}
