//! Validation of single fields. All violations of a request are collected before it is refused.

use chrono::NaiveDate;
use parta_ids::TypedId;
use parta_proto::status::v1::ErrorReason;

use crate::{RpcError, name::is_visible};

/// The field violations of one request.
#[derive(Debug, Default)]
pub struct FieldViolations(Vec<(String, String)>);

impl FieldViolations {
    /// Adds a violation.
    pub fn add(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.0.push((path.into(), why.into()));
    }

    /// Adds a violation unless `holds`.
    pub fn check(&mut self, holds: bool, path: impl Into<String>, why: impl Into<String>) {
        if !holds {
            self.add(path, why);
        }
    }

    /// Refuses with FIELD_INVALID and all violations; returns `Ok` if there is none.
    pub fn finish(self) -> Result<(), RpcError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let refusal = RpcError::new(
            ErrorReason::FieldInvalid,
            "The request has fields that are missing or malformed.",
        );
        Err(self
            .0
            .into_iter()
            .fold(refusal, |refusal, (path, why)| refusal.field(path, why)))
    }
}

/// Trims a text and checks that it has `min..=max` characters. NUL and control characters are violations; so
/// are line breaks and tabs unless `multi_line`.
pub fn text(
    violations: &mut FieldViolations,
    path: &str,
    value: &str,
    length: std::ops::RangeInclusive<usize>,
    multi_line: bool,
) -> String {
    let value = value.trim();
    let allowed = |c: char| !c.is_control() || (multi_line && matches!(c, '\n' | '\r' | '\t'));
    // One pass, because every message comes here.
    let (count, all_allowed) = value
        .chars()
        .fold((0, true), |(count, all), c| (count + 1, all && allowed(c)));
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
    violations.check(all_allowed, path, "must not contain control characters");
    value.to_owned()
}

/// Trims a name that people read and checks that it has `min..=max` characters, all of them visible.
/// Spaces of other widths become common ones, because a reader cannot distinguish them.
pub fn name(
    violations: &mut FieldViolations,
    path: &str,
    value: &str,
    length: std::ops::RangeInclusive<usize>,
) -> String {
    let space = |c: char| {
        if c.is_whitespace() && !c.is_control() {
            ' '
        } else {
            c
        }
    };
    let value: String = value.chars().map(space).collect();
    let value = text(violations, path, &value, length, false);
    violations.check(
        is_visible(&value) || value.chars().any(char::is_control),
        path,
        "must not contain invisible characters or characters that change the direction of the text",
    );
    value
}

/// Parses a required id.
pub fn id<T: TypedId>(violations: &mut FieldViolations, path: &str, value: &str) -> Option<T> {
    if value.is_empty() {
        violations.add(path, "is required");
        return None;
    }
    match value.parse() {
        Ok(id) => Some(id),
        Err(error) => {
            violations.add(path, format!("is not a valid {} id: it {error}", T::PREFIX));
            None
        }
    }
}

/// Parses an optional id. An empty text is `None` and not a violation.
pub fn optional_id<T: TypedId>(violations: &mut FieldViolations, path: &str, value: &str) -> Option<T> {
    if value.is_empty() {
        None
    } else {
        id(violations, path, value)
    }
}

/// Parses a required day since 1900 in the form 2026-09-01.
pub fn date(violations: &mut FieldViolations, path: &str, value: &str) -> Option<NaiveDate> {
    let earliest = NaiveDate::from_ymd_opt(1900, 1, 1);
    let day: Option<NaiveDate> = value.parse().ok();
    // The text is exactly that of the day: "2027-5-1" and "+12027-01-01" are refused.
    let day = day.filter(|day| Some(*day) >= earliest && day.to_string() == value && value.len() == 10);
    violations.check(
        day.is_some(),
        path,
        "must be a day since 1900 in the form 2026-09-01",
    );
    day
}
