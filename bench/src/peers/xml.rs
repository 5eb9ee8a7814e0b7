//! As much XML as group chat needs: where one stanza ends and what its attributes are.
use std::ops::Range;

use anyhow::{bail, ensure};

/// Cuts what a server sends into stanzas: the elements right below the element of the stream, which never ends.
#[derive(Default)]
pub(super) struct Cutter {
    pub(super) bytes: Vec<u8>,
    /// Where the next tag is looked for.
    at: usize,
    /// Where the stanza begins that is being looked at.
    begin: usize,
    depth: usize,
}

/// What a tag does to the depth.
enum Tag {
    Opens,
    Closes,
    /// It is whole by itself.
    Empty,
    /// A declaration or a comment.
    Aside,
}

impl Cutter {
    /// The next whole stanza; none where more has to be read first.
    pub(super) fn cut(&mut self) -> anyhow::Result<Option<Range<usize>>> {
        while let Some((from, to, tag)) = self.tag() {
            self.at = to;
            match tag {
                Tag::Opens => {
                    self.depth += 1;
                    if self.depth == 2 {
                        self.begin = from;
                    }
                    continue;
                }
                Tag::Closes => {
                    ensure!(self.depth > 1, "the server ended the stream");
                    self.depth -= 1;
                }
                Tag::Empty if self.depth == 1 => self.begin = from,
                Tag::Empty | Tag::Aside => continue,
            }
            if self.depth == 1 {
                return Ok(Some(self.begin..to));
            }
        }
        Ok(None)
    }

    /// The next tag that is here in full.
    fn tag(&self) -> Option<(usize, usize, Tag)> {
        let rest = self.bytes.get(self.at..)?;
        let from = self.at + rest.iter().position(|byte| *byte == b'<')?;
        let mut to = from + 1;
        let mut quote = None;
        loop {
            let rest = self.bytes.get(to..)?;
            // Within quotes `>` means itself.
            let end = rest.iter().position(|byte| match quote {
                Some(quote) => *byte == quote,
                None => matches!(byte, b'>' | b'\'' | b'"'),
            })?;
            to += end + 1;
            match (quote, rest.get(end)) {
                (None, Some(b'>')) => break,
                (None, mark) => quote = mark.copied(),
                (Some(_), _) => quote = None,
            }
        }
        let tag = match (self.bytes.get(from + 1), self.bytes.get(to - 2)) {
            (Some(b'?' | b'!'), _) => Tag::Aside,
            (Some(b'/'), _) => Tag::Closes,
            (_, Some(b'/')) => Tag::Empty,
            _ => Tag::Opens,
        };
        Some((from, to, tag))
    }

    /// Forgets what was cut already, before more is read.
    pub(super) fn forget(&mut self) {
        let done = if self.depth > 1 { self.begin } else { self.at };
        self.bytes.drain(..done);
        self.at -= done;
        self.begin = self.begin.saturating_sub(done);
    }
}

/// One message, presence or query.
pub(super) struct Stanza<'a>(&'a str);

impl<'a> Stanza<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> anyhow::Result<Self> {
        Ok(Self(std::str::from_utf8(bytes)?))
    }

    pub(super) fn is(&self, name: &str) -> bool {
        let rest = self.0.get(1..).and_then(|text| text.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with([' ', '>', '/']))
    }

    /// An attribute of its own, not of what lies within.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        let (mut rest, _) = self.0.split_once('>')?;
        loop {
            let (before, after) = rest.split_once('=')?;
            let quote = after.chars().next()?;
            let (value, left) = after.get(1..)?.split_once(quote)?;
            if before.rsplit([' ', '\n', '\t']).next() == Some(name) {
                return Some(value);
            }
            rest = left;
        }
    }

    /// Whether it holds an element of this name.
    pub(super) fn holds(&self, element: &str) -> bool {
        self.count(element) > 0
    }

    /// How many elements of this name it holds.
    pub(super) fn count(&self, element: &str) -> usize {
        let after = self
            .0
            .match_indices('<')
            .filter_map(|(at, _)| self.0.get(at + 1..));
        let named = after.filter_map(|rest| rest.strip_prefix(element));
        named.filter(|rest| rest.starts_with([' ', '>', '/'])).count()
    }

    /// Whether a room says this of it.
    pub(super) fn has_status(&self, code: u16) -> bool {
        self.0.contains(&format!("code='{code}'")) || self.0.contains(&format!("code=\"{code}\""))
    }

    /// Fails where the server refuses.
    pub(super) fn accepted(&self) -> anyhow::Result<()> {
        if self.attribute("type") == Some("error") {
            bail!("refused: {}", self.0);
        }
        Ok(())
    }

    pub(super) fn text(&self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanzas(text: &str, step: usize) -> Vec<String> {
        let mut cutter = Cutter::default();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            cutter.forget();
            cutter.bytes.extend_from_slice(piece);
            while let Some(range) = cutter.cut().unwrap() {
                found.push(String::from_utf8(cutter.bytes[range].to_vec()).unwrap());
            }
        }
        found
    }

    #[test]
    fn stanzas_are_cut_however_they_arrive() {
        let stream = "<?xml version='1.0'?><stream:stream id='1'><a b='x>y'/>\n<message id='2'><body>ё</body>\
                      <message><x/></message></message><iq/>";
        let wanted = [
            "<a b='x>y'/>",
            "<message id='2'><body>ё</body><message><x/></message></message>",
            "<iq/>",
        ];
        for step in [1, 2, 7, 1000] {
            assert_eq!(stanzas(stream, step), wanted, "in pieces of {step}");
        }
    }

    #[test]
    fn the_end_of_the_stream_is_an_error() {
        let mut cutter = Cutter::default();
        cutter.bytes.extend_from_slice(b"<s><a/></s>");
        assert!(cutter.cut().unwrap().is_some());
        assert!(cutter.cut().is_err());
    }

    #[test]
    fn attributes_are_the_stanzas_own() {
        let stanza =
            Stanza::new(b"<message to=\"a=b\" id='7'><x type='no'/><item/><item a='1'/></message>").unwrap();
        assert_eq!(stanza.attribute("id"), Some("7"));
        assert_eq!(stanza.attribute("to"), Some("a=b"));
        assert_eq!(stanza.attribute("type"), None);
        assert!(stanza.is("message") && !stanza.is("mess"));
        assert_eq!(stanza.count("item"), 2);
        assert!(!stanza.holds("ite"));
    }
}
