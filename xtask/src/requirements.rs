//! `cargo xtask requirements`: which tests cover which R.
//!
//! A test says what it covers in a comment above it: `/// Covers: R16 allowed, R38 refused`. A bare `// R16` above a
//! test is shown as naming the R, and covers nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::bail;

use crate::{root, walk};

/// How many there are; the table has a row for each.
const LAST: u32 = 66;
/// Proven by a check that their row names instead of a pair of tests.
const BY_OTHER_CHECK: [u32; 3] = [58, 62, 63];
const STATES: [&str; 3] = ["done", "begun", "not begun"];

#[derive(Default)]
struct Coverage {
    allowed: BTreeSet<String>,
    refused: BTreeSet<String>,
    named: BTreeSet<String>,
}

type Covered = BTreeMap<u32, Coverage>;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut covered = Covered::new();
    for path in walk("rs") {
        let relative = path.strip_prefix(root()).unwrap_or(&path);
        if !relative.starts_with("xtask") {
            scan(relative, &fs::read_to_string(&path)?, &mut covered);
        }
    }
    let table = fs::read_to_string(root().join("docs").join("requirements.md"))?;
    let rows: BTreeMap<u32, &str> = listed(&table).collect();
    let mut wrong = Vec::new();
    for number in 1..=LAST {
        let Some(state) = rows.get(&number) else {
            wrong.push(format!("R{number} has no row"));
            continue;
        };
        if !STATES.contains(state) {
            wrong.push(format!("R{number} is {state:?}, which is none of {STATES:?}"));
        }
        let none = Coverage::default();
        let coverage = covered.get(&number).unwrap_or(&none);
        print(number, state, coverage);
        let half = coverage.allowed.is_empty() || coverage.refused.is_empty();
        if *state == "done" && half && !BY_OTHER_CHECK.contains(&number) {
            wrong.push(format!(
                "R{number} is called done without a test of both the allowed and the refused case"
            ));
        }
    }
    wrong.extend(
        covered
            .keys()
            .filter(|r| **r == 0 || **r > LAST)
            .map(|r| format!("a test names R{r}, which does not exist")),
    );
    if !wrong.is_empty() {
        bail!(
            "docs/requirements.md and the tests disagree:\n{}",
            wrong.join("\n")
        );
    }
    Ok(())
}

fn print(number: u32, state: &str, coverage: &Coverage) {
    let Coverage {
        allowed,
        refused,
        named,
    } = coverage;
    println!(
        "R{number}: {state}; {} allowed, {} refused, {} name it",
        allowed.len(),
        refused.len(),
        named.len()
    );
    for (what, tests) in [("allowed", allowed), ("refused", refused), ("names it", named)] {
        for test in tests {
            println!("    {what}: {test}");
        }
    }
}

/// Rows of the table: `| R16 | done | ... |`.
fn listed(table: &str) -> impl Iterator<Item = (u32, &str)> {
    table.lines().filter_map(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let number = cells.next()?.strip_prefix('R')?.parse().ok()?;
        Some((number, cells.next()?))
    })
}

enum Case {
    Allowed,
    Refused,
    Named,
}

/// What a comment says of requirements.
fn markers(comment: &str) -> Vec<(u32, Case)> {
    let number = |word: &str| word.strip_prefix('R')?.parse::<u32>().ok();
    if let Some(list) = comment.strip_prefix("Covers:") {
        let items = list.split(',').filter_map(|item| {
            let (r, case) = item.trim().trim_end_matches('.').split_once(' ')?;
            let case = match case {
                "allowed" => Case::Allowed,
                "refused" => Case::Refused,
                _ => return None,
            };
            Some((number(r)?, case))
        });
        return items.collect();
    }
    let words = comment.split([',', ':', ' ']).filter(|word| !word.is_empty());
    words.map_while(number).map(|r| (r, Case::Named)).collect()
}

fn scan(file: &Path, source: &str, covered: &mut Covered) {
    let mut pending = Vec::new();
    let mut in_macro = false;
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///").or_else(|| line.strip_prefix("//")) {
            pending.extend(markers(comment.trim()));
        } else if line.ends_with("on_both!(") || line.ends_with("on_both_topologies!(") {
            in_macro = true;
        } else if line.starts_with("#[") || line.is_empty() {
        } else {
            if let Some(name) = name(line, in_macro) {
                for (number, case) in pending.drain(..) {
                    let coverage = covered.entry(number).or_default();
                    let tests = match case {
                        Case::Allowed => &mut coverage.allowed,
                        Case::Refused => &mut coverage.refused,
                        Case::Named => &mut coverage.named,
                    };
                    tests.insert(format!("{name} ({})", file.display()));
                }
            }
            pending.clear();
            in_macro = false;
        }
    }
}

/// The name of the test that a line begins: a function, a module of one test's variants, or the first word of the macro.
fn name(line: &str, in_macro: bool) -> Option<&str> {
    let rest = match line.split_once("on_both!(") {
        Some((_, rest)) => rest,
        None if in_macro => line,
        None => line.split_once("fn ").or_else(|| line.split_once("mod "))?.1,
    };
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    (end > 0).then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(source: &str) -> Covered {
        let mut covered = Covered::new();
        scan(Path::new("a.rs"), source, &mut covered);
        covered
    }

    fn names(tests: &BTreeSet<String>) -> Vec<&str> {
        tests.iter().filter_map(|test| test.split(' ').next()).collect()
    }

    #[test]
    fn a_marker_belongs_to_the_test_below_it() {
        for source in [
            "/// Covers: R16 allowed, R17 refused\n#[tokio::test]\nasync fn a_test() {}\nfn other() {}",
            "// Covers: R16 allowed, R17 refused.\non_both!(a_test, |database| async move {",
            "on_both!(\n    /// Covers: R16 allowed, R17 refused\n    a_test,\n    |database| async {}\n);",
        ] {
            let covered = covered(source);
            assert_eq!(names(&covered[&16].allowed), ["a_test"], "{source}");
            assert_eq!(names(&covered[&17].refused), ["a_test"], "{source}");
            assert!(covered[&17].allowed.is_empty(), "{source}");
        }
    }

    #[test]
    fn naming_is_not_covering() {
        let covered = covered("// R16, R17: what it is\n#[test]\nfn a_test() {}\n");
        assert_eq!(names(&covered[&16].named), ["a_test"]);
        assert_eq!(names(&covered[&17].named), ["a_test"]);
        assert!(covered[&16].allowed.is_empty() && covered[&16].refused.is_empty());
    }

    #[test]
    fn rows_are_read() {
        let rows: Vec<_> =
            listed("| R | state |\n|---|---|\n| R1 | done | x |\n| R2 | not begun | |").collect();
        assert_eq!(rows, [(1, "done"), (2, "not begun")]);
    }
}
