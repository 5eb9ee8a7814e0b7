use chrono::{DateTime, Utc};
use parta_ids::Uuid;

/// The channels by which an installation delivers codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    /// All codes stay in the development outbox.
    pub(crate) outbox: bool,
    pub(crate) sms: bool,
    pub(crate) mail: bool,
    /// Whether codes are sent to premium-rate and satellite numbers.
    pub(crate) costly_numbers: bool,
}

/// A message of the development outbox.
#[derive(Debug, Clone)]
pub(crate) struct OutboxMessage {
    pub(crate) id: Uuid,
    pub(crate) recipient: String,
    pub(crate) text: String,
    pub(crate) create_time: DateTime<Utc>,
}

pub(super) fn text(code: &str) -> String {
    format!(
        "Код для входа в Parta: {code}. Никому его не сообщайте.\n\
         Your Parta code is {code}. Do not share it with anyone."
    )
}

/// The text of an SMS with a code. It fits into one part, because providers bill each.
pub(super) fn sms_text(code: &str) -> String {
    format!("Код для входа в Parta: {code}. Никому его не сообщайте.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of one part of a message with Cyrillic letters, in units of UCS-2.
    const PART: usize = 70;

    #[test]
    fn sms_fits_into_one_part() {
        let text = sms_text("123456");
        assert!(text.contains("123456"));
        assert!(text.encode_utf16().count() <= PART, "{text}");
    }
}
