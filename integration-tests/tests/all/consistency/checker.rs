//! Compares the log of a chat with the responses that its writers, movers and readers received.
use std::collections::{BTreeMap, BTreeSet};

use parta_proto::parta::chat::v1::{self as pb, entry::Content};

use crate::consistency::{
    moves::Moves,
    writer::{Act, Fate},
};

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) what: What,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Message { sender: String, text: String },
    Joining(String),
    Leaving(String),
}

impl From<pb::Entry> for Line {
    fn from(entry: pb::Entry) -> Self {
        let what = match entry.content.expect("an entry says something") {
            Content::Message(message) => What::Message {
                sender: message.sender_id,
                text: message.text,
            },
            Content::Joining(joining) => What::Joining(joining.member_id),
            Content::Leaving(leaving) => What::Leaving(leaving.member_id),
        };
        Self {
            seq: entry.seq,
            id: entry.id,
            what,
        }
    }
}

/// The entries of one chat that one reader received.
#[derive(Debug, Default, Clone)]
pub(crate) struct Track {
    /// Sequence number after which the stream began. `None` if it began with the reader's joining.
    pub(crate) start: Option<i64>,
    /// Sequence number and id of each entry, in the order of arrival.
    pub(crate) seen: Vec<(i64, String)>,
}

/// The log of a chat, from its first entry.
pub(crate) struct Log {
    pub(crate) lines: Vec<Line>,
    /// Whether the participants come from the roster. In such a chat, former participants can read only their
    /// leaving.
    pub(crate) derived: bool,
    spans: BTreeMap<String, Vec<Span>>,
}

/// A participation: from the entry of joining to the entry of leaving.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    joined: i64,
    left: Option<i64>,
}

impl Span {
    fn holds(&self, seq: i64) -> bool {
        self.joined <= seq && self.left.is_none_or(|left| seq <= left)
    }
}

impl Log {
    /// Computes the participations of all members and reports faults of the log itself.
    pub(crate) fn new(lines: Vec<Line>, derived: bool, found: &mut Vec<String>) -> Self {
        let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for (line, place) in lines.iter().zip(1..) {
            if line.seq != place {
                found.push(format!("the log has {} in the place of {place}", line.seq));
                break;
            }
            let open = |spans: &BTreeMap<String, Vec<Span>>, who: &String| {
                let last = spans.get(who).and_then(|all| all.last());
                last.is_some_and(|span| span.left.is_none())
            };
            match &line.what {
                What::Joining(who) if open(&spans, who) => {
                    found.push(format!("{who} joins at {place} and is in already"));
                }
                What::Joining(who) => spans.entry(who.clone()).or_default().push(Span {
                    joined: place,
                    left: None,
                }),
                What::Leaving(who) => match spans.get_mut(who).and_then(|all| all.last_mut()) {
                    Some(span) if span.left.is_none() => span.left = Some(place),
                    _ => found.push(format!("{who} leaves at {place} and is not in")),
                },
                What::Message { sender, text } => {
                    if !open(&spans, sender) {
                        found.push(format!("{text} at {place} is of {sender}, who is not in"));
                    }
                }
            }
        }
        Self {
            lines,
            derived,
            spans,
        }
    }

    /// Returns the last sequence number that a member can read, and whether the member is still in the chat.
    /// `None` for a member who never joined.
    pub(crate) fn end_of(&self, member: &str) -> Option<(i64, bool)> {
        let last = self.spans.get(member)?.last()?;
        Some((last.left.unwrap_or(self.lines.len() as i64), last.left.is_none()))
    }

    fn at(&self, seq: i64) -> Option<&Line> {
        usize::try_from(seq - 1)
            .ok()
            .and_then(|index| self.lines.get(index))
    }

