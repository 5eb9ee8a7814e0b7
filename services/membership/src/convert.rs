//! From messages and to them.
use chrono::{DateTime, Utc};
use parta_ids::{OrgId, RosterImportId, TypedId};
use parta_proto::parta::membership::v1 as pb;
use parta_status::{FieldViolations, RpcError, field};
use parta_storage::{StorageError, page_size};

use crate::{
    context::Page,
    feed::{counts_of, timestamp},
    roster_import::storage as imports,
};

/// A required id.
pub(crate) fn id<T: TypedId>(path: &str, text: &str) -> Result<T, RpcError> {
    let mut v = FieldViolations::default();
    let id = field::id(&mut v, path, text);
    done(v, id)
}

/// The organization and something in it; both faults are told at once.
pub(crate) fn ids<T: TypedId>(org: &str, path: &str, text: &str) -> Result<(OrgId, T), RpcError> {
    let mut v = FieldViolations::default();
    let (org, id) = (field::id(&mut v, "org_id", org), field::id(&mut v, path, text));
    done(v, org.zip(id))
}

fn done<T>(v: FieldViolations, value: Option<T>) -> Result<T, RpcError> {
    v.finish()?;
    value.ok_or_else(|| RpcError::internal("a violation was not noted"))
}

/// Reads a time in whole microseconds, which both databases keep; `None` for one out of range.
pub(crate) fn time(time: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()? / 1_000 * 1_000)
}

/// A page with the filter that its token belongs to.
pub(crate) fn page<'a>(size: i32, token: &'a str, filter: String) -> Result<Page<'a>, RpcError> {
    Ok(Page {
        size: page_size(size)?,
        token,
        filter,
    })
}

/// An import as it is answered.
pub(crate) fn roster_import(row: &imports::Import) -> Result<pb::RosterImport, StorageError> {
    Ok(pb::RosterImport {
        id: RosterImportId::from_uuid(row.import_id).to_string(),
        state: row.state,
        one_roster_version: row.one_roster_version.clone(),
        planned: Some(counts_of("roster_import.planned", &row.planned)?),
        done: Some(counts_of("roster_import.done", &row.done)?),
        problem_count: row.problem_count,
        mass_removal: row.mass_removal,
        create_time: Some(timestamp(row.create_time)),
        start_time: row.start_time.map(timestamp),
        finish_time: row.finish_time.map(timestamp),
        etag: parta_storage::etag(row.revision),
    })
}

pub(crate) fn roster_change(row: imports::ChangeRow) -> pb::RosterChange {
    pb::RosterChange {
        kind: row.kind.into(),
        person: row.person,
        unit_label: row.unit_label,
        before: row.before,
        after: row.after,
    }
}

pub(crate) fn roster_problem(row: imports::ProblemRow) -> pb::RosterImportProblem {
    pb::RosterImportProblem {
        file: row.file,
        line: i32::try_from(row.line).unwrap_or(i32::MAX),
        column: row.column_name,
        description: row.description,
        fatal: row.fatal,
    }
}
