//! SQL that is written by hand stands in a list with its reason. Everything else goes through the entities.
use std::{collections::BTreeMap, fs};

use syn::visit::{self, Visit};

use super::{is_test, root, sources};

/// The first words of SQL statements.
const STATEMENTS: &[&str] = &[
    "ALTER", "CREATE", "DELETE", "DROP", "INSERT", "LOCK", "PRAGMA", "SELECT", "SET", "UPDATE", "VACUUM",
    "WITH",
];

/// The reason for which statements are not written by entities.
enum Why {
    /// Entities and their relations have no form for this construct.
    NotExpressible(&'static str),
    /// The statements run so often that their cost counts: the path on which they run. [`MEASURED`] has the
    /// cost of an entity.
    Measured(&'static str),
    /// A few statements about a table whose other statements are by hand, so that one form describes it.
    WithItsTable(&'static str),
}

use Why::{Measured, NotExpressible, WithItsTable};

/// The record of the measurement, and how many times the processor time of a statement by hand an entity
/// takes.
const MEASURED: (&str, &str) = ("docs/adr/0044-entities-have-no-relations.md", "1.8");

const VALUES: Why = NotExpressible("a join with rows of values that the statement brings along");
const ADVISORY_LOCK: Why = NotExpressible("advisory locks, which belong to no table");
const PRAGMA: Why = NotExpressible("PRAGMA of SQLite");

/// Files with SQL by hand outside migrations and tests: the file, and numbers of statements with the reason.
const BY_HAND: &[(&str, &[(usize, Why)])] = &[
    (
        "libs/database/src/clock.rs",
        &[(
            1,
            NotExpressible("the clock of the database server, which belongs to no table"),
        )],
    ),
    ("libs/database/src/connect.rs", &[(1, PRAGMA)]),
    (
        "libs/database/src/head.rs",
        &[(
            1,
            NotExpressible("a LEFT JOIN by a value, because the two tables have no column in common"),
        )],
    ),
    (
        "libs/database/src/migrate.rs",
        &[(1, ADVISORY_LOCK), (2, NotExpressible("SET LOCAL of PostgreSQL"))],
    ),
    ("libs/database/src/serving.rs", &[(1, ADVISORY_LOCK)]),
    ("libs/database/src/sqlite_writer.rs", &[(1, PRAGMA)]),
    (
        "libs/database/src/session.rs",
        &[(4, NotExpressible("SET of PostgreSQL"))],
    ),
    (
        "libs/database/src/server.rs",
        &[(2, NotExpressible("functions of PostgreSQL without a table"))],
    ),
    (
        "libs/database/src/watched_session.rs",
        &[(
            2,
            NotExpressible("a view of the server, whose columns are read as text"),
        )],
    ),
    (
        "libs/database/src/privileges.rs",
        &[(
            2,
            NotExpressible("GRANT, and the catalog with functions that test privileges"),
        )],
    ),
    (
        "libs/feed/src/append.rs",
        &[(
            3,
            NotExpressible("INSERT that follows from an INSERT with RETURNING in the same statement"),
        )],
    ),
    (
        "libs/feed/src/consumer/apply.rs",
        &[
            (1, VALUES),
            (6, Measured("each batch of events of each consumer")),
        ],
    ),
    (
        "libs/feed/src/consumer/quarantine.rs",
        &[(
            7,
            WithItsTable("feed_cursor and feed_quarantine, which each batch of events reads"),
        )],
    ),
    (
        "libs/feed/src/heads.rs",
        &[(1, Measured("each replica, every few seconds"))],
    ),
    (
        "libs/feed/src/log.rs",
        &[(
            2,
            NotExpressible("a LEFT JOIN ON TRUE, and one with a limited subquery"),
        )],
    ),
    (
        "libs/feed/src/purge.rs",
        &[
            (
                2,
                NotExpressible(
                    "an aggregate over a limited subquery, and DELETE with a common table expression",
                ),
            ),
            (
                1,
                WithItsTable("feed_pulse, which each replica writes every few seconds"),
            ),
        ],
    ),
    (
        "libs/jobs/src/lib.rs",
        &[(1, WithItsTable("job, whose lease is taken by hand"))],
    ),
    (
        "libs/jobs/src/lease.rs",
        &[
            (
                4,
                NotExpressible("the clock of the database, and UPDATE of the row of a locked subquery"),
            ),
            (4, Measured("each attempt of a job")),
        ],
    ),
    (
        "libs/mutations/src/idempotency.rs",
        &[
            (3, Measured("each mutation")),
            (
                1,
                NotExpressible("DELETE up to a row that a subquery with OFFSET finds"),
            ),
        ],
    ),
    (
        "services/chat/src/archive/storage.rs",
        &[(
            2,
            NotExpressible("INSERT of the rows of a SELECT, and a subquery as a column"),
        )],
    ),
    ("services/chat/src/entries/storage/heads.rs", &[(4, VALUES)]),
    (
        "services/chat/src/entries/storage/participants.rs",
        &[(2, ADVISORY_LOCK)],
    ),
    ("services/chat/src/entries/storage/unread.rs", &[(1, VALUES)]),
    (
        "services/membership/src/join_requests/storage/ended.rs",
        &[(2, ADVISORY_LOCK)],
    ),
    (
        "services/membership/src/revocations/storage.rs",
        &[(
            1,
            NotExpressible("UNION ALL with the clock of the database, and LATERAL subqueries"),
        )],
    ),
    (
        "services/chat/src/messages/writer/postgres.rs",
        &[(
            3,
            NotExpressible("functions of the schema, and a join with the elements of arrays"),
        )],
    ),
    (
        "services/chat/src/messages/writer/sqlite.rs",
        &[(
            4,
            NotExpressible("statements that are prepared once, on a connection of rusqlite"),
        )],
    ),
    (
        "services/parta/src/backup/postgresql.rs",
        &[(
            5,
            NotExpressible("tables that are listed at run time, and texts that rusqlite runs too"),
        )],
    ),
    (
        "services/parta/src/backup/sqlite.rs",
        &[(1, NotExpressible("VACUUM INTO of SQLite")), (1, PRAGMA)],
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
        .map(|(file, rows)| ((*file).to_owned(), rows.iter().map(|(count, _)| count).sum()))
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
    for (file, rows) in BY_HAND {
        for (_, why) in *rows {
            let (NotExpressible(text) | Measured(text) | WithItsTable(text)) = why;
            assert!(text.split_whitespace().count() > 1, "{file}: {text} is no reason");
        }
    }
}

#[test]
fn cost_of_entities_is_on_record() {
    let (record, times) = MEASURED;
    let record = fs::read_to_string(root().join(record)).expect("the record of the measurement");
    assert!(
        record.contains(&format!("{times} times")),
        "the record has another number"
    );
    assert!(times.parse::<f64>().is_ok_and(|times| times > 1.0));
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
