//! The rules of language that a machine can check: plain openings, no metaphors, also in the names of items,
//! American spelling, the width of comments, the form of refusals and log lines, the length of test names.
//!
//! The rules apply to comments, documents, string literals, and the comments and texts of configuration, Helm
//! templates, SQL and scripts.
#![expect(clippy::expect_used, reason = "a test may fail loudly")]
mod errors;
mod names;
mod sentences;
mod texts;

use std::{fs, path::Path};

use texts::string_literals;

/// Files and folders, from the root, whose comments, documents and string literals are checked.
const SCOPES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "bench/src",
    "docs",
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
    "libs/operations",
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
/// Files and folders, from the root, whose configuration, templates, SQL and scripts are checked.
const CONFIGURATION: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    "Cargo.toml",
    "_typos.toml",
    "bench",
    "clippy.toml",
    "config",
    "deny.toml",
    "integration-tests",
    "k8s",
    "libs",
    "proto",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "services",
    "xtask",
];
/// The endings of such files, and the names of those without an ending.
const CONFIGURATION_ENDINGS: &[&str] = &[
    "toml",
    "yaml",
    "yml",
    "tpl",
    "sql",
    "py",
    "txt",
    "run",
    "Containerfile",
    "Dockerfile",
];
/// The file, the word and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "clippy.toml",
    "cancelled",
    "the name of a constructor of tonic::Status",
)];
/// Files whose string literals are not checked, each with its reason.
const UNCHECKED_LITERALS: &[(&str, &str)] = &[
    (
        "integration-tests/tests/all/language.rs",
        "samples of texts that break the rules",
    ),
    (
        "integration-tests/tests/all/language/sentences.rs",
        "samples of texts that break the rules",
    ),
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
    "How ",
    "As ",
    "Though ",
    "Which ",
    "Where ",
    "Whose ",
    "Whom ",
    "How long ",
    "How many ",
    "How often ",
    "Why ",
];
/// Words that comments and documents do not use for what programs do: write request, call, query, response,
/// result, contain, continue. Texts for people may have them.
const WORDS_OF_PEOPLE: &[&str] = &[
    "ask", "asks", "asked", "asking", "answer", "answers", "answered", "bear", "bears", "lie", "lies",
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
/// Words in the names of items that the glossary replaces, besides the others.
const WORDS_OF_NAMES: &[&str] = &["parked", "story", "sweep"];
/// British spellings that the spell checker accepts as variants.
const BRITISH: &[&str] = &[
    "amongst",
    "artefact",
    "artefacts",
    "behaviour",
    "cancelled",
    "cancelling",
    "catalogue",
    "centre",
    "colour",
    "enrolment",
    "favour",
    "fulfil",
    "grey",
    "judgement",
    "labelled",
    "labelling",
    "licence",
    "modelled",
    "modelling",
    "organisation",
    "signalled",
    "signalling",
    "spelt",
    "towards",
    "travelled",
    "whilst",
];
/// Folders, from the root, with Rust sources.
const SCOPES_OF_SOURCES: &[&str] = &["bench", "integration-tests", "libs", "proto", "services", "xtask"];
/// The longest name of a test, in characters.
const TEST_NAME_MAX_LENGTH: usize = 60;
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

/// Returns the text without the names in backquotes.
fn without_names(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

fn opens_with_free_relative(sentence: &str) -> bool {
    let sentence = sentence.trim_start_matches(['-', '*', '#', '|', ' ']);
    OPENINGS.iter().any(|opening| sentence.starts_with(opening))
}

/// Returns what is wrong with the words of a text. A name in snake case is one word.
fn word_faults(plain: &str) -> Vec<String> {
    let lower = plain.to_lowercase();
    let own = lower
        .contains("the own ")
        .then(|| "`the own`: write whose own it is".to_owned());
    let words = plain
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter_map(|word| {
            let lower = word.to_lowercase();
            if WORDS.contains(&lower.as_str()) {
                Some(format!("`{word}` is not in the glossary"))
            } else if BRITISH.contains(&lower.as_str()) {
                Some(format!("`{word}` is British spelling"))
            } else {
                None
            }
        });
    words.chain(own).collect()
}

/// Returns what is wrong with a string literal.
fn literal_faults(text: &str) -> Vec<String> {
    let plain = without_names(text);
    let mut found = word_faults(&plain);
    let mut sentences = plain.split(". ").flat_map(str::lines);
    if !plain.contains('?') && sentences.any(opens_with_free_relative) {
        found.push("a sentence opens with a free relative".to_owned());
    }
    found
}

/// Returns what is wrong with a configuration file, a template, SQL or a script. Words are checked in the
/// whole line, because values such as reasons are texts too.
fn configuration_faults(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut begins = true;
    for (number, line) in text.lines().enumerate() {
        let comment = texts::comment(line);
        let mut line_faults = word_faults(&without_names(line));
        if let Some(comment) = comment {
            let plain = without_names(comment);
            let opens = |(index, sentence): (usize, &str)| {
                (index > 0 || begins) && opens_with_free_relative(sentence)
            };
            if !plain.contains('?') && plain.split(". ").enumerate().any(opens) {
                line_faults.push("a sentence opens with a free relative".to_owned());
            }
            if line.chars().count() > WIDTH_MAX {
                line_faults.push("the comment is too wide".to_owned());
            }
        }
        begins = comment.is_none_or(|text| text.is_empty() || text.ends_with(['.', ':']));
        found.extend(
            line_faults
                .iter()
                .map(|fault| format!("{}: {fault}: {}", number + 1, line.trim())),
        );
    }
    found
}

/// Returns what is wrong with comments or a document.
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
        let plain = without_names(prose);
        for (index, sentence) in plain.split(". ").enumerate() {
            if (index > 0 || begins) && opens_with_free_relative(sentence) && !plain.contains('?') {
                blame("a sentence opens with a free relative");
            }
        }
        for fault in word_faults(&plain) {
            blame(&fault);
        }
        let mut words = plain.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| WORDS_OF_PEOPLE.contains(&word.to_lowercase().as_str())) {
            blame(&format!("`{word}` is a word for people"));
        }
        begins = prose.is_empty() || prose.ends_with(['.', ':', '|']);
    }
    found
}

