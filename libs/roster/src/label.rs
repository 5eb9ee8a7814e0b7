//! Comparison of labels: decides whether two labels name the same unit.
use unicode_normalization::UnicodeNormalization as _;

/// Returns the key by which labels are compared: without case and spaces, with Latin letters replaced by
/// similar Cyrillic ones, so that "5A" and "5 а" are one class.
pub fn label_key(label: &str) -> String {
    // Without the spaces, adjacent characters may compose. Repeated until nothing changes.
    let mut key = normalize(label);
    for _ in 0..4 {
        let next = normalize(&key);
        if next == key {
            break;
        }
        key = next;
    }
    key
}

/// Returns the grade that a class is in, from the number with which its label begins: 5 for "5А". `None`
/// for a label that begins otherwise, and for a number that is no grade.
pub fn grade_of(label: &str) -> Option<u8> {
    let digits: String = label
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok().filter(|grade| (1..=12).contains(grade))
}

fn normalize(label: &str) -> String {
    label
        .nfkc()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '«' | '»' | '"'))
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            'a' => 'а',
            'b' => 'в',
            'c' => 'с',
            'e' | 'ё' => 'е',
            'h' => 'н',
            'k' => 'к',
            'm' => 'м',
            'o' => 'о',
            'p' => 'р',
            't' => 'т',
            'x' => 'х',
            'y' => 'у',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{grade_of, label_key};

    #[test]
    fn label_contains_the_grade() {
        for (label, grade) in [("5А", Some(5)), (" 11 Б", Some(11)), ("1-в", Some(1))] {
            assert_eq!(grade_of(label), grade, "{label}");
        }
        for label in ["Хор", "ИС-21", "0А", "13А", "2026", ""] {
            assert_eq!(grade_of(label), None, "{label}");
        }
    }

    #[test]
    fn similar_labels_are_equal() {
        for label in ["5а", "5 А", "5A", "«5А»", "5-а"] {
            assert_eq!(label_key(label), label_key("5А"), "{label}");
        }
        assert_ne!(label_key("5Б"), label_key("5А"));
    }

    proptest::proptest! {
        #[test]
        fn label_key_is_idempotent(text in ".*") {
            proptest::prop_assert_eq!(label_key(&label_key(&text)), label_key(&text));
        }
    }
}
