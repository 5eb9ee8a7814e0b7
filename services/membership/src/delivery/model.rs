use chrono::{DateTime, Utc};
use parta_ids::Uuid;

/// A message of the development outbox.
#[derive(Debug, Clone)]
pub(crate) struct OutboxMessage {
    pub(crate) id: Uuid,
    pub(crate) recipient: String,
    pub(crate) text: String,
    pub(crate) create_time: DateTime<Utc>,
}

/// The text of a message with a code.
pub(super) fn text(code: &str) -> String {
    format!(
        "Код для входа в Parta: {code}. Никому его не сообщайте.\n\
         Your Parta code is {code}. Do not share it with anyone."
    )
}
