//! Compares the log of a chat with the responses that all actors received.
use std::collections::{BTreeMap, BTreeSet};

use parta_proto_chat::v1::{self as pb, entry::Content};

use crate::consistency::{
    participants::ParticipantChanges,
    writer::{Outcome, SentMessage},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) content: EntryContent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryContent {
    Message {
        sender: String,
        text: String,
    },
    Joining(String),
    Leaving(String),
    /// Not shown to the reader.
    Hidden,
}

impl From<pb::Entry> for LogEntry {
    fn from(entry: pb::Entry) -> Self {
        let content = match entry.content.expect("an entry has content") {
            Content::Message(message) => EntryContent::Message {
                sender: message.sender_id,
                text: message.text,
            },
            Content::Joining(joining) => EntryContent::Joining(joining.member_id),
            Content::Leaving(leaving) => EntryContent::Leaving(leaving.member_id),
            Content::Hidden(_) => EntryContent::Hidden,
        };
        Self {
            seq: entry.seq,
            id: entry.id,
            content,
        }
    }
}

/// The entries of one chat that one reader received.
#[derive(Debug, Default, Clone)]
pub(crate) struct ReceivedEntries {
    /// Sequence number after which the stream began. `None` if it began with the reader's joining.
    pub(crate) start: Option<i64>,
    /// Sequence number and id of each entry, in the order of arrival.
    pub(crate) entries: Vec<(i64, String)>,
}

/// The log of a chat, from its first entry.
pub(crate) struct Log {
    pub(crate) entries: Vec<LogEntry>,
    /// Whether the participants come from the roster. In such a chat, former participants can read only their
    /// leaving.
    pub(crate) derived: bool,
    /// The participations of each member, by member id.
    participations: BTreeMap<String, Vec<Participation>>,
}

/// A participation: from the entry of joining to the entry of leaving.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Participation {
    joined: i64,
    left: Option<i64>,
}

impl Participation {
    fn contains(&self, seq: i64) -> bool {
        self.joined <= seq && self.left.is_none_or(|left| seq <= left)
    }
}

impl Log {
    /// Computes the participations of all members and reports violations within the log.
    pub(crate) fn new(entries: Vec<LogEntry>, derived: bool, violations: &mut Vec<String>) -> Self {
        let mut participations: BTreeMap<String, Vec<Participation>> = BTreeMap::new();
        for (entry, seq) in entries.iter().zip(1..) {
            if entry.seq != seq {
                violations.push(format!("the log has entry {} instead of {seq}", entry.seq));
                break;
            }
            let is_participant = |participations: &BTreeMap<String, Vec<Participation>>, member: &String| {
                let last = participations.get(member).and_then(|all| all.last());
                last.is_some_and(|participation| participation.left.is_none())
            };
            match &entry.content {
                EntryContent::Joining(member) if is_participant(&participations, member) => {
                    violations.push(format!("{member} joins at {seq} but is already a participant"));
                }
                EntryContent::Joining(member) => {
                    let joined = Participation {
                        joined: seq,
                        left: None,
                    };
                    participations.entry(member.clone()).or_default().push(joined);
                }
                EntryContent::Leaving(member) => {
                    match participations.get_mut(member).and_then(|all| all.last_mut()) {
                        Some(participation) if participation.left.is_none() => participation.left = Some(seq),
                        _ => violations.push(format!("{member} leaves at {seq} but is not a participant")),
                    }
                }
                EntryContent::Hidden => {
                    violations.push(format!("the entry {seq} is hidden from a member of the staff"));
                }
                EntryContent::Message { sender, text } => {
                    if !is_participant(&participations, sender) {
                        violations.push(format!(
                            "{text} at {seq}: the sender {sender} is not a participant"
                        ));
                    }
                }
            }
        }
        Self {
            entries,
            derived,
            participations,
        }
    }

    /// Returns the last sequence number that a member can read, and whether the member is still in the chat.
    /// `None` for a member who never joined.
    pub(crate) fn last_readable(&self, member: &str) -> Option<(i64, bool)> {
        let last = self.participations.get(member)?.last()?;
        Some((
            last.left.unwrap_or(self.entries.len() as i64),
            last.left.is_none(),
        ))
    }

    fn entry(&self, seq: i64) -> Option<&LogEntry> {
        usize::try_from(seq - 1)
            .ok()
            .and_then(|index| self.entries.get(index))
    }

