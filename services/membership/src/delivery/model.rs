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

/// The act that a code permits. A code of one purpose is refused for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    SignIn,
    /// The address by which an account signs in is replaced.
    ContactChange,
}

impl Purpose {
    /// Every purpose.
    pub(crate) const ALL: [Self; 2] = [Self::SignIn, Self::ContactChange];

    /// The number that is stored.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::SignIn => 1,
            Self::ContactChange => 2,
        }
    }

    /// The purpose with a stored number; `None` if this build knows none.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.number() == number)
    }

    fn russian(self) -> &'static str {
        match self {
            Self::SignIn => "Код для входа",
            Self::ContactChange => "Код для смены адреса",
        }
    }
}

/// The texts of a message to a person, by channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The subject of the mail.
    pub(crate) subject: String,
    pub(crate) mail: String,
    pub(crate) sms: String,
}

/// The message with a code. The SMS fits into one part, because providers bill each.
pub(super) fn code_message(purpose: Purpose, code: &str) -> Message {
    let sms = format!("{} в Parta: {code}. Никому его не сообщайте.", purpose.russian());
    let english = match purpose {
        Purpose::SignIn => "Your Parta code is",
        Purpose::ContactChange => "Your Parta code for the change of your address is",
    };
    Message {
        subject: purpose.russian().to_owned(),
        mail: format!("{sms}\n{english} {code}. Do not share it with anyone."),
        sms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of one part of a message with Cyrillic letters, in units of UCS-2.
    const PART: usize = 70;

    #[test]
    fn sms_fits_into_one_part() {
        for purpose in Purpose::ALL {
            let text = code_message(purpose, "123456").sms;
            assert!(text.contains("123456"));
            assert!(text.encode_utf16().count() <= PART, "{text}");
            assert_eq!(Purpose::from_number(purpose.number()), Some(purpose));
        }
    }
}
