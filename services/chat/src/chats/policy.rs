//! Who may do what in chat: pure functions over facts of the roster. Whether somebody is in a chat, and may write in it,
//! is a row that follows the roster by the rules of `model`.
use parta_access::Decision;
use parta_roster::{MemberContext, State};

use crate::entries::model::ChatKind;

/// Whether the caller may use chat at all: list, read and write where it has a seat, open personal chats.
pub fn take_part(state: State) -> Decision {
    Decision::allow_if(state == State::Active, "only active members use chat")
}

/// Whether the caller may make a chat that names people, or change who is in one.
pub fn name_people(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_active() && facts.is_staff(),
        "only staff names the people of a chat",
    )
}

/// Whether the caller may take these people out of a chat that names people: staff anybody, everybody oneself.
pub fn remove(facts: &MemberContext, only_oneself: bool) -> Decision {
    let allowed = facts.is_active() && (facts.is_staff() || only_oneself);
    Decision::allow_if(allowed, "only staff removes others from a chat")
}

/// Whether the caller may see who is in a chat that it is in: families do not see everybody of the school.
pub fn list_participants(facts: &MemberContext, kind: ChatKind) -> Decision {
    let allowed = facts.is_active() && (kind != ChatKind::SchoolChannel || facts.is_staff());
    Decision::allow_if(allowed, "only staff sees who reads the channel")
}
