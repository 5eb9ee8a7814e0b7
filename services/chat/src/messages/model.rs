use parta_ids::{ChatId, OrgId, Uuid};

/// At most this many characters in a message.
pub(crate) const TEXT_MAX: usize = 4_000;

/// A message that is sent to a chat, or as an announcement to the chat of a class, which its unit names.
#[derive(Debug, Clone)]
pub(crate) struct Message<To = ChatId> {
    pub(crate) org_id: OrgId,
    pub(crate) to: To,
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
}
