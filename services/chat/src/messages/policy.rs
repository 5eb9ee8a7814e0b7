//! The right to write is a row that follows the roster. The writer checks it with the row of the chat locked.
use parta_access::{PermissionRule, PrincipalKind};
use parta_roster::MemberContext;

use crate::{audience::participant_rights, entries};

/// The rows of the permission matrix. The sample chat is the chat of the pupils of the sample class; for
/// principals who do not participate in it, «Учительская».
pub(crate) fn rules() -> Vec<PermissionRule> {
    let reads = |kind| MemberContext::sample(kind).is_some_and(|f| f.is_active());
    vec![
        PermissionRule::own("parta.chat.v1.MessageService/SendMessage", writes),
        PermissionRule::own("parta.chat.v1.MessageService/ListEntries", reads),
        PermissionRule::own("parta.chat.v1.MessageService/BatchGetAuthors", reads),
        PermissionRule::own("parta.chat.v1.MessageService/MarkRead", reads),
        // A service calls it with the token of a person, whose rights decide. Without one it may not.
        PermissionRule::own(
            "parta.chat.internal.v1.AnnouncementService/PostAnnouncement",
            |_| false,
        ),
    ]
}

/// The facts about the sender of a message and the chat, read when nobody else changes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct SenderFacts {
    /// Whether the sender participates and has not left.
    pub(super) present: bool,
    /// Whether the sender may write, or only read.
    pub(super) may_post: bool,
    /// Whether the chat is writable: it was not archived, and has the responsible adult whom it needs (F14,
    /// F15).
    pub(super) open: bool,
}

/// The reason why a sender may not write in a chat. The numbers are those of `chat_refusal` in
/// m0003_post.sql.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Refused {
    /// The sender never participated in the chat, or the organization has no such chat.
    NeverParticipated = 1,
    /// The sender has left the chat.
    HasLeft = 2,
    /// The chat is read-only.
    Closed = 3,
    /// The sender may only read.
    MayOnlyRead = 4,
}

impl Refused {
    pub(super) fn from_number(number: i16) -> Option<Self> {
        [
            Self::NeverParticipated,
            Self::HasLeft,
            Self::Closed,
            Self::MayOnlyRead,
        ]
        .into_iter()
        .find(|refused| *refused as i16 == number)
    }

    /// Whether the sender may have stored a message before, so that the refused one may be a repetition.
    pub(super) fn may_repeat(self) -> bool {
        self != Self::NeverParticipated
    }
}

/// Whether a sender may write in a chat. `None` are the facts of a member who never participated in it, or
/// of a chat that the organization does not have. A member who has left does not learn the state of the
/// chat (R38). Nobody writes in the chat of an archived class (R45), or in one with pupils and without a
/// cleared adult (F15). A participant whom the rule of the chat lets only read may not write (R33, R37). On
/// PostgreSQL, `chat_refusal` in m0003_post.sql decides the same.
pub(super) fn verdict(sender: Option<SenderFacts>) -> Result<(), Refused> {
    match sender {
        None => Err(Refused::NeverParticipated),
        Some(facts) if !facts.present => Err(Refused::HasLeft),
        Some(facts) if !facts.open => Err(Refused::Closed),
        Some(facts) if !facts.may_post => Err(Refused::MayOnlyRead),
        Some(_) => Ok(()),
    }
}

/// Whether the roster gives the principal the right to write in any chat.
fn writes(kind: PrincipalKind) -> bool {
    let unit = MemberContext::sample_unit();
    let rules = entries::Rule::of_unit(unit)
        .into_iter()
        .chain(entries::Rule::OF_ORGANIZATION);
    MemberContext::sample(kind).is_some_and(|f| {
        rules
            .into_iter()
            .any(|rule| participant_rights(rule, &f).is_some_and(|p| p.may_post))
    })
}