    /// Checks that acknowledged messages are stored once, with their sequence numbers, and that the round
    /// stored nothing else.
    pub(crate) fn check_messages(
        &self,
        round: &str,
        messages: &[&SentMessage],
        violations: &mut Vec<String>,
    ) {
        let mut stored_by_text: BTreeMap<&str, Vec<&LogEntry>> = BTreeMap::new();
        for entry in &self.entries {
            if let EntryContent::Message { text, .. } = &entry.content
                && text.starts_with(&format!("{round}/"))
            {
                stored_by_text.entry(text).or_default().push(entry);
            }
        }
        for message in messages {
            let stored = stored_by_text.remove(message.text.as_str()).unwrap_or_default();
            let is_consistent = match (&message.outcome, stored.as_slice()) {
                (Outcome::Stored { seq, entry_id }, [entry]) => {
                    let sent = EntryContent::Message {
                        sender: message.sender.clone(),
                        text: message.text.clone(),
                    };
                    entry.seq == *seq && entry.id == *entry_id && entry.content == sent
                }
                (Outcome::Refused, []) | (Outcome::Unknown, [] | [_]) => true,
                _ => false,
            };
            if !is_consistent {
                let seqs: Vec<_> = stored.iter().map(|entry| entry.seq).collect();
                let (text, outcome) = (&message.text, &message.outcome);
                violations.push(format!(
                    "{text}: the outcome is {outcome:?}, the log has it at {seqs:?}"
                ));
            }
        }
        let unsent = stored_by_text.keys();
        violations.extend(unsent.map(|text| format!("the log has {text}, which was never sent")));
    }

    /// Checks that members joined and left as often as they were added and removed. All joined once when the
    /// chat was created.
    pub(crate) fn check_participants(&self, changes: &ParticipantChanges, violations: &mut Vec<String>) {
        for (member, (added, removed)) in changes {
            let participations = self
                .participations
                .get(member)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let joined = participations.len();
            let left = participations
                .iter()
                .filter(|participation| participation.left.is_some())
                .count();
            if (joined, left) != (added + 1, *removed) {
                violations.push(format!(
                    "{member} was added 1 + {added} times and removed {removed} times, but joined {joined} times \
                     and left {left} times"
                ));
            }
        }
    }

    /// Checks that a reader received each entry of its participations once, in order and up to the end, and
    /// no other entries.
    pub(crate) fn check_stream(
        &self,
        reader: &str,
        member: &str,
        received: Option<&ReceivedEntries>,
        violations: &mut Vec<String>,
    ) {
        let Some((end, is_participant)) = self.last_readable(member) else {
            if received.is_some_and(|received| !received.entries.is_empty()) {
                violations.push(format!("{reader} was never a participant but received entries"));
            }
            return;
        };
        let Some(received) = received else {
            if is_participant {
                violations.push(format!(
                    "{reader} is a participant and received no entry of the chat"
                ));
            }
            return;
        };
        let participations = &self.participations[member];
        let has_content =
            |seq: i64, content: &EntryContent| self.entry(seq).is_some_and(|entry| entry.content == *content);
        let (joining, leaving) = (
            EntryContent::Joining(member.to_owned()),
            EntryContent::Leaving(member.to_owned()),
        );
        let mut last = received.start;
        for (seq, id) in &received.entries {
            let seq = *seq;
            if self.entry(seq).is_none_or(|entry| entry.id != *id) {
                violations.push(format!(
                    "{reader} received {id} with number {seq}, where the log has another entry"
                ));
            }
            if !participations
                .iter()
                .any(|participation| participation.contains(seq))
            {
                violations.push(format!(
                    "{reader} received {seq} from outside its participations: {participations:?}"
                ));
            }
            let is_next = match last {
                None => has_content(seq, &joining),
                Some(last) if seq == last + 1 => true,
                Some(last) if seq <= last => false,
                Some(last) => {
                    let next_joining = participations
                        .iter()
                        .map(|participation| participation.joined)
                        .find(|joined| *joined > last);
                    let has_rejoined = has_content(last, &leaving) && next_joining == Some(seq);
                    // A former participant of a derived chat can read only the entry of leaving.
                    has_rejoined || (self.derived && has_content(seq, &leaving))
                }
            };
            if !is_next {
                violations.push(format!(
                    "{reader} received {seq} after {last:?}: {participations:?}"
                ));
            }
            last = Some(seq);
        }
        if last != Some(end) {
            violations.push(format!(
                "{reader} received entries up to {last:?} instead of {end}: {participations:?}"
            ));
        }
    }
}