    /// Checks that acknowledged messages are stored once, with their sequence numbers, and that the round
    /// stored nothing else.
    pub(crate) fn judge_acts(&self, round: &str, acts: &[&Act], found: &mut Vec<String>) {
        let mut places: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &self.lines {
            if let What::Message { text, .. } = &line.what
                && text.starts_with(&format!("{round}/"))
            {
                places.entry(text).or_default().push(line);
            }
        }
        for act in acts {
            let there = places.remove(act.text.as_str()).unwrap_or_default();
            let fits = match (&act.fate, there.as_slice()) {
                (Fate::Stored { seq, entry_id }, [line]) => {
                    let sent = What::Message {
                        sender: act.sender.clone(),
                        text: act.text.clone(),
                    };
                    line.seq == *seq && line.id == *entry_id && line.what == sent
                }
                (Fate::Refused, []) | (Fate::Unknown, [] | [_]) => true,
                _ => false,
            };
            if !fits {
                let at: Vec<_> = there.iter().map(|line| line.seq).collect();
                found.push(format!("{}: {:?}, and it is at {at:?}", act.text, act.fate));
            }
        }
        found.extend(places.keys().map(|text| format!("nobody wrote {text}")));
    }

    /// Checks that members joined and left as often as the movers added and removed them. All joined once at
    /// the creation.
    pub(crate) fn judge_moves(&self, moves: &Moves, found: &mut Vec<String>) {
        for (member, told) in moves {
            let spans = self.spans.get(member).map(Vec::as_slice).unwrap_or_default();
            let left = spans.iter().filter(|span| span.left.is_some()).count();
            if (spans.len(), left) != (told.0 + 1, told.1) {
                found.push(format!(
                    "{member} was brought in 1 + {} times and taken out {} times, and came {} times and went {left} times",
                    told.0,
                    told.1,
                    spans.len()
                ));
            }
        }
    }

    /// Checks that a reader received each entry of the own participations once, in order and up to the end,
    /// and no other.
    pub(crate) fn judge_track(
        &self,
        reader: &str,
        member: &str,
        track: Option<&Track>,
        found: &mut Vec<String>,
    ) {
        let Some((end, present)) = self.end_of(member) else {
            if track.is_some_and(|track| !track.seen.is_empty()) {
                found.push(format!("{reader} never was in and read"));
            }
            return;
        };
        let Some(track) = track else {
            if present {
                found.push(format!(
                    "{reader} is a participant and received no entry of the chat"
                ));
            }
            return;
        };
        let spans = &self.spans[member];
        let own = |seq: i64, what: &What| self.at(seq).is_some_and(|line| line.what == *what);
        let (joining, leaving) = (What::Joining(member.to_owned()), What::Leaving(member.to_owned()));
        let mut last = track.start;
        for (seq, id) in &track.seen {
            let seq = *seq;
            if self.at(seq).is_none_or(|line| line.id != *id) {
                found.push(format!(
                    "{reader} read {id} at {seq}, where the log has another entry"
                ));
            }
            if !spans.iter().any(|span| span.holds(seq)) {
                found.push(format!("{reader} read {seq} while out: {spans:?}"));
            }
            let follows = match last {
                None => own(seq, &joining),
                Some(last) if seq == last + 1 => true,
                Some(last) if seq <= last => false,
                Some(last) => {
                    let next = spans.iter().map(|span| span.joined).find(|joined| *joined > last);
                    let came_back = own(last, &leaving) && next == Some(seq);
                    // Entries before the leaving can no longer be read after it.
                    came_back || (self.derived && own(seq, &leaving))
                }
            };
            if !follows {
                found.push(format!("{reader} read {seq} after {last:?}: {spans:?}"));
            }
            last = Some(seq);
        }
        if last != Some(end) {
            found.push(format!(
                "{reader} has read up to {last:?} and not to {end}: {spans:?}"
            ));
        }
    }
}

