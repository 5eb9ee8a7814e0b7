//! Every table of a service belongs to one feature, and only that feature names it, in SQL or by its entity.
//! Visibility cannot check this, because table names are text, and several features may see an entity.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{SERVICES, resolve::Crate, root};

/// Tables without an entity: the service, the table and its feature.
const WITHOUT_ENTITY: &[(&str, &str, &str)] = &[("chat", "entry_archive", "entries")];

/// Files that name tables of another feature, in SQL or by entities: the file, the tables and the reason.
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
    (
        "services/membership/src/revocations/storage.rs",
        &[
            "ended_session",
            "member",
            "released_profile",
            "revoked_service_account_key",
            "session",
        ],
        "each replica reads them twice a second, in one statement",
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

/// The tables that each file uses, and each table with the file that declares it.
type EntityUses = (BTreeMap<String, BTreeSet<String>>, Vec<(String, String)>);

/// Returns the tables that each file uses by their entities, and the file that declares each table. A row
/// that a feature returns (`Model`) is no use of the table. Files are given by their paths below `src`.
fn entity_uses(files: &[(String, String)]) -> EntityUses {
    let (mut sources, paths) = Crate::read(files);
    sources.add_tables(paths.iter().flat_map(|(_, paths)| &paths.tables));
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, paths) in &paths {
        for (module, path) in &paths.used {
            if let Some((table, rest)) = sources.resolve(module, path)
                && !table.ends_with(".rs")
                && rest.first().is_some_and(|name| name != "Model")
            {
                uses.entry((*file).clone()).or_default().insert(table.clone());
            }
        }
    }
    let declared = paths.iter().flat_map(|(file, paths)| {
        let tables = paths.tables.iter();
        tables.map(|(_, table)| (table.clone(), (*file).clone()))
    });
    (uses, declared.collect())
}

/// Returns the feature, or the file, below `src`.
fn feature_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
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
    let root = root();
    let (mut wrong, mut tables, mut uses_of_entities) = (Vec::new(), 0, 0);
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for service in SERVICES {
        let files = files(&root, service);
        let base = format!("services/{service}/src/");
        let sources: Vec<_> = files
            .iter()
            .map(|(_, path, text)| (path.replacen(&base, "", 1), text.clone()))
            .collect();
        let (uses, declared) = entity_uses(&sources);
        let mut owners: BTreeMap<String, String> = WITHOUT_ENTITY
            .iter()
            .filter(|(of, ..)| *of == service)
            .map(|(_, table, feature)| ((*table).to_owned(), (*feature).to_owned()))
            .collect();
        for (table, file) in declared {
            let feature = feature_of(&file).to_owned();
            if let Some(other) = owners.insert(table.clone(), feature) {
                wrong.push(format!("{base}{file}: {table} already belongs to {other}"));
            }
        }
        tables += owners.len();
        let mut check = |feature: &str, path: &str, location: &str, table: &str| {
            let Some(owner) = owners.get(table) else {
                wrong.push(format!(
                    "{location} names {table}, which is no table with an owner"
                ));
                return;
            };
            if owner == feature {
                return;
            }
            used.insert((path.to_owned(), table.to_owned()));
            if !JOINT
                .iter()
                .any(|(file, names, _)| *file == path && names.contains(&table))
            {
                wrong.push(format!("{location} names {table} of {owner}"));
            }
        };
        for (feature, path, text) in &files {
            for (line, name) in sql_names(text) {
                if !NOT_TABLES.contains(&name.as_str()) {
                    check(feature, path, &format!("{path}:{line}"), &name);
                }
            }
        }
        for (file, tables) in &uses {
            let path = format!("{base}{file}");
            uses_of_entities += tables.len();
            tables
                .iter()
                .for_each(|table| check(feature_of(file), &path, &path, table));
        }
        for (_, path, text) in &files {
            if text.contains("DeriveEntityModel") {
                wrong.push(format!("{path}: define the entity by `table!`"));
            }
        }
    }
    for (file, names, _) in JOINT {
        for table in *names {
            if !used.contains(&((*file).to_owned(), (*table).to_owned())) {
                wrong.push(format!("{file} does not name {table}: remove the exception"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(tables > 20, "only {tables} tables were found");
    assert!(
        uses_of_entities > 40,
        "only {uses_of_entities} uses of entities were found"
    );
}

#[test]
fn sql_names_are_found() {
    let sql =
        "    let a = \"SELECT 1 FROM chat c JOIN entry e ON true\";\n// FROM comment\n\"UPDATE unit SET\"";
    let names: Vec<_> = sql_names(sql).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["chat", "entry", "unit"]);
}

#[test]
fn uses_of_entities_are_found_in_every_form() {
    let owner = [
        ("lib.rs", "mod a; mod b;"),
        (
            "a/mod.rs",
            "pub(crate) mod storage; pub(crate) use storage::{people, unit as class};",
        ),
        (
            "a/storage.rs",
            "table!(pub(crate) people, \"person\", { id: Uuid }); table!(pub(crate) unit, \"unit\", {});
             pub(crate) use unit::Entity as Units;",
        ),
    ];
    for (source, tables) in [
        (
            "use crate::a::people; fn f() { people::Entity::find() }",
            &["person"][..],
        ),
        (
            "fn f() { crate::a::storage::people::Entity::find() }",
            &["person"],
        ),
        ("use crate::a::storage::people::{Column, Entity};", &["person"]),
        (
            "use crate::a::class; fn f() { class::ActiveModel::default() }",
            &["unit"],
        ),
        (
            "use crate::a::storage::Units; fn f() { Units::find() }",
            &["unit"],
        ),
        (
            "use crate::a::storage as rows; fn f() { rows::Units::find() }",
            &["unit"],
        ),
        ("use crate::a::*; fn f() { people::Entity::find() }", &["person"]),
        (
            "mod inner { use super::super::a::people as p; fn f() -> p::Column {} }",
            &["person"],
        ),
        ("use crate::a::people; fn f(row: people::Model) {}", &[]),
        ("#[cfg(test)] mod tests { use crate::a::people::Entity; }", &[]),
        ("use other::people::Entity;", &[]),
    ] {
        let user = ("b.rs", source);
        let files: Vec<_> = owner
            .iter()
            .chain([&user])
            .map(|(file, source)| ((*file).to_owned(), (*source).to_owned()))
            .collect();
        let (uses, declared) = entity_uses(&files);
        assert_eq!(declared.len(), 2);
        let found: Vec<&str> = uses
            .get("b.rs")
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        assert_eq!(found, tables, "{source}");
    }
}
