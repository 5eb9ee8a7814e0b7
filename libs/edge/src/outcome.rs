use parta_database::StorageError;
use serde::{Serialize, de::DeserializeOwned};

/// The outcome of a mutation, kept for repetitions: ids and numbers, never a view and never a name.
///
/// Its JSON form is a schema that old and new builds read for 30 days. A field may be added with a default;
/// anything else takes the next `VERSION`, which builds that do not know it refuse with UNAVAILABLE. A
/// golden test per type holds the form.
pub trait Stored: Serialize + DeserializeOwned + Send + Sync {
    /// The version of the form, from 1.
    const VERSION: u8 = 1;

    /// The stored form: the version, then JSON.
    fn encode(&self) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![Self::VERSION];
        serde_json::to_writer(&mut bytes, self)
            .map_err(|error| StorageError::Fault(format!("an outcome has no stored form: {error}")))?;
        Ok(bytes)
    }

    /// Reads the stored form.
    fn decode(stored: &[u8]) -> Result<Self, StorageError> {
        match stored.split_first() {
            Some((version, json)) if (1..=Self::VERSION).contains(version) => serde_json::from_slice(json)
                .map_err(|error| StorageError::Fault(format!("a stored outcome cannot be read: {error}"))),
            // Another replica, of a newer build, carried the act out: it serves the repetition.
            Some((version, _)) => Err(StorageError::Unavailable(format!(
                "the outcome has version {version}, this build knows up to {}",
                Self::VERSION
            ))),
            None => Err(StorageError::Fault("a stored outcome is empty".into())),
        }
    }
}

/// For mutations that produce nothing that their response needs.
impl Stored for () {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Made {
        count: u32,
        #[serde(default)]
        skipped: u32,
    }
    impl Stored for Made {
        const VERSION: u8 = 2;
    }

    #[test]
    fn outcome_has_its_golden_form() {
        let made = Made { count: 3, skipped: 1 };
        let stored = made.encode().unwrap();
        assert_eq!(stored, b"\x02{\"count\":3,\"skipped\":1}");
        assert_eq!(Made::decode(&stored).unwrap(), made);
    }

    #[test]
    fn older_form_is_read_with_defaults() {
        let made = Made::decode(b"\x01{\"count\":3}").unwrap();
        assert_eq!(made, Made { count: 3, skipped: 0 });
    }

    #[test]
    fn form_of_a_newer_build_is_unavailable() {
        let error = Made::decode(b"\x03{\"total\":3}").unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
        for broken in [&b""[..], b"\x01{", b"\x02{\"count\":\"three\"}"] {
            let error = Made::decode(broken).unwrap_err();
            assert!(matches!(error, StorageError::Fault(_)), "{error}");
        }
    }
}
