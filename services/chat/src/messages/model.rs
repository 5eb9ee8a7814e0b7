use parta_ids::{ChatId, OrgId, UnitId, Uuid};

/// At most this many characters in a message.
pub(crate) const TEXT_MAX: usize = 4_000;

/// The people whom an announcement addresses, in addition to the staff of the unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audience {
    pub(crate) unit_id: UnitId,
    pub(crate) pupils: bool,
    pub(crate) parents: bool,
}

/// A message that is sent to a chat, or as an announcement to the chats of an audience.
#[derive(Debug, Clone)]
pub(crate) struct Message<To = ChatId> {
    pub(crate) org_id: OrgId,
    pub(crate) to: To,
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
}

impl<To> Message<To> {
    /// The same message to another recipient.
    pub(crate) fn to<Other>(self, to: Other) -> Message<Other> {
        Message {
            org_id: self.org_id,
            to,
            request_id: self.request_id,
            text: self.text,
        }
    }
}