/// Returns whether all texts are unique, which the comparison requires.
pub(crate) fn all_texts_unique(messages: &[SentMessage]) -> bool {
    let texts: BTreeSet<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    texts.len() == messages.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a log: `+a` is a joining of a, `-a` a leaving, and `a:text` a message.
    fn log(entries: &[&str]) -> (Log, Vec<String>) {
        let mut violations = Vec::new();
        let entry = |(seq, short_form): (i64, &&str)| LogEntry {
            seq,
            id: format!("e{seq}"),
            content: match short_form.split_once(':') {
                Some((sender, text)) => EntryContent::Message {
                    sender: sender.to_owned(),
                    text: text.to_owned(),
                },
                None if short_form.starts_with('+') => EntryContent::Joining(short_form[1..].to_owned()),
                None => EntryContent::Leaving(short_form[1..].to_owned()),
            },
        };
        let log = Log::new((1..).zip(entries).map(entry).collect(), false, &mut violations);
        (log, violations)
    }

    fn check_received(log: &Log, start: Option<i64>, entries: &[i64]) -> Vec<String> {
        let mut violations = Vec::new();
        let entries = entries.iter().map(|seq| (*seq, format!("e{seq}"))).collect();
        log.check_stream(
            "r",
            "a",
            Some(&ReceivedEntries { start, entries }),
            &mut violations,
        );
        violations
    }

    #[test]
    fn log_with_a_gap_or_an_outside_sender_is_reported() {
        assert_eq!(log(&["+a", "a:x", "-a"]).1, [""; 0]);
        assert_eq!(log(&["+a", "-a", "a:x"]).1.len(), 1);
        assert_eq!(log(&["+a", "+a"]).1.len(), 1);
        assert_eq!(log(&["-a"]).1.len(), 1);
        let (mut log_with_gap, mut violations) = log(&["+a", "a:x", "a:y"]);
        log_with_gap.entries.remove(1);
        Log::new(log_with_gap.entries, false, &mut violations);
        assert_eq!(violations.len(), 1);
    }

    #[test]
    fn reader_with_missing_repeated_or_extra_entries_is_reported() {
        let (log, _) = log(&["+a", "+b", "b:1", "-a", "b:2", "+a", "b:3"]);
        assert_eq!(check_received(&log, None, &[1, 2, 3, 4, 6, 7]), [""; 0]);
        assert_eq!(check_received(&log, Some(2), &[3, 4, 6, 7]), [""; 0]);
        assert_eq!(check_received(&log, Some(6), &[7]), [""; 0]);
        // A gap, a repetition, and the wrong order.
        assert!(!check_received(&log, Some(2), &[4, 6, 7]).is_empty());
        assert!(!check_received(&log, Some(2), &[3, 3, 4, 6, 7]).is_empty());
        assert!(!check_received(&log, Some(2), &[4, 3, 6, 7]).is_empty());
        // An entry from outside the participation, a missing joining, and a missing end.
        assert!(!check_received(&log, Some(2), &[3, 4, 5, 6, 7]).is_empty());
        assert!(!check_received(&log, Some(2), &[3, 4, 7]).is_empty());
        assert!(!check_received(&log, Some(2), &[3, 4, 6]).is_empty());
    }

    #[test]
    fn former_participant_of_derived_chat_reads_only_the_leaving() {
        let (mut log, _) = log(&["+a", "+b", "b:1", "-a"]);
        assert!(!check_received(&log, Some(2), &[4]).is_empty());
        log.derived = true;
        assert_eq!(check_received(&log, Some(2), &[4]), [""; 0]);
    }

    #[test]
    fn lost_duplicate_or_unknown_message_is_reported() {
        let (log, _) = log(&["+a", "a:r/1", "a:r/2", "a:r/2", "a:r/3", "a:other"]);
        let message = |text: &str, outcome: Outcome| SentMessage {
            chat: 0,
            sender: "a".to_owned(),
            text: text.to_owned(),
            outcome,
        };
        let stored = |seq: i64| Outcome::Stored {
            seq,
            entry_id: format!("e{seq}"),
        };
        let check = |messages: &[SentMessage]| {
            let mut violations = Vec::new();
            log.check_messages("r", &messages.iter().collect::<Vec<_>>(), &mut violations);
            violations.len()
        };
        let duplicate = message("r/2", stored(3));
        // Only the duplicate is reported.
        assert_eq!(
            check(&[
                message("r/1", stored(2)),
                duplicate.clone(),
                message("r/3", Outcome::Unknown)
            ]),
            1
        );
        // Another sequence number, a stored refused message, and a lost message are reported, in addition to
        // the duplicate.
        let wrong = [
            message("r/1", stored(5)),
            duplicate,
            message("r/3", Outcome::Refused),
            message("r/4", stored(7)),
        ];
        assert_eq!(check(&wrong), 4);
        // Messages without a writer are reported.
        assert_eq!(check(&[]), 3);
    }
}