/// Returns whether all texts are unique, which the comparison requires.
pub(crate) fn unique(acts: &[Act]) -> bool {
    let texts: BTreeSet<&str> = acts.iter().map(|act| act.text.as_str()).collect();
    texts.len() == acts.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+a` joins, `-a` leaves, and `a:text` writes.
    fn log(lines: &[&str]) -> (Log, Vec<String>) {
        let mut found = Vec::new();
        let line = |(seq, said): (i64, &&str)| Line {
            seq,
            id: format!("e{seq}"),
            what: match said.split_once(':') {
                Some((sender, text)) => What::Message {
                    sender: sender.to_owned(),
                    text: text.to_owned(),
                },
                None if said.starts_with('+') => What::Joining(said[1..].to_owned()),
                None => What::Leaving(said[1..].to_owned()),
            },
        };
        let log = Log::new((1..).zip(lines).map(line).collect(), false, &mut found);
        (log, found)
    }

    fn track(log: &Log, start: Option<i64>, seen: &[i64]) -> Vec<String> {
        let mut found = Vec::new();
        let seen = seen.iter().map(|seq| (*seq, format!("e{seq}"))).collect();
        log.judge_track("r", "a", Some(&Track { start, seen }), &mut found);
        found
    }

    #[test]
    fn log_with_a_gap_or_an_outside_sender_is_reported() {
        assert_eq!(log(&["+a", "a:x", "-a"]).1, [""; 0]);
        assert_eq!(log(&["+a", "-a", "a:x"]).1.len(), 1);
        assert_eq!(log(&["+a", "+a"]).1.len(), 1);
        assert_eq!(log(&["-a"]).1.len(), 1);
        let (mut full, mut found) = log(&["+a", "a:x", "a:y"]);
        full.lines.remove(1);
        Log::new(full.lines, false, &mut found);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn reader_with_missing_repeated_or_extra_entries_is_reported() {
        let (log, _) = log(&["+a", "+b", "b:1", "-a", "b:2", "+a", "b:3"]);
        assert_eq!(track(&log, None, &[1, 2, 3, 4, 6, 7]), [""; 0]);
        assert_eq!(track(&log, Some(2), &[3, 4, 6, 7]), [""; 0]);
        assert_eq!(track(&log, Some(6), &[7]), [""; 0]);
        // A gap, a repetition, and the wrong order.
        assert!(!track(&log, Some(2), &[4, 6, 7]).is_empty());
        assert!(!track(&log, Some(2), &[3, 3, 4, 6, 7]).is_empty());
        assert!(!track(&log, Some(2), &[4, 3, 6, 7]).is_empty());
        // An entry from outside the participation, a missing joining, and a missing end.
        assert!(!track(&log, Some(2), &[3, 4, 5, 6, 7]).is_empty());
        assert!(!track(&log, Some(2), &[3, 4, 7]).is_empty());
        assert!(!track(&log, Some(2), &[3, 4, 6]).is_empty());
    }

    #[test]
    fn former_participant_of_derived_chat_reads_only_the_leaving() {
        let (mut log, _) = log(&["+a", "+b", "b:1", "-a"]);
        assert!(!track(&log, Some(2), &[4]).is_empty());
        log.derived = true;
        assert_eq!(track(&log, Some(2), &[4]), [""; 0]);
    }

    #[test]
    fn lost_duplicate_or_unknown_message_is_reported() {
        let (log, _) = log(&["+a", "a:r/1", "a:r/2", "a:r/2", "a:r/3", "a:other"]);
        let act = |text: &str, fate: Fate| Act {
            chat: 0,
            sender: "a".to_owned(),
            text: text.to_owned(),
            fate,
        };
        let stored = |seq: i64| Fate::Stored {
            seq,
            entry_id: format!("e{seq}"),
        };
        let judge = |acts: &[Act]| {
            let mut found = Vec::new();
            log.judge_acts("r", &acts.iter().collect::<Vec<_>>(), &mut found);
            found.len()
        };
        let two = act("r/2", stored(3));
        // Only the duplicate is reported.
        assert_eq!(
            judge(&[act("r/1", stored(2)), two.clone(), act("r/3", Fate::Unknown)]),
            1
        );
        // Another sequence number, a stored refused message, and a lost message are reported, in addition to
        // the duplicate.
        let wrong = [
            act("r/1", stored(5)),
            two,
            act("r/3", Fate::Refused),
            act("r/4", stored(7)),
        ];
        assert_eq!(judge(&wrong), 4);
        // Messages without a writer are reported.
        assert_eq!(judge(&[]), 3);
    }
}
