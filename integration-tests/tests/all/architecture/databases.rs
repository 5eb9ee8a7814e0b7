//! Tests get their databases from the macros of testkit, which run a test on both databases or say why not.
use std::collections::BTreeMap;

use super::{NamedPaths, sources};

/// The functions that create a database of one kind.
const OPENERS: [&str; 2] = ["TestDatabase::sqlite", "TestDatabase::postgres"];

/// Files that create a database without a macro, each with the reason.
const WITHOUT_A_MACRO: &[(&str, &str)] = &[
    (
        "services/chat/src/tests/fixture.rs",
        "the feeds of two fake services; the database of the tested service comes from the macro",
    ),
    (
        "services/chat/src/tests/instructions.rs",
        "`cargo xtask instructions` counts the instructions of one thread, so that the test has a runtime of its own",
    ),
    (
        "integration-tests/src/postgres.rs",
        "falls back to the shared server for a test that crashes a server",
    ),
    (
        "integration-tests/tests/all/lost_host.rs",
        "a database for each service of a process whose connections to PostgreSQL the test silences",
    ),
    (
        "integration-tests/src/suite/processes.rs",
        "a database for each process of a suite, which runs on SQLite in one process and on PostgreSQL in five",
    ),
    (
        "services/parta/tests/backup/mod.rs",
        "a database for each service, of the process that is backed up and of the one that is restored",
    ),
    (
        "services/parta/tests/pooled/mod.rs",
        "a database for each service of the process that reaches them through PgBouncer",
    ),
    ("bench/src/cases/feeds.rs", "a benchmark and no test"),
    ("bench/src/competitors/server.rs", "a benchmark and no test"),
];

#[test]
fn tests_open_databases_by_the_macros() {
    let mut found = BTreeMap::new();
    for (path, source) in sources(true) {
        if path.starts_with("libs/testkit/") {
            continue;
        }
        let named = NamedPaths::with_tests(&source);
        let opener = OPENERS.iter().find(|opener| named.names(opener));
        if let Some(opener) = opener {
            found.insert(path, *opener);
        }
    }
    let is_listed = |path: &str| WITHOUT_A_MACRO.iter().any(|(file, _)| *file == path);
    let new: Vec<_> = found.iter().filter(|(path, _)| !is_listed(path)).collect();
    assert!(
        new.is_empty(),
        "use `on_both!` of parta_testkit, or add the file with a reason: {new:?}"
    );
    for (file, reason) in WITHOUT_A_MACRO {
        assert!(found.contains_key(*file), "{file} needs no exception");
        assert!(reason.split_whitespace().count() > 3, "{file} has no reason");
    }
}

#[test]
fn openers_are_found_in_tests_and_macros() {
    for source in [
        "#[cfg(test)] mod tests { fn f() { parta_testkit::TestDatabase::sqlite(); } }",
        "on_both!(a, |d| async move { TestDatabase::postgres().await });",
        "fn f() { let open = TestDatabase::postgres; }",
    ] {
        let named = NamedPaths::with_tests(source);
        assert!(OPENERS.iter().any(|opener| named.names(opener)), "{source}");
    }
    let named = NamedPaths::with_tests("fn f(d: &TestDatabase) { d.another(); }");
    assert!(!OPENERS.iter().any(|opener| named.names(opener)));
}
