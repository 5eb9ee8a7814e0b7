//! Texts outside comments and documents: string literals of Rust, and the comments and texts of
//! configuration.
use std::iter::Peekable;

/// Returns the string literals of a source that contain a space, each with the number of its first line.
/// Literals without a space are names. Code in comments is skipped.
pub(super) fn string_literals(source: &str) -> Vec<(usize, String)> {
    let (mut found, mut line) = (Vec::new(), 1);
    let mut chars = source.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let begins_at = line;
        let literal = match c {
            '/' if chars.peek() == Some(&'/') => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                None
            }
            '"' => Some(quoted(&mut chars)),
            'r' if matches!(chars.peek(), Some('"' | '#'))
                && !(before.is_alphanumeric() || before == '_') =>
            {
                raw(&mut chars)
            }
            '\'' => {
                skip_char(&mut chars);
                None
            }
            _ => None,
        };
        line += usize::from(c == '\n');
        before = c;
        if let Some((text, lines)) = literal {
            line += lines;
            if text.contains(' ') {
                found.push((begins_at, text));
            }
        }
    }
    found
}

/// Reads a literal after its opening quote. Returns the text, in which an escaped line break is nothing, and
/// the number of line breaks in the source.
fn quoted(chars: &mut Peekable<impl Iterator<Item = char>>) -> (String, usize) {
    let (mut text, mut lines) = (String::new(), 0);
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => {
                    lines += 1;
                    while let Some(space) = chars.next_if(|c| c.is_whitespace()) {
                        lines += usize::from(space == '\n');
                    }
                }
                Some('n') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => break,
            },
            _ => {
                lines += usize::from(c == '\n');
                text.push(c);
            }
        }
    }
    (text, lines)
}

/// Reads a raw literal after its `r`; `None` for a raw identifier.
fn raw(chars: &mut Peekable<impl Iterator<Item = char>>) -> Option<(String, usize)> {
    let mut hashes = 0;
    while chars.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    chars.next_if_eq(&'"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let mut text = String::new();
    while !text.ends_with(&end) {
        text.push(chars.next()?);
    }
    text.truncate(text.len() - end.len());
    let lines = text.matches('\n').count();
    Some((text, lines))
}

/// Skips the rest of a character after its opening quote. A lifetime has no closing quote.
fn skip_char(chars: &mut Peekable<impl Iterator<Item = char>>) {
    if chars.next_if_eq(&'\\').is_some() {
        chars.next();
        while chars.next_if(|c| *c != '\'').is_some() {}
        chars.next();
    } else if chars.next_if(|c| !c.is_alphanumeric() && *c != '_').is_some() {
        chars.next_if_eq(&'\'');
    } else if chars.next().is_some() {
        // `'a'` is a character, `'a` and `'static` are lifetimes.
        chars.next_if_eq(&'\'');
    }
}

/// Returns the text of a comment that fills its line, in a configuration file, a template or SQL.
pub(super) fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    ["#!", "{{- /*", "{{/*", "#", "--"]
        .into_iter()
        .find_map(|mark| line.strip_prefix(mark))
        .map(str::trim_start)
}

#[test]
fn string_literals_are_found_and_names_are_not() {
    let source = r##"
        // "in a comment"
        fn a<'a>(b: &'a str) { let c = ('"', '\'', 'x', r#type); say("one \"two\" \
            three", "name"); }
        const D: &str = r#"raw "text" here"#;"##;
    let expected = [
        (3, "one \"two\" three".to_owned()),
        (5, "raw \"text\" here".to_owned()),
    ];
    assert_eq!(string_literals(source), expected);
}
