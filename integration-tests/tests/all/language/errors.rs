//! The text of errors in logs and on the command line.
use super::{assert_none, files, prose};

/// `{:#}` of anyhow prints the text of a cause twice if the error above it contains that text.
#[test]
fn errors_are_printed_by_error_chain() {
    const ALTERNATE: [&str; 5] = ["{:#}", "{0:#}", "{error:#}", "{err:#}", "{e:#}"];
    let mut wrong = Vec::new();
    for (path, _, text) in files(&["bench/src", "libs", "services"], &["rs"]) {
        if path.contains("/tests/") || path.ends_with("tests.rs") {
            continue;
        }
        let program = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = program.lines().enumerate();
        let found = lines.filter(|(_, line)| ALTERNATE.iter().any(|form| line.contains(form)));
        let found = found.filter(|(_, line)| prose(line, true).is_none());
        wrong.extend(found.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())));
    }
    assert_none(&wrong);
}
