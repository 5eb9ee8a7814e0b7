//! `cargo xtask requirements`: lists the tests that cover each requirement (R) and each rule of reach (F).
//!
//! A comment above a test names the rows that it covers: `/// Covers: R16 allowed, F3 refused`. A comment
//! `// R16` above a test is listed too, but covers nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
};

use anyhow::bail;

use crate::{root, walk};

/// The number of rows of each series. docs/requirements.md has one row for each.
const SERIES: [(Series, u32); 2] = [(Series::Requirement, 84), (Series::Reach, 25)];
/// Rows that are checked by other means, which the table names, instead of a pair of tests.
const BY_OTHER_CHECK: [Row; 3] = [
    Row(Series::Requirement, 58),
    Row(Series::Requirement, 62),
    Row(Series::Requirement, 63),
];
/// The macros whose first argument is the name of a test.
const MACROS: [&str; 5] = [
    "on_both",
    "property_on_both",
    "on_sqlite",
    "on_postgres",
    "on_both_topologies",
];
/// Begins the list of rows that a test covers.
const MARKER: &str = "Covers:";
const STATES: [&str; 3] = ["done", "begun", "not begun"];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Series {
    /// `R`: a requirement.
    Requirement,
    /// `F`: a rule of docs/requirements.md about who may reach whom.
    Reach,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Row(Series, u32);

impl Row {
    /// Reads `R16` or `F3`.
    fn parse(word: &str) -> Option<Self> {
        let (series, number) = if let Some(number) = word.strip_prefix('R') {
            (Series::Requirement, number)
        } else {
            (Series::Reach, word.strip_prefix('F')?)
        };
        Some(Self(series, number.parse().ok()?))
    }

    fn all() -> impl Iterator<Item = Self> {
        SERIES
            .into_iter()
            .flat_map(|(series, last)| (1..=last).map(move |number| Self(series, number)))
    }

    fn exists(self) -> bool {
        Self::all().any(|row| row == self)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.0 {
            Series::Requirement => 'R',
            Series::Reach => 'F',
        };
        write!(f, "{letter}{}", self.1)
    }
}

#[derive(Default)]
struct Coverage {
    allowed: BTreeSet<String>,
    refused: BTreeSet<String>,
    named: BTreeSet<String>,
}

type Covered = BTreeMap<Row, Coverage>;

pub(crate) fn run() -> anyhow::Result<()> {
    let (mut covered, mut unread) = (Covered::new(), Vec::new());
    for path in walk("rs") {
        let relative = path.strip_prefix(root()).unwrap_or(&path);
        if !relative.starts_with("xtask") {
            let source = fs::read_to_string(&path)?;
            scan(relative, &source, &mut covered);
            unread.extend(unread_markers(relative, &source));
        }
    }
    if !unread.is_empty() {
        bail!(
            "`{MARKER}` begins a comment line, and each item is a row and its case (R16 allowed):\n{}",
            unread.join("\n")
        );
    }
    let table = fs::read_to_string(root().join("docs").join("requirements.md"))?;
    let none = Coverage::default();
    for (row, state) in listed(&table) {
        print(row, state, covered.get(&row).unwrap_or(&none));
    }
    let errors = disagreements(&table, &covered);
    if !errors.is_empty() {
        bail!(
            "docs/requirements.md and the tests disagree:\n{}",
            errors.join("\n")
        );
    }
    Ok(())
}

/// Returns the errors of the table, given the tests.
fn disagreements(table: &str, covered: &Covered) -> Vec<String> {
    let mut rows = BTreeMap::new();
    let mut errors = Vec::new();
    for (row, state) in listed(table) {
        if rows.insert(row, state).is_some() {
            errors.push(format!("{row} has more than one row"));
        }
        if !row.exists() {
            errors.push(format!("{row} has a row, but does not exist"));
        }
    }
    for row in Row::all() {
        let Some(state) = rows.get(&row) else {
            errors.push(format!("{row} has no row"));
            continue;
        };
        if !STATES.contains(state) {
            errors.push(format!("{row} is {state:?}, expected one of {STATES:?}"));
        }
        let is_incomplete = covered
            .get(&row)
            .is_none_or(|coverage| coverage.allowed.is_empty() || coverage.refused.is_empty());
        if *state == "done" && is_incomplete && !BY_OTHER_CHECK.contains(&row) {
            errors.push(format!(
                "{row} is marked as done but has no tests of both the allowed and the refused case"
            ));
        }
        let has_tests = covered
            .get(&row)
            .is_some_and(|coverage| !coverage.allowed.is_empty() || !coverage.refused.is_empty());
        if *state == "not begun" && has_tests {
            errors.push(format!("{row} is marked as not begun but has tests"));
        }
    }
    let unknown = covered.keys().filter(|row| !row.exists());
    errors.extend(unknown.map(|row| format!("a test names {row}, which does not exist")));
    errors
}

fn print(row: Row, state: &str, coverage: &Coverage) {
    let Coverage {
        allowed,
        refused,
        named,
    } = coverage;
    println!(
        "{row}: {state}; {} allowed, {} refused, {} name it",
        allowed.len(),
        refused.len(),
        named.len()
    );
    for (case, tests) in [("allowed", allowed), ("refused", refused), ("names it", named)] {
        for test in tests {
            println!("    {case}: {test}");
        }
    }
}

/// Returns the rows of the table: `| R16 | done | ... |`.
fn listed(table: &str) -> impl Iterator<Item = (Row, &str)> {
    table.lines().filter_map(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        Some((Row::parse(cells.next()?)?, cells.next()?))
    })
}

