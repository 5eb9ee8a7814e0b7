//! Checks of single fields that collect every fault of a request before it is refused.

use parta_ids::TypedId;
use parta_proto::parta::status::v1::ErrorReason;

use crate::RpcError;

/// The faults of one request.
#[derive(Debug, Default)]
pub struct FieldViolations(Vec<(String, String)>);

impl FieldViolations {
    /// Notes a fault.
    pub fn add(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.0.push((path.into(), why.into()));
    }

    /// Notes a fault unless `holds`.
    pub fn check(&mut self, holds: bool, path: impl Into<String>, why: impl Into<String>) {
        if !holds {
            self.add(path, why);
        }
    }

    /// Refuses with FIELD_INVALID naming every fault; `Ok` where there is none.
    pub fn finish(self) -> Result<(), RpcError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let refusal = RpcError::new(
            ErrorReason::FieldInvalid,
            "the request has fields that are missing or malformed",
        );
        Err(self
            .0
            .into_iter()
            .fold(refusal, |refusal, (path, why)| refusal.field(path, why)))
    }
}

/// A text of `min..=max` characters, trimmed. NUL and control characters are faults; line breaks and tabs are too
/// unless `multi_line`.
pub fn text(
    violations: &mut FieldViolations,
    path: &str,
    value: &str,
    length: std::ops::RangeInclusive<usize>,
    multi_line: bool,
) -> String {
    let value = value.trim();
    let count = value.chars().count();
    if count == 0 && *length.start() > 0 {
        violations.add(path, "is required");
    } else if !length.contains(&count) {
        violations.add(
            path,
            format!(
                "must have {} to {} characters, has {count}",
                length.start(),
                length.end()
            ),
        );
    }
    let allowed = |c: char| !c.is_control() || (multi_line && matches!(c, '\n' | '\r' | '\t'));
    violations.check(
        value.chars().all(allowed),
        path,
        "must not contain control characters",
    );
    value.to_owned()
}

/// A required id of one kind.
pub fn id<T: TypedId>(violations: &mut FieldViolations, path: &str, value: &str) -> Option<T> {
    if value.is_empty() {
        violations.add(path, "is required");
        return None;
    }
    match value.parse() {
        Ok(id) => Some(id),
        Err(error) => {
            violations.add(path, format!("is no {} id: it {error}", T::PREFIX));
            None
        }
    }
}

/// An id that may be left out: empty is `None` and no fault.
pub fn optional_id<T: TypedId>(violations: &mut FieldViolations, path: &str, value: &str) -> Option<T> {
    if value.is_empty() {
        None
    } else {
        id(violations, path, value)
    }
}
