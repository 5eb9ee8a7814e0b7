//! Phone numbers and e-mail addresses in the normalized form that every service stores and compares.
//!
//! An application names the phone of the future administrator, who later signs in with it. Therefore both
//! services parse contacts with these types, so that they accept the same contacts.
#![warn(missing_docs)]

use std::{fmt, str::FromStr};

use email_address::EmailAddress as Syntax;
use phonenumber::{Mode, Type, country, metadata::DATABASE};

/// The longest text that is parsed as a phone number, in bytes: 15 digits with separators.
const MAX_PHONE: usize = 32;
/// The longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
const MAX_EMAIL: usize = 254;
/// The longest local part (before the `@`), in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_PART: usize = 64;

/// Country codes of satellite networks (870, 881), international networks (878, 882, 883) and international
/// premium-rate and shared-cost services (979, 808), as ITU-T E.164 assigns them.
const COSTLY_PREFIXES: [&str; 7] = ["+870", "+878", "+881", "+882", "+883", "+979", "+808"];

/// Error: the text is not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a valid phone number, with \"+\" and the country code or in Russian national form; digits, spaces, hyphens \
     and parentheses only"
)]
pub struct InvalidPhoneNumber;

/// Error: the text is not an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address of the form name@domain, at most 254 bytes long")]
pub struct InvalidEmailAddress;

/// A phone number in E.164, for example `+79161234567`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Returns the number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message to the number costs far more than to a common one: a premium-rate or shared-cost
    /// number, or a number of a satellite or international network. Attackers earn with codes sent to them.
    pub fn is_costly(&self) -> bool {
        COSTLY_PREFIXES.iter().any(|prefix| self.0.starts_with(prefix))
            || phonenumber::parse(None, &self.0).is_ok_and(|number| {
                matches!(
                    number.number_type(&DATABASE),
                    Type::PremiumRate | Type::SharedCost
                )
            })
    }
}

impl FromStr for PhoneNumber {
    type Err = InvalidPhoneNumber;

    /// Parses a number in international form (`+7 916 123-45-67`) or in Russian national form (`8 916
    /// 123-45-67`, `916 123-45-67`). Rejects extensions and letters, because no code can be sent to them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = text.strip_prefix('+').unwrap_or(text);
        // The library would also accept vanity letters, extensions and digits of other scripts.
        let has_only_phone_characters = digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')'));
        if text.len() > MAX_PHONE || !has_only_phone_characters {
            return Err(InvalidPhoneNumber);
        }
        let number = phonenumber::parse(Some(country::Id::RU), text).map_err(|_| InvalidPhoneNumber)?;
        if !phonenumber::is_valid(&number) {
            return Err(InvalidPhoneNumber);
        }
        Ok(Self(number.format().mode(Mode::E164).to_string()))
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address in lower case. An internationalized domain is in its ASCII form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmailAddress;

    /// Parses an address without a display name. Whether the address exists is known only after a code was
    /// sent to it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, domain) = text.trim().rsplit_once('@').ok_or(InvalidEmailAddress)?;
        let local = local.to_lowercase();
        // A domain has one form, whether it is written in Unicode or in ASCII.
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmailAddress)?;
        // Quoted local parts would allow several spellings of one mailbox. No top-level domain ends with a
        // digit, but IPv4 addresses do.
        let is_valid = local.len() <= MAX_LOCAL_PART
            && !local.contains('"')
            && Syntax::is_valid_local_part(&local)
            && domain.contains('.')
            && !domain.ends_with(|c: char| c.is_ascii_digit())
            && Syntax::is_valid_domain(&domain);
        let text = format!("{local}@{domain}");
        if !is_valid || text.len() > MAX_EMAIL {
            return Err(InvalidEmailAddress);
        }
        Ok(Self(text))
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> Option<String> {
        text.parse::<PhoneNumber>().ok().map(|number| number.to_string())
    }

    fn email(text: &str) -> Option<String> {
        text.parse::<EmailAddress>()
            .ok()
            .map(|address| address.to_string())
    }

    #[test]
    fn international_and_national_forms_are_one_number() {
        for text in [
            "+7 (916) 123-45-67",
            "8 916 123-45-67",
            "8 (916) 1234567",
            "9161234567",
            " +79161234567 ",
        ] {
            assert_eq!(phone(text).as_deref(), Some("+79161234567"), "{text}");
        }
        assert_eq!(phone("+375 29 491-19-11").as_deref(), Some("+375294911911"));
    }

    #[test]
    fn letters_extensions_and_invalid_numbers_are_refused() {
        for text in [
            "",
            "12",
            "+7",
            "phone",
            "8 800 FLOWERS",
            "+1 800 FLOWERS",
            "+7 912 345-67-89 доб. 5",
            "+79161234567;ext=5",
            "+79161234567x5",
            "+7912345678901234",
            "+7 000 000-00-00",
            "7+9161234567",
            "٨٩١٦١٢٣٤٥٦٧",
        ] {
            assert_eq!(phone(text), None, "{text}");
        }
    }

    #[test]
    fn premium_and_satellite_numbers_are_costly() {
        let costly = |text: &str| text.parse::<PhoneNumber>().unwrap().is_costly();
        for text in ["+881 612 345 678", "+44 909 879 0000", "+870 773 111 632"] {
            assert!(costly(text), "{text}");
        }
        for text in [
            "+7 916 123-45-67",
            "+375 29 491-19-11",
            "+44 7400 123456",
            "+1 202 555 0143",
        ] {
            assert!(!costly(text), "{text}");
        }
    }

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(
            email(" A.B@School.Example ").as_deref(),
            Some("a.b@school.example")
        );
        assert_eq!(email("I@ПРИМЕР.рф").as_deref(), Some("i@xn--e1afmkfd.xn--p1ai"));
        assert_eq!(email("i@xn--e1afmkfd.xn--p1ai"), email("i@пример.рф"));
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in [
            "",
            "nobody",
            "@school.example",
            "a@",
            "a@school",
            "a@b@school.example",
            "a b@school.example",
            "\"a\"@school.example",
            "Name <a@school.example>",
            "a@.school.example",
            "a@school..example",
            "a@127.0.0.1",
        ] {
            assert_eq!(email(text), None, "{text}");
        }
        let long = "a".repeat(65);
        assert_eq!(email(&format!("{long}@school.example")), None);
        assert!(email(&format!("{}@school.example", "a".repeat(64))).is_some());
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in ".*") {
            if let Some(number) = phone(&text) {
                proptest::prop_assert_eq!(phone(&number), Some(number.clone()));
            }
            if let Some(address) = email(&text) {
                proptest::prop_assert_eq!(email(&address), Some(address.clone()));
            }
        }

        #[test]
        fn every_spelling_of_a_russian_mobile_is_one_number(rest in "9(0[0-9]|1[0-9]|2[0-9]|6[0-9])[0-9]{7}") {
            let expected = phone(&format!("+7{rest}"));
            for text in [format!("8{rest}"), rest.clone(), format!("8 ({}) {}", &rest[..3], &rest[3..])] {
                proptest::prop_assert_eq!(phone(&text), expected.clone());
            }
        }

        #[test]
        fn normalizing_an_address_is_idempotent(text in "[a-zA-Z.+]{1,70}@[a-zа-я-]{1,40}\\.(рф|example)") {
            if let Some(address) = email(&text) {
                proptest::prop_assert!(address.len() <= MAX_EMAIL);
                proptest::prop_assert_eq!(email(&address), Some(address.clone()));
            }
        }
    }
}
