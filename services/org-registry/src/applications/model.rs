use chrono::{DateTime, Utc};
use parta_ids::{ApplicationId, OrgId};

use crate::organizations::{OrganizationKind, Registration};

/// The largest order, in bytes.
pub(super) const DOCUMENT_MAX_BYTES: usize = 20 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApplicationState {
    /// It waits for the operator.
    Submitted,
    /// The organization exists.
    Approved,
    /// It was refused with a reason.
    Refused,
}

impl ApplicationState {
    const ALL: [Self; 3] = [Self::Submitted, Self::Approved, Self::Refused];

    /// Returns the number in the database and in the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Submitted => 1,
            Self::Approved => 2,
            Self::Refused => 3,
        }
    }

    /// Decodes a number of the database or of the API; `None` if this release does not know it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Approved => "APPROVED",
            Self::Refused => "REFUSED",
        }
    }
}

/// The fields of an application, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) organization_name: String,
    pub(crate) kind: OrganizationKind,
    pub(crate) region: String,
    pub(crate) ogrn: String,
    pub(crate) kpp: String,
    /// IANA time zone.
    pub(crate) time_zone: String,
    pub(crate) head_full_name: String,
    pub(crate) administrator_full_name: String,
    pub(crate) administrator_email: String,
    /// A mobile phone in E.164.
    pub(crate) administrator_phone: String,
}

impl Form {
    /// Returns the initial data of the organization.
    pub(super) fn registration(&self) -> Registration {
        Registration {
            display_name: self.organization_name.clone(),
            kind: self.kind,
            region: self.region.clone(),
            time_zone: self.time_zone.clone(),
            ogrn: self.ogrn.clone(),
            kpp: self.kpp.clone(),
            head_full_name: self.head_full_name.clone(),
        }
    }
}

/// The file type of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentType {
    Pdf,
    Jpeg,
    Png,
}

impl ContentType {
    const ALL: [Self; 3] = [Self::Pdf, Self::Jpeg, Self::Png];

    /// The MIME type in the database and in the API.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// Decodes a MIME type of the database; `None` if this release does not know it.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }

    /// Recognizes the type of a document by its first bytes; `None` for other types.
    pub(crate) fn of(document: &[u8]) -> Option<Self> {
        if document.starts_with(b"%PDF-") {
            Some(Self::Pdf)
        } else if document.starts_with(&[0xFF, 0xD8, 0xFF]) {
            Some(Self::Jpeg)
        } else if document.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else {
            None
        }
    }
}

/// The metadata of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) file_name: String,
    pub(crate) content_type: ContentType,
    pub(crate) size_bytes: i64,
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) id: ApplicationId,
    pub(crate) state: ApplicationState,
    pub(crate) form: Form,
    pub(crate) order: Order,
    /// The organization that the approval created.
    pub(crate) org_id: Option<OrgId>,
    /// When it was submitted.
    pub(crate) create_time: DateTime<Utc>,
    /// Increases with each change.
    pub(crate) revision: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateChange {
    /// The state after the change.
    pub(crate) state: ApplicationState,
    /// `applicant`, or the name of the operator.
    pub(crate) actor: String,
    /// Empty if none was given.
    pub(crate) reason: String,
    pub(crate) change_time: DateTime<Utc>,
}

/// An application with its history, oldest change first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApplicationHistory {
    pub(crate) application: Application,
    pub(crate) changes: Vec<StateChange>,
}

/// Whether an ОГРН has 13 digits, of which the last is the number before it modulo 11, modulo 10.
pub(super) fn is_ogrn(text: &str) -> bool {
    let Ok(number) = text.parse::<u64>() else {
        return false;
    };
    text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit()) && (number / 10) % 11 % 10 == number % 10
}

/// Whether a КПП has four digits, two digits or Latin capital letters, and three digits.
pub(super) fn is_kpp(text: &str) -> bool {
    text.len() == 9
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_digit() || ((4..6).contains(&i) && b.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_numbers_have_check_digits_and_lengths() {
        for good in ["1027700132195", "1037739010891"] {
            assert!(is_ogrn(good), "{good}");
        }
        for bad in [
            "1027700132196",
            "102770013219",
            "10277001321950",
            "+027700132195",
            "",
            "абвгдежзийклм",
        ] {
            assert!(!is_ogrn(bad), "{bad}");
        }
        assert!(is_kpp("770501001") && is_kpp("7705AB001"));
        assert!(!is_kpp("77050100") && !is_kpp("77050100A") && !is_kpp("7705ab001"));
    }

    proptest::proptest! {
        #[test]
        fn checks_never_panic(text in ".*") {
            let _ = (is_ogrn(&text), is_kpp(&text), ContentType::of(text.as_bytes()));
        }

        #[test]
        fn wrong_check_digit_is_rejected(body in 100_000_000_000u64..999_999_999_999, off in 1u64..10) {
            let right = body % 11 % 10;
            let good = format!("{body}{right}");
            let bad = format!("{body}{}", (right + off) % 10);
            proptest::prop_assert!(is_ogrn(&good));
            proptest::prop_assert!(!is_ogrn(&bad));
        }
    }
}
