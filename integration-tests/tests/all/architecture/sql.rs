//! SQL that is written by hand stands in a list with its reason. Everything else goes through the entities.
use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::{is_test, sources};

/// The first words of SQL statements.
const STATEMENTS: &[&str] = &[
    "ALTER", "CREATE", "DELETE", "DROP", "INSERT", "LOCK", "PRAGMA", "SELECT", "SET", "UPDATE", "VACUUM",
    "WITH",
];

/// Files with SQL by hand outside migrations and tests: the file, the number of statements and the reason.
const BY_HAND: &[(&str, usize, &str)] = &[
    (
        "libs/database/src/clock.rs",
        1,
        "the clock of the database server, which has no table",
    ),
    (
        "libs/database/src/connect.rs",
        1,
        "a PRAGMA of SQLite, which sea-orm cannot express",
    ),
    (
        "libs/database/src/head.rs",
        4,
        "the heads and the epoch of the event logs, read in one statement",
    ),
    (
        "libs/database/src/migrate.rs",
        3,
        "the lock of the migrations and its time limits",
    ),
    (
        "libs/database/src/schema.rs",
        3,
        "the table of the migrations belongs to sea-orm, and migrations write the requirements",
    ),
    (
        "libs/database/src/serving.rs",
        1,
        "the advisory lock of a served database, on a connection of its own",
    ),
    (
        "libs/database/src/sqlite_writer.rs",
        1,
        "PRAGMA statements on the connection of the hot path",
    ),
    (
        "libs/database/src/session.rs",
        4,
        "the settings of a session of PostgreSQL",
    ),
    (
        "libs/database/src/server.rs",
        2,
        "the settings of a server of PostgreSQL, and the process that runs a session",
    ),
    (
        "libs/database/src/watched_session.rs",
        2,
        "the state of the session of a migration, as the server sees it",
    ),
    (
        "libs/feed/src/append.rs",
        3,
        "feeds: one statement moves the head of the log and inserts all events of a transaction",
    ),
    (
        "libs/database/src/privileges.rs",
        2,
        "database: grants, and the tables that a role may not read or write",
    ),
    (
        "libs/feed/src/consumer/apply.rs",
        7,
        "feeds: a cursor is inserted if it is absent, locked without waiting, and moved",
    ),
    (
        "libs/feed/src/consumer/quarantine.rs",
        7,
        "feeds: a quarantine, written once however many replicas give up",
    ),
    (
        "libs/feed/src/heads.rs",
        2,
        "feeds: the row by which a replica proves that its database accepts commits",
    ),
    ("libs/feed/src/log.rs", 2, "feeds: pages of a log, and all heads"),
    (
        "libs/feed/src/purge.rs",
        2,
        "feeds: a purge that leaves no hole, with an effort that grows with the number of old events only",
    ),
    (
        "libs/jobs/src/lib.rs",
        1,
        "jobs: an insert that ignores a duplicate of the same kind",
    ),
    (
        "libs/jobs/src/lease.rs",
        7,
        "jobs: the lease of the job that has been due the longest, by the clock of the database",
    ),
    (
        "libs/mutations/src/idempotency.rs",
        4,
        "idempotency: a claim that waits for a concurrent duplicate",
    ),
    (
        "services/chat/src/archive/storage.rs",
        2,
        "copies entries to another table in bulk, and reads the oldest entry of many chats at once",
    ),
    (
        "services/chat/src/entries/storage/heads.rs",
        4,
        "the heads of many chats of many organizations in one statement, over rows of values",
    ),
    (
        "services/chat/src/entries/storage/participants.rs",
        2,
        "advisory locks of an organization, which sea-orm cannot express",
    ),
    (
        "services/chat/src/entries/storage/unread.rs",
        1,
        "the unread messages of many chats in one statement, over rows of values",
    ),
    (
        "services/membership/src/join_requests/storage/ended.rs",
        2,
        "advisory locks of an invitation, which has no row before it ends",
    ),
    (
        "services/chat/src/messages/writer/postgres.rs",
        3,
        "the hot path: functions of the schema, with and without a wait, and one lookup of duplicates",
    ),
    (
        "services/chat/src/messages/writer/sqlite.rs",
        4,
        "the hot path: prepared statements on the writer's thread",
    ),
    (
        "services/parta/src/backup/postgresql.rs",
        5,
        "backups: schemas and tables are read and dropped without the entities of the services",
    ),
    (
        "services/parta/src/backup/sqlite.rs",
        2,
        "backups: a copy of a file in use, and a check of its structure",
    ),
];

/// Counts the texts that are SQL statements. Macros are read as lists of expressions.
#[derive(Default)]
struct Statements(Vec<String>);

impl<'ast> Visit<'ast> for Statements {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        let text = text.value();
        let mut words = text.split_whitespace();
        let first = words.next().is_some_and(|word| STATEMENTS.contains(&word));
        if first && words.next().is_some() {
            self.0.push(text);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let list = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if let Ok(arguments) = call.parse_body_with(list) {
            for argument in &arguments {
                // The syntax tree of the arguments lives only here.
                let mut inner = Statements::default();
                inner.visit_expr(argument);
                self.0.extend(inner.0);
            }
        }
    }
}

fn statements(source: &str) -> Vec<String> {
    let mut found = Statements::default();
    found.visit_file(&syn::parse_file(source).expect("a Rust source"));
    found.0
}

#[test]
fn sql_by_hand_stands_in_the_list() {
    let mut found = BTreeMap::new();
    for (path, source) in sources(false) {
        let is_migration = path.contains("/migrations/") || path.ends_with("/migrations.rs");
        let shipped = path.starts_with("libs/") || path.starts_with("services/");
        if shipped && !is_migration && !path.contains("testkit") {
            let count = statements(&source).len();
            if count > 0 {
                found.insert(path, count);
            }
        }
    }
    let listed: BTreeMap<String, usize> = BY_HAND
        .iter()
        .map(|(file, count, _)| ((*file).to_owned(), *count))
        .collect();
    let new: Vec<_> = found
        .iter()
        .filter(|(file, count)| listed.get(*file) != Some(*count))
        .collect();
    let gone: Vec<_> = listed.keys().filter(|file| !found.contains_key(*file)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "use entities, or change the list and say why: {new:#?}\nno longer there: {gone:#?}"
    );
    for (file, _, reason) in BY_HAND {
        assert!(reason.split_whitespace().count() > 3, "{file} has no reason");
    }
}

#[test]
fn sql_is_counted_in_every_form() {
    for (source, count) in [
        ("fn f() { run(\"SELECT 1 FROM chat\") }", 1),
        ("const A: &str = \"UPDATE a \\\n SET b = 1\";", 1),
        (
            "fn f() { let sql = format!(\"INSERT INTO {} VALUES\", name); }",
            1,
        ),
        ("fn f() { info!(\"SELECT\"); say(\"Select a row\"); }", 0),
        ("/// SELECT 1 FROM chat\nfn f() {}", 0),
        (
            "#[cfg(test)] mod tests { fn f() { run(\"SELECT 1 FROM chat\") } }",
            0,
        ),
    ] {
        assert_eq!(statements(source).len(), count, "{source}");
    }
}
