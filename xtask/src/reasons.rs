//! `cargo xtask reasons`: whether each reason that the comment of an RPC lists was the reason of a refusal in
//! the tests.
//!
//! The processes of the tests record what the servers refuse, and fail for a reason that is not listed. A
//! listed reason that no test provokes stands in docs/reasons-without-a-test.md, each with why.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use parta_reasons::DocumentedReasons;

use crate::{docs, root, target};

/// Environment variable that names the folder of the records to the tests.
pub(crate) const RECORDS: &str = "PARTA_TEST_REFUSALS";
/// The list of reasons that no test provokes.
const UNTESTED: &str = "docs/reasons-without-a-test.md";

/// A reason of an RPC: the full name of the RPC, then the name of the reason.
type Pair = (String, String);

fn folder() -> PathBuf {
    target().join("refusals")
}

/// Returns the folder of the records, emptied for a new run of the tests.
pub(crate) fn emptied() -> anyhow::Result<PathBuf> {
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    folder
        .canonicalize()
        .with_context(|| folder.display().to_string())
}

/// Fails for listed reasons that never came, and for exceptions that are not needed.
pub(crate) fn run() -> anyhow::Result<()> {
    let documented = DocumentedReasons::read(&docs::pool()?)?;
    let listed: BTreeSet<Pair> = documented
        .listed()
        .map(|(rpc, reason)| (rpc.to_owned(), reason.to_owned()))
        .collect();
    let mut recorded = BTreeSet::new();
    for entry in fs::read_dir(folder()).context("no records: run `cargo xtask test` first")? {
        recorded.extend(fs::read_to_string(entry?.path())?.lines().filter_map(pair));
    }
    ensure!(!recorded.is_empty(), "no records: run `cargo xtask test` first");
    let table = fs::read_to_string(root().join(UNTESTED))?;
    let wrong = disagreements(&listed, &recorded, &table);
    if !wrong.is_empty() {
        bail!(
            "the reasons that the protos list and the refusals of the last `cargo xtask test` disagree; a run of only some \
             tests proves nothing:\n{}",
            wrong.join("\n")
        );
    }
    println!(
        "xtask: {} reasons of RPCs, each came or has an entry in {UNTESTED}",
        listed.len()
    );
    Ok(())
}

/// Reads `parta.chat.v1.ChatService/GetChat NOT_FOUND`.
fn pair(line: &str) -> Option<Pair> {
    let (rpc, reason) = line.split_once(' ')?;
    Some((rpc.to_owned(), reason.to_owned()))
}

/// Rows of the table of exceptions: `| RPC | reason | why |`.
fn exceptions(table: &str) -> Vec<(Pair, &str)> {
    table.lines().filter_map(exception).collect()
}

fn exception(row: &str) -> Option<(Pair, &str)> {
    let mut cells = row.split('|').skip(1).map(str::trim);
    let mut name = || Some(cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let pair = (name()?, name()?);
    Some((pair, cells.next()?))
}

fn disagreements(listed: &BTreeSet<Pair>, recorded: &BTreeSet<Pair>, table: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut excepted = BTreeSet::new();
    for (pair, why) in exceptions(table) {
        let (rpc, reason) = &pair;
        if why.is_empty() {
            wrong.push(format!("{UNTESTED}: {rpc} {reason} has no reason"));
        }
        if !listed.contains(&pair) {
            wrong.push(format!(
                "{UNTESTED}: the comment of {rpc} does not list {reason}; remove the row"
            ));
        } else if recorded.contains(&pair) {
            wrong.push(format!(
                "{UNTESTED}: a test provokes {reason} of {rpc}; remove the row"
            ));
        }
        if !excepted.insert(pair.clone()) {
            wrong.push(format!("{UNTESTED}: {rpc} {reason} has two rows"));
        }
    }
    let missing = listed
        .iter()
        .filter(|pair| !recorded.contains(*pair) && !excepted.contains(*pair));
    wrong.extend(missing.map(|(rpc, reason)| {
        format!(
            "no test provokes {reason} of {rpc}: write one, remove the reason, or add a row to {UNTESTED}"
        )
    }));
    wrong
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
    fn a_listed_reason_that_never_came_fails() {
        let wrong = disagreements(
            &pairs(&["NOT_FOUND", "CHAT_ARCHIVED"]),
            &pairs(&["CHAT_ARCHIVED"]),
            "",
        );
        assert_eq!(wrong.len(), 1);
        assert!(
            wrong[0].starts_with(&format!("no test provokes NOT_FOUND of {RPC}")),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_row_with_its_reason_excepts_a_reason() {
        let listed = pairs(&["NOT_FOUND"]);
        assert_eq!(
            disagreements(&listed, &BTreeSet::new(), ROW),
            Vec::<String>::new()
        );
        let without_why = ROW.replace("A race of two processes.", "");
        assert_eq!(disagreements(&listed, &BTreeSet::new(), &without_why).len(), 1);
    }

    #[test]
    fn a_row_that_is_not_needed_fails() {
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
    fn records_are_read() {
        assert_eq!(
            pair(&format!("{RPC} NOT_FOUND")),
            pairs(&["NOT_FOUND"]).pop_first()
        );
    }
}
