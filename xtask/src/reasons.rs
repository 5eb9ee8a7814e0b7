//! `cargo xtask reasons`: checks that every reason listed in the comment of an RPC was returned in the tests.
//!
//! The test processes record the refusals of the servers, and fail for a reason that is not listed. Listed
//! reasons that no test provokes are exceptions in docs/reasons-without-a-test.md, each with an explanation.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use parta_reasons::DocumentedReasons;

use crate::{docs, root, target};

/// Environment variable with the folder into which the tests write their records.
pub(crate) const RECORDS: &str = "PARTA_TEST_REFUSALS";
/// The list of reasons that no test provokes.
const UNTESTED: &str = "docs/reasons-without-a-test.md";

/// A reason of an RPC: the full name of the RPC, then the name of the reason.
type Pair = (String, String);

fn folder() -> PathBuf {
    target().join("refusals")
}

/// Empties the folder of the records for a new run of the tests and returns it.
pub(crate) fn empty_folder() -> anyhow::Result<PathBuf> {
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    folder
        .canonicalize()
        .with_context(|| folder.display().to_string())
}

/// Fails for listed reasons that were not recorded, and for exceptions that are not needed.
pub(crate) fn run() -> anyhow::Result<()> {
    let documented = DocumentedReasons::read(&docs::pool()?)?;
    let listed: BTreeSet<Pair> = documented
        .listed()
        .map(|(rpc, reason)| (rpc.to_owned(), reason.to_owned()))
        .collect();
    let mut recorded = BTreeSet::new();
    for entry in fs::read_dir(folder()).context("no records: run `cargo xtask test` first")? {
        recorded.extend(
            fs::read_to_string(entry?.path())?
                .lines()
                .filter_map(parse_record),
        );
    }
    ensure!(!recorded.is_empty(), "no records: run `cargo xtask test` first");
    let table = fs::read_to_string(root().join(UNTESTED))?;
    let errors = disagreements(&listed, &recorded, &table);
    if !errors.is_empty() {
        bail!(
            "the reasons that the protos list and the refusals of the last `cargo xtask test` disagree (run all tests \
             first):\n{}",
            errors.join("\n")
        );
    }
    println!(
        "xtask: {} reasons of RPCs: each was recorded or is an exception in {UNTESTED}",
        listed.len()
    );
    Ok(())
}

/// Reads `parta.chat.v1.ChatService/GetChat NOT_FOUND`.
fn parse_record(line: &str) -> Option<Pair> {
    let (rpc, reason) = line.split_once(' ')?;
    Some((rpc.to_owned(), reason.to_owned()))
}

/// Returns the rows of the table of exceptions: `| RPC | reason | why |`.
fn exceptions(table: &str) -> Vec<(Pair, &str)> {
    table.lines().filter_map(exception).collect()
}

/// Parses one row; `None` for other lines.
fn exception(row: &str) -> Option<(Pair, &str)> {
    let mut cells = row.split('|').skip(1).map(str::trim);
    let mut name = || Some(cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let pair = (name()?, name()?);
    Some((pair, cells.next()?))
}

fn disagreements(listed: &BTreeSet<Pair>, recorded: &BTreeSet<Pair>, table: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut rows = BTreeSet::new();
    for (pair, why) in exceptions(table) {
        let (rpc, reason) = &pair;
        if why.is_empty() {
            errors.push(format!("{UNTESTED}: {rpc} {reason} has no explanation"));
        }
        if !listed.contains(&pair) {
            errors.push(format!(
                "{UNTESTED}: the comment of {rpc} does not list {reason}; remove the row"
            ));
        } else if recorded.contains(&pair) {
            errors.push(format!(
                "{UNTESTED}: a test provokes {reason} of {rpc}; remove the row"
            ));
        }
        if !rows.insert(pair.clone()) {
            errors.push(format!("{UNTESTED}: {rpc} {reason} has two rows"));
        }
    }
    let missing = listed
        .iter()
        .filter(|pair| !recorded.contains(*pair) && !rows.contains(*pair));
    errors.extend(missing.map(|(rpc, reason)| {
        format!(
            "no test provokes {reason} of {rpc}: write one, remove the reason, or add a row to {UNTESTED}"
        )
    }));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    const RPC: &str = "parta.chat.v1.ChatService/GetChat";
    const ROW: &str = "| `parta.chat.v1.ChatService/GetChat` | `NOT_FOUND` | A race of two processes. |";

    fn pairs(reasons: &[&str]) -> BTreeSet<Pair> {
        reasons
            .iter()
            .map(|reason| (RPC.to_owned(), (*reason).to_owned()))
            .collect()
    }

    #[test]
    fn listed_reason_without_a_record_fails() {
        let errors = disagreements(
            &pairs(&["NOT_FOUND", "CHAT_ARCHIVED"]),
            &pairs(&["CHAT_ARCHIVED"]),
            "",
        );
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].starts_with(&format!("no test provokes NOT_FOUND of {RPC}")),
            "{errors:?}"
        );
    }

    #[test]
    fn row_with_an_explanation_is_an_exception() {
        let listed = pairs(&["NOT_FOUND"]);
        assert_eq!(
            disagreements(&listed, &BTreeSet::new(), ROW),
            Vec::<String>::new()
        );
        let without_why = ROW.replace("A race of two processes.", "");
        assert_eq!(disagreements(&listed, &BTreeSet::new(), &without_why).len(), 1);
    }

    #[test]
    fn row_that_is_not_needed_fails() {
        let none = BTreeSet::new();
        for (listed, recorded, table) in [
            (pairs(&["NOT_FOUND"]), pairs(&["NOT_FOUND"]), ROW.to_owned()),
            (none.clone(), none.clone(), ROW.to_owned()),
            (pairs(&["NOT_FOUND"]), none, format!("{ROW}\n{ROW}")),
        ] {
            assert_eq!(disagreements(&listed, &recorded, &table).len(), 1, "{table}");
        }
    }

    #[test]
    fn record_line_is_parsed() {
        assert_eq!(
            parse_record(&format!("{RPC} NOT_FOUND")),
            pairs(&["NOT_FOUND"]).pop_first()
        );
    }
}
