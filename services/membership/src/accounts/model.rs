use parta_contacts::{EmailAddress, PhoneNumber};
use parta_ids::AccountId;

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) full_name: String,
}

/// A phone number or an e-mail address to which codes are sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Phone(PhoneNumber),
    /// An e-mail address.
    Email(EmailAddress),
}

impl Address {
    /// The text that is stored. A phone number starts with "+" and holds no "@", so the two kinds never
    /// collide.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Phone(number) => number.as_str(),
            Self::Email(address) => address.as_str(),
        }
    }

    /// Reads the text of [`Self::text`]; `None` if it is neither a phone number nor an e-mail address.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        if is_phone(text) {
            text.parse().map(Self::Phone).ok()
        } else {
            text.parse().map(Self::Email).ok()
        }
    }
}

/// Whether a stored address is a phone number.
pub(super) fn is_phone(text: &str) -> bool {
    text.starts_with('+')
}