/// Returns the files of the scopes with one of these endings: the path from the root, the ending and the
/// text. A file without an ending has its name as the ending.
fn files(scopes: &[&str], endings: &[&str]) -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root");
    let mut found = Vec::new();
    for scope in scopes {
        for entry in walkdir::WalkDir::new(root.join(scope)).sort_by_file_name() {
            let entry = entry.expect("a file");
            let path = entry.path();
            let ending = path.extension().unwrap_or(entry.file_name()).to_string_lossy();
            if entry.file_type().is_file() && endings.contains(&ending.as_ref()) {
                let shown = path
                    .strip_prefix(root)
                    .expect("a path below the root")
                    .display()
                    .to_string();
                found.push((
                    shown,
                    ending.into_owned(),
                    fs::read_to_string(path).expect("a text"),
                ));
            }
        }
        let has_file = found.iter().any(|(path, ..)| path.starts_with(scope));
        assert!(has_file, "{scope} has no file");
    }
    found
}

/// Fails with the faults of all files.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn comments_and_documents_are_plain_english() {
    let mut wrong = Vec::new();
    for (path, ending, text) in files(SCOPES, &["rs", "proto", "md"]) {
        let found = faults(&text, ending != "md");
        wrong.extend(found.iter().map(|fault| format!("{path}:{fault}")));
    }
    assert_none(&wrong);
}

#[test]
fn string_literals_are_plain_english() {
    let mut wrong = Vec::new();
    for (path, _, text) in files(SCOPES_OF_SOURCES, &["rs"]) {
        if UNCHECKED_LITERALS.iter().any(|(file, _)| *file == path) {
            continue;
        }
        for (line, literal) in string_literals(&text) {
            let found = literal_faults(&literal);
            wrong.extend(
                found
                    .iter()
                    .map(|fault| format!("{path}:{line}: {fault}: {literal}")),
            );
        }
    }
    assert_none(&wrong);
}

#[test]
fn configuration_is_plain_english() {
    let mut wrong = Vec::new();
    for (path, _, text) in files(CONFIGURATION, CONFIGURATION_ENDINGS) {
        let excepted = |fault: &&String| {
            let mut exceptions = EXCEPTIONS.iter();
            exceptions.any(|(file, word, _)| *file == path && fault.contains(&format!("`{word}`")))
        };
        let found = configuration_faults(&text);
        let found = found.iter().filter(|fault| !excepted(fault));
        wrong.extend(found.map(|fault| format!("{path}:{fault}")));
    }
    assert_none(&wrong);
}

#[test]
fn refusals_are_sentences_and_log_lines_are_not() {
    let mut wrong = Vec::new();
    for (path, _, text) in files(&["libs", "services"], &["rs"]) {
        let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
        if !is_test {
            let found = sentences::faults(&text);
            wrong.extend(found.iter().map(|fault| format!("{path}: {fault}")));
        }
    }
    assert_none(&wrong);
}

/// Services, programs and tests have no API for other developers, so only the libraries require
/// documentation.
#[test]
fn libraries_require_documentation_of_their_api() {
    let mut wrong = files(&["libs"], &["rs"]);
    wrong.retain(|(path, _, text)| {
        path.ends_with("/src/lib.rs") && !text.lines().any(|line| line == "#![warn(missing_docs)]")
    });
    assert_none(&wrong.into_iter().map(|(path, ..)| path).collect::<Vec<_>>());
}

#[test]
fn test_names_have_at_most_60_characters() {
    let mut wrong = Vec::new();
    for (path, _, text) in files(SCOPES_OF_SOURCES, &["rs"]) {
        let names = sentences::test_names(&text);
        let long = names.iter().filter(|name| name.len() > TEST_NAME_MAX_LENGTH);
        wrong.extend(long.map(|name| format!("{path}: {name} has {} characters", name.len())));
    }
    assert_none(&wrong);
}

#[test]
fn faults_of_literals_and_configuration_are_found() {
    for (text, count) in [
        ("Tell the operator.", 1),
        ("The call was cancelled. What is next is unknown.", 2),
        ("What is next?", 0),
        ("the server calls tells_nobody of `world`", 0),
    ] {
        assert_eq!(
            literal_faults(text).len(),
            count,
            "{text}: {:?}",
            literal_faults(text)
        );
    }
    let wide = format!("# {}", "wide ".repeat(23));
    for (text, count) in [
        ("# What is shipped.\n[profile.dist]", 1),
        ("# The profile that shows\n# What is shipped.", 0),
        ("reason = \"a test hears its log\"", 1),
        ("-- Who writes.\nSELECT 1", 1),
        ("{{- /* Pods start anew. */}}", 1),
        (wide.as_str(), 1),
        (wide.trim_start_matches("# "), 0),
    ] {
        let found = configuration_faults(text);
        assert_eq!(found.len(), count, "{text}: {found:?}");
    }
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
