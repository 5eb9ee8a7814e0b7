//! Every table of a service belongs to one feature, and only that feature names it in SQL. Visibility cannot
//! check this, because table names are text.
#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{collections::BTreeMap, fs, path::Path};

/// Tables without an entity: the service, the table and its feature.
const WITHOUT_ENTITY: &[(&str, &str, &str)] = &[("chat", "entry_archive", "entries")];

/// Files that name tables of another feature in SQL: the file, the tables and the reason.
const JOINT: &[(&str, &[&str], &str)] = &[
    (
        "services/chat/src/archive/storage.rs",
        &["chat", "entry", "entry_archive"],
        "moves entries between the two tables in bulk, without reading them",
    ),
    (
        "services/chat/src/messages/writer/postgres.rs",
        &["entry"],
        "the hot path: one statement finds the duplicates of a batch",
    ),
    (
        "services/chat/src/messages/writer/sqlite.rs",
        &["chat", "entry", "participant"],
        "the hot path: prepared statements on the writer's thread",
    ),
];

/// Words after FROM, JOIN, INTO or UPDATE that are not tables of a service.
const NOT_TABLES: &[&str] = &["unnest", "wanted", "chat_try_one", "chat_try_many"];

/// Returns the names after SQL keywords, with their line numbers.
fn sql_names(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let keyword = pair[0].trim_start_matches(['"', '(']);
            if !["FROM", "JOIN", "INTO", "UPDATE"].contains(&keyword) {
                continue;
            }
            let name = pair[1]
                .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                .next();
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                names.push((number + 1, name.to_owned()));
            }
        }
    }
    names
}

/// Returns the tables whose entities a file declares.
fn entities(text: &str) -> Vec<String> {
    let quoted = |rest: &str| rest.split('"').nth(1).map(str::to_owned);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with("table!(") {
            found.extend(quoted(line));
        }
    }
    found
}

/// Returns the files of a service without tests: the feature or file below `src`, the path from the root, and
/// the text.
fn files(root: &Path, service: &str) -> Vec<(String, String, String)> {
    let base = root.join("services").join(service).join("src");
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&base).sort_by_file_name() {
        let entry = entry.expect("a readable tree");
        let inner = entry.path().strip_prefix(&base).expect("a path below src");
        let first = inner
            .iter()
            .next()
            .map(|part| part.to_string_lossy().into_owned());
        let is_test = inner.iter().any(|part| part == "tests" || part == "tests.rs");
        let first = first.unwrap_or_default();
        if !entry.file_type().is_file() || is_test || first == "migrations" {
            continue;
        }
        let shown = entry.path().strip_prefix(root).expect("a path below the root");
        let text = fs::read_to_string(entry.path()).expect("a readable file");
        found.push((first, shown.display().to_string(), text));
    }
    found
}

#[test]
fn tables_are_named_by_their_feature_only() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("the workspace");
    let (mut wrong, mut tables) = (Vec::new(), 0);
    let mut used: Vec<(&str, &str)> = Vec::new();
    for service in [
        "org-registry",
        "membership",
        "invitation",
        "chat",
        "call-scheduling",
    ] {
        let files = files(root, service);
        let mut owners: BTreeMap<String, String> = WITHOUT_ENTITY
            .iter()
            .filter(|(of, ..)| *of == service)
            .map(|(_, table, feature)| ((*table).to_owned(), (*feature).to_owned()))
            .collect();
        for (feature, path, text) in &files {
            if text.contains("DeriveEntityModel") {
                wrong.push(format!("{path}: define the entity by `table!`"));
            }
            for table in entities(text) {
                if let Some(other) = owners.insert(table.clone(), feature.clone()) {
                    wrong.push(format!("{path}: {table} already belongs to {other}"));
                }
            }
        }
        tables += owners.len();
        for (feature, path, text) in &files {
            for (line, name) in sql_names(text) {
                if NOT_TABLES.contains(&name.as_str()) {
                    continue;
                }
                let Some(owner) = owners.get(&name) else {
                    wrong.push(format!(
                        "{path}:{line} names {name}, which is no table with an owner"
                    ));
                    continue;
                };
                let joint = JOINT
                    .iter()
                    .find(|(file, names, _)| file == path && names.contains(&name.as_str()));
                match joint {
                    _ if owner == feature => {}
                    Some((file, names, _)) => used.extend(
                        names
                            .iter()
                            .filter(|table| **table == name)
                            .map(|table| (*file, *table)),
                    ),
                    None => wrong.push(format!("{path}:{line} names {name} of {owner}")),
                }
            }
        }
    }
    for (file, names, _) in JOINT {
        for table in names.iter().filter(|table| !used.contains(&(*file, **table))) {
            wrong.push(format!("{file} does not name {table}: remove the exception"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(tables > 20, "only {tables} tables were found");
}

#[test]
fn sql_names_and_entities_are_found() {
    let sql =
        "    let a = \"SELECT 1 FROM chat c JOIN entry e ON true\";\n// FROM comment\n\"UPDATE unit SET\"";
    let names: Vec<_> = sql_names(sql).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["chat", "entry", "unit"]);
    let text = "table!(entity, \"call\", {\n});\ntable!(pub(crate) account, \"account_address\", {";
    assert_eq!(entities(text), ["call", "account_address"]);
}
