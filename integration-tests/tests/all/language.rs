//! The rules of language that a machine can check: plain openings, no metaphors, the width of comments.
//!
//! The rules apply to the scopes below. A folder is added once all of its comments follow them.
use std::{fs, path::Path};

/// Files and folders, from the root, whose comments or text are checked.
const SCOPES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "bench/src",
    "docs/adding-an-rpc.md",
    "docs/adr",
    "docs/errors.md",
    "docs/glossary.md",
    "docs/logging.md",
    "docs/long-runs.md",
    "docs/operations",
    "docs/performance.md",
    "docs/permissions.md",
    "docs/reasons-without-a-test.md",
    "docs/requirements.md",
    "docs/running-a-cluster.md",
    "docs/testing.md",
    "integration-tests",
    "k8s",
    "libs/access",
    "libs/audit",
    "libs/contacts",
    "libs/database",
    "libs/edge",
    "libs/feed",
    "libs/grpc",
    "libs/ids",
    "libs/jobs",
    "libs/mutations",
    "libs/reasons",
    "libs/roster",
    "libs/runtime",
    "libs/service-testkit",
    "libs/status",
    "libs/testkit",
    "proto",
    "services/call-scheduling",
    "services/chat",
    "services/invitation",
    "services/membership",
    "services/org-registry",
    "services/parta",
    "xtask/src",
];
/// No sentence begins with a free relative, or with `As` or `Though`.
const OPENINGS: &[&str] = &[
    "What ",
    "Who ",
    "Whoever ",
    "Whatever ",
    "So many ",
    "So long ",
    "By what ",
    "As ",
    "Though ",
];
/// Metaphors and verbs that the glossary replaces.
const WORDS: &[&str] = &[
    "house",
    "door",
    "walks",
    "town",
    "world",
    "cast",
    "strangers",
    "mend",
    "mends",
    "mended",
    "tell",
    "tells",
    "told",
    "swept",
    "sweeps",
    "handed",
    "whoever",
    "anew",
    "hear",
    "hears",
    "heard",
    "mortal",
    "somebody",
];
/// The widest comment, with its indentation, and the widest line of a document that is not part of a table,
/// in characters.
const WIDTH_MAX: usize = 110;

/// The text of a line that people read, without the marks of comments; `None` for code.
fn prose(line: &str, is_source: bool) -> Option<&str> {
    let line = line.trim_start();
    if !is_source {
        return Some(line);
    }
    ["///", "//!", "//"]
        .into_iter()
        .find_map(|mark| line.strip_prefix(mark))
        .map(str::trim_start)
}

/// Everything wrong with a text.
fn faults(text: &str, is_source: bool) -> Vec<String> {
    let mut found = Vec::new();
    let (mut fenced, mut begins) = (false, true);
    for (number, line) in text.lines().enumerate() {
        let Some(prose) = prose(line, is_source) else {
            begins = true;
            continue;
        };
        if prose.starts_with("```") {
            fenced = !fenced;
        }
        // Code inside documents has the names that it has.
        if fenced || prose.starts_with("```") || (!is_source && line.starts_with("    ")) {
            begins = true;
            continue;
        }
        let mut blame = |what: &str| found.push(format!("{}: {what}: {}", number + 1, line.trim()));
        // A command in a comment stays on one line, so that it can be copied.
        let is_command = prose.contains("`buf curl");
        if is_source && !is_command && line.chars().count() > WIDTH_MAX {
            blame("the comment is too wide");
        }
        let is_paragraph = !is_source && !line.starts_with(['|', '#']);
        if is_paragraph && line.chars().count() > WIDTH_MAX {
            blame("the line is too wide");
        }
        // Names in backquotes are names.
        let plain: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (index, sentence) in plain.split(". ").enumerate() {
            let sentence = sentence.trim_start_matches(['-', '*', '#', '|', ' ']);
            let opens = index > 0 || begins;
            if opens && OPENINGS.iter().any(|opening| sentence.starts_with(opening)) && !plain.contains('?') {
                blame("a sentence opens with a free relative");
            }
        }
        let words = plain.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| WORDS.contains(&word.to_lowercase().as_str())) {
            blame(&format!("`{word}` is not in the glossary"));
        }
        begins = prose.is_empty() || prose.ends_with(['.', ':', '|']);
    }
    found
}

#[test]
fn comments_and_documents_are_plain_english() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut wrong = Vec::new();
    for scope in SCOPES {
        let mut read = 0;
        for entry in walkdir::WalkDir::new(root.join(scope)).sort_by_file_name() {
            let entry = entry.unwrap();
            let extension = entry.path().extension().unwrap_or_default();
            let is_source = extension == "rs" || extension == "proto";
            if !entry.file_type().is_file() || !(is_source || extension == "md") {
                continue;
            }
            read += 1;
            let text = fs::read_to_string(entry.path()).unwrap();
            let shown = entry.path().strip_prefix(root).unwrap().display().to_string();
            wrong.extend(
                faults(&text, is_source)
                    .iter()
                    .map(|fault| format!("{shown}:{fault}")),
            );
        }
        assert!(read > 0, "{scope} has no file");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn faults_of_language_are_found() {
    let wide = "wide ".repeat(23);
    for (text, is_source, count) in [
        ("/// What is kept.\nfn a() {}", true, 1),
        ("/// The kept rows. Who left is not among them.", true, 1),
        ("/// Rows that a member\n/// As seen by others.", true, 0),
        ("// Large chats are swept.", true, 1),
        ("let house = 1; fn what() {}", true, 0),
        ("/// The `world` module.", true, 0),
        ("| role | What a member is |", false, 0),
        ("What it is\n\n    What code is\n", false, 1),
        ("## What is it?", false, 0),
        ("Tell the operator.", false, 1),
        (wide.as_str(), false, 1),
        (&format!("| {wide} |"), false, 0),
        (&format!("// {wide}"), true, 1),
        (&format!("// Try: `buf curl {wide}`"), true, 0),
    ] {
        assert_eq!(
            faults(text, is_source).len(),
            count,
            "{text}: {:?}",
            faults(text, is_source)
        );
    }
}