enum Case {
    Allowed,
    Refused,
    Named,
}

/// Reads an item of a list: `R16 allowed`.
fn covered_case(item: &str) -> Option<(Row, Case)> {
    let (row, case) = item.trim().trim_end_matches('.').split_once(' ')?;
    let case = match case {
        "allowed" => Case::Allowed,
        "refused" => Case::Refused,
        _ => return None,
    };
    Some((Row::parse(row)?, case))
}

/// Returns the text of a line that is a comment.
fn comment_of(line: &str) -> Option<&str> {
    let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//"));
    comment.map(str::trim)
}

/// Returns the lines with a marker that [`markers`] does not read in full: one inside a sentence, or one
/// whose list has an item that is no row with its case.
fn unread_markers(file: &Path, source: &str) -> Vec<String> {
    let lines = source.lines().map(str::trim).enumerate();
    let unread = lines.filter(|(_, line)| {
        let Some((before, list)) = comment_of(line).and_then(|comment| comment.split_once(MARKER)) else {
            return false;
        };
        !before.is_empty() || list.split(',').any(|item| covered_case(item).is_none())
    });
    unread
        .map(|(index, line)| format!("{}:{}: {line}", file.display(), index + 1))
        .collect()
}

/// Returns the rows that a comment names.
fn markers(comment: &str) -> Vec<(Row, Case)> {
    if let Some(list) = comment.strip_prefix(MARKER) {
        return list.split(',').filter_map(covered_case).collect();
    }
    let words = comment.split([',', ':', ' ']).filter(|word| !word.is_empty());
    words
        .map_while(Row::parse)
        .map(|row| (row, Case::Named))
        .collect()
}

