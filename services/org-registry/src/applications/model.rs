//! Types and rules of the registry: no I/O, no clock, no SQL.

use chrono::{DateTime, Utc};
use parta_ids::{ApplicationId, OrgId, UnitId};
use parta_proto::parta::org_registry::v1::{ApplicationState, OrganizationKind, UnitKind};
use parta_roster::Policies;

/// The largest order that is taken, in bytes.
pub const MAX_DOCUMENT: usize = 20 * 1024 * 1024;

/// What an applicant filled in, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Name of the organization.
    pub organization_name: String,
    /// What kind it is.
    pub kind: OrganizationKind,
    /// The region.
    pub region: String,
    /// ОГРН.
    pub ogrn: String,
    /// КПП.
    pub kpp: String,
    /// IANA time zone.
    pub time_zone: String,
    /// The head's full name.
    pub head_full_name: String,
    /// The administrator's full name.
    pub administrator_full_name: String,
    /// The administrator's e-mail.
    pub administrator_email: String,
    /// The administrator's mobile, E.164.
    pub administrator_phone: String,
}

/// An application.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// Where it stands.
    pub state: ApplicationState,
    /// What was filled in.
    pub form: Form,
    /// The order.
    pub order: Order,
    /// The organization that the approval made.
    pub org_id: Option<OrgId>,
    /// When it was submitted.
    pub create_time: DateTime<Utc>,
    /// Rises with each change.
    pub revision: i64,
}

/// What is known of an order besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Name of the file.
    pub file_name: String,
    /// MIME type, found by content.
    pub content_type: &'static str,
    /// Length in bytes.
    pub size_bytes: i64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A change of an application's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The state after it.
    pub state: ApplicationState,
    /// Who did it.
    pub actor: String,
    /// The reason given.
    pub reason: String,
    /// When.
    pub change_time: DateTime<Utc>,
}

/// An organization.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// Its id.
    pub id: OrgId,
    /// The name that people see.
    pub display_name: String,
    /// What kind it is.
    pub kind: OrganizationKind,
    /// The region.
    pub region: String,
    /// IANA time zone.
    pub time_zone: String,
    /// ОГРН.
    pub ogrn: String,
    /// КПП.
    pub kpp: String,
    /// The head's full name.
    pub head_full_name: String,
    /// The policies in force.
    pub policies: Policies,
    /// Rises with each change of the policies.
    pub policies_version: i64,
    /// When it was approved.
    pub create_time: DateTime<Utc>,
    /// When it last changed.
    pub update_time: DateTime<Utc>,
    /// Rises with each change.
    pub revision: i64,
}

/// A unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Its id.
    pub id: UnitId,
    /// The organization.
    pub org_id: OrgId,
    /// What kind it is.
    pub kind: UnitKind,
    /// The label that people see.
    pub label: String,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// When it was archived.
    pub archive_time: Option<DateTime<Utc>>,
    /// Rises with each change.
    pub revision: i64,
}

/// «Учительская», made with each organization (L30).
pub const STAFF_ROOM_LABEL: &str = "Учительская";

/// Whether ОГРН is 13 digits whose last is the rest of the others by 11, of that by 10.
pub fn is_ogrn(text: &str) -> bool {
    let Ok(number) = text.parse::<u64>() else {
        return false;
    };
    text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit()) && (number / 10) % 11 % 10 == number % 10
}

/// Whether КПП is four digits, two digits or Latin capitals, three digits.
pub fn is_kpp(text: &str) -> bool {
    text.len() == 9
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_digit() || ((4..6).contains(&i) && b.is_ascii_uppercase()))
}

/// The MIME type of an order by its first bytes; `None` for what is no scan.
pub fn content_type(document: &[u8]) -> Option<&'static str> {
    if document.starts_with(b"%PDF-") {
        Some("application/pdf")
    } else if document.starts_with(&[0xFF, 0xD8, 0xFF]) {
        Some("image/jpeg")
    } else if document.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else {
        None
    }
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
        fn no_text_panics(text in ".*") {
            let _ = (is_ogrn(&text), is_kpp(&text), content_type(text.as_bytes()));
        }

        #[test]
        fn a_wrong_check_digit_is_found(body in 100_000_000_000u64..999_999_999_999, off in 1u64..10) {
            let right = body % 11 % 10;
            let good = format!("{body}{right}");
            let bad = format!("{body}{}", (right + off) % 10);
            proptest::prop_assert!(is_ogrn(&good));
            proptest::prop_assert!(!is_ogrn(&bad));
        }
    }
}
