//! The words in the names of items.
use super::{SCOPES_OF_SOURCES, WORDS, WORDS_OF_NAMES, WORDS_OF_PEOPLE, assert_none, files, sentences};

/// Returns the words of a name in snake case, camel case or capitals.
fn words_of_name(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().expect("a word").extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words
}

#[test]
fn names_of_items_use_the_glossary() {
    let mut wrong = Vec::new();
    for (path, _, text) in files(SCOPES_OF_SOURCES, &["rs"]) {
        for name in sentences::item_names(&text) {
            let lists = [WORDS, WORDS_OF_PEOPLE, WORDS_OF_NAMES];
            let words = words_of_name(&name);
            if let Some(word) = words
                .iter()
                .find(|w| lists.iter().any(|list| list.contains(&w.as_str())))
            {
                wrong.push(format!("{path}: {name}: `{word}` is not in the glossary"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn words_of_names_are_found() {
    assert_eq!(words_of_name("ask_again"), ["ask", "again"]);
    assert_eq!(words_of_name("AskedAgain"), ["asked", "again"]);
    assert_eq!(words_of_name("ASKED_BEFORE"), ["asked", "before"]);
}