fn scan(file: &Path, source: &str, covered: &mut Covered) {
    let mut pending = Vec::new();
    let mut in_macro = false;
    for line in source.lines().map(str::trim) {
        if let Some(comment) = comment_of(line) {
            pending.extend(markers(comment));
        } else if MACROS.iter().any(|name| line.ends_with(&format!("{name}!("))) {
            in_macro = true;
        } else if line.starts_with("#[") || line.is_empty() {
        } else {
            if let Some(name) = name(line, in_macro) {
                for (row, case) in pending.drain(..) {
                    let coverage = covered.entry(row).or_default();
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

/// Returns the name of the test that begins in this line: a function, a module with the variants of one test,
/// or the first argument of a macro.
fn name(line: &str, in_macro: bool) -> Option<&str> {
    let of_macro = MACROS
        .iter()
        .find_map(|name| line.split_once(&format!("{name}!(")));
    let rest = match of_macro {
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

    fn r(number: u32) -> Row {
        Row(Series::Requirement, number)
    }

    fn names(tests: &BTreeSet<String>) -> Vec<&str> {
        tests.iter().filter_map(|test| test.split(' ').next()).collect()
    }

    #[test]
    fn marker_belongs_to_the_test_below_it() {
        for source in [
            "/// Covers: R16 allowed, R17 refused\n#[tokio::test]\nasync fn a_test() {}\nfn other() {}",
            "// Covers: R16 allowed, R17 refused.\non_both!(a_test, |database| async move {",
            "on_both!(\n    /// Covers: R16 allowed, R17 refused\n    a_test,\n    |database| async {}\n);",
            "// Covers: R16 allowed, R17 refused.\non_postgres!(a_test, \"a reason\", |database| async move {",
            "// Covers: R16 allowed\n// Covers: R17 refused\nproperty_on_both!(\n    a_test,\n    config,",
        ] {
            let covered = covered(source);
            assert_eq!(names(&covered[&r(16)].allowed), ["a_test"], "{source}");
            assert_eq!(names(&covered[&r(17)].refused), ["a_test"], "{source}");
            assert!(covered[&r(17)].allowed.is_empty(), "{source}");
        }
    }

    #[test]
    fn named_row_is_not_covered() {
        let covered = covered("// R16, R17: what it is\n#[test]\nfn a_test() {}\n");
        assert_eq!(names(&covered[&r(16)].named), ["a_test"]);
        assert_eq!(names(&covered[&r(17)].named), ["a_test"]);
        assert!(covered[&r(16)].allowed.is_empty() && covered[&r(16)].refused.is_empty());
    }

    #[test]
    fn marker_inside_a_sentence_is_an_error() {
        let unread = |source: &str| unread_markers(Path::new("a.rs"), source);
        assert_eq!(
            unread("/// Covers: R16 allowed, F3 refused.\n// R16: a name"),
            [""; 0]
        );
        for source in [
            "// A sentence. Covers: R16 allowed",
            "// Covers: R16 allowed, F2",
            "// Covers: R16 allowed,",
            "// Covers: R16 permitted",
            "// Covers:",
        ] {
            assert_eq!(unread(source), [format!("a.rs:1: {source}")]);
        }
    }

    #[test]
    fn rows_are_read() {
        let rows: Vec<_> =
            listed("| R | state |\n|---|---|\n| R1 | done | x |\n| R2 | not begun | |").collect();
        assert_eq!(rows, [(r(1), "done"), (r(2), "not begun")]);
    }

    #[test]
    fn reach_rules_are_separate_rows() {
        let covered = covered("/// Covers: F3 allowed, F3 refused, R3 allowed\n#[test]\nfn a_test() {}");
        let sentence = Row(Series::Reach, 3);
        assert_eq!(names(&covered[&sentence].allowed), ["a_test"]);
        assert_eq!(names(&covered[&sentence].refused), ["a_test"]);
        assert_eq!(names(&covered[&r(3)].allowed), ["a_test"]);
        assert!(covered[&r(3)].refused.is_empty());
    }

    /// Returns a table with all rows, in which `different` rows have another state.
    fn table(different: &[(&str, &str)]) -> String {
        let state = |row: &str| {
            different
                .iter()
                .find(|(name, _)| *name == row)
                .map_or("not begun", |(_, state)| *state)
        };
        Row::all()
            .map(|row| format!("| {row} | {} | |\n", state(&row.to_string())))
            .collect()
    }

    #[test]
    fn rows_from_r1_to_r84_and_f1_to_f25_are_required() {
        assert!(disagreements(&table(&[]), &Covered::new()).is_empty());
        let errors = disagreements(
            "| R1 | done | |\n| F26 | begun | |\n| R85 | begun | |",
            &Covered::new(),
        );
        for line in [
            "R2 has no row",
            "R84 has no row",
            "F1 has no row",
            "F25 has no row",
        ] {
            assert!(errors.iter().any(|w| w == line), "{line}: {errors:?}");
        }
        for line in [
            "F26 has a row, but does not exist",
            "R85 has a row, but does not exist",
        ] {
            assert!(errors.iter().any(|w| w == line), "{line}: {errors:?}");
        }
    }

    #[test]
    fn row_with_tests_was_begun() {
        let tests = covered("/// Covers: R18 refused\n#[test]\nfn a_test() {}");
        let errors = disagreements(&table(&[]), &tests);
        assert_eq!(errors, ["R18 is marked as not begun but has tests"]);
        assert!(disagreements(&table(&[("R18", "begun")]), &tests).is_empty());
    }

    #[test]
    fn done_needs_both_cases() {
        let table = table(&[("F3", "done"), ("R58", "done"), ("R1", "perhaps")]);
        let both = "/// Covers: F3 allowed, F3 refused, F99 allowed\n#[test]\nfn a_test() {}";
        let one = "/// Covers: F3 allowed\n#[test]\nfn a_test() {}";
        let state = "R1 is \"perhaps\", expected one of [\"done\", \"begun\", \"not begun\"]";
        assert_eq!(
            disagreements(&table, &covered(one)),
            [
                state,
                "F3 is marked as done but has no tests of both the allowed and the refused case"
            ]
        );
        assert_eq!(
            disagreements(&table, &covered(both)),
            [state, "a test names F99, which does not exist"]
        );
    }
}
