//! The tables `roster_import_change` and `roster_import_problem` and named queries over them.
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{RosterImportId, TypedId as _, Uuid};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::ROWS_PER_INSERT;
use crate::roster_import::{
    Problem,
    files::accepted_name,
    model::{ChangeKind, NoEffect, Outcome, SourceLine},
    plan::{Change, Details},
};

table!(roster_import_change, "roster_import_change", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    kind: i16,
    source_key: String,
    other_key: String,
    person: String,
    unit_label: String,
    before: String,
    after: String,
    value: i32,
    file: String,
    line: i64,
    outcome: i16,
    no_effect: i16,
});
table!(roster_import_problem, "roster_import_problem", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    file: String,
    line: i64,
    column_name: String,
    description: String,
    fatal: bool,
});
/// The name of a file of the source; empty for a change that concerns all files.
fn file_name(stored: &str) -> Result<&'static str, StorageError> {
    if stored.is_empty() {
        return Ok("");
    }
    accepted_name(stored).ok_or_else(|| StorageError::unknown_text("roster_import_change.file", stored))
}

fn change(row: roster_import_change::Model) -> Result<(i64, Change), StorageError> {
    let kind = ChangeKind::from_number(row.kind.into());
    let unknown = || StorageError::unknown_value("roster_import_change.kind", row.kind);
    let outcome = Outcome::from_numbers(row.outcome, row.no_effect);
    let unknown_outcome = || StorageError::unknown_value("roster_import_change.outcome", row.outcome);
    let change = Change {
        kind: kind.ok_or_else(unknown)?,
        source_key: row.source_key,
        source_line: SourceLine {
            file: file_name(&row.file)?,
            line: u32::try_from(row.line)
                .map_err(|_| StorageError::unknown_value("roster_import_change.line", row.line))?,
        },
        outcome: outcome.ok_or_else(unknown_outcome)?,
        details: Details {
            other_key: row.other_key,
            person: row.person,
            unit_label: row.unit_label,
            before: row.before,
            after: row.after,
            value: row.value,
        },
    };
    Ok((row.seq, change))
}

fn problem(row: roster_import_problem::Model) -> Result<(i64, Problem), StorageError> {
    let line = u32::try_from(row.line)
        .map_err(|_| StorageError::unknown_value("roster_import_problem.line", row.line))?;
    let problem = Problem {
        file: row.file,
        line,
        column: row.column_name,
        description: row.description,
        fatal: row.fatal,
    };
    Ok((row.seq, problem))
}

/// Inserts the changes of an import.
pub(super) async fn insert_changes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    import: RosterImportId,
    changes: &[Change],
) -> Result<(), StorageError> {
    let (org_id, import_id) = (scope.org_id().uuid(), import.uuid());
    for (chunk, rows) in changes.chunks(ROWS_PER_INSERT).enumerate() {
        let first = chunk * ROWS_PER_INSERT;
        let rows = rows.iter().zip(first..).map(|(change, index)| {
            roster_import_change::Model {
                org_id,
                import_id,
                seq: i64::try_from(index + 1).unwrap_or(i64::MAX),
                kind: change.kind.number(),
                source_key: change.source_key.clone(),
                other_key: change.details.other_key.clone(),
                person: change.details.person.clone(),
                unit_label: change.details.unit_label.clone(),
                before: change.details.before.clone(),
                after: change.details.after.clone(),
                value: change.details.value,
                file: change.source_line.file.to_owned(),
                line: change.source_line.line.into(),
                outcome: change.outcome.number(),
                no_effect: change.outcome.no_effect().map_or(0, NoEffect::number),
            }
            .into_active_model()
        });
        roster_import_change::Entity::insert_many(rows)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

/// Inserts the problems of an import.
pub(super) async fn insert_problems(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    import: RosterImportId,
    problems: &[Problem],
) -> Result<(), StorageError> {
    let (org_id, import_id) = (scope.org_id().uuid(), import.uuid());
    for (chunk, rows) in problems.chunks(ROWS_PER_INSERT).enumerate() {
        let first = chunk * ROWS_PER_INSERT;
        let rows = rows.iter().zip(first..).map(|(problem, index)| {
            roster_import_problem::Model {
                org_id,
                import_id,
                seq: i64::try_from(index + 1).unwrap_or(i64::MAX),
                file: problem.file.clone(),
                line: problem.line.into(),
                column_name: problem.column.clone(),
                description: problem.description.clone(),
                fatal: problem.fatal,
            }
            .into_active_model()
        });
        roster_import_problem::Entity::insert_many(rows)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

/// Deletes the changes and problems of an import.
pub(super) async fn delete(conn: &impl ConnectionTrait, org: Uuid, import: Uuid) -> Result<(), StorageError> {
    roster_import_change::Entity::delete_many()
        .filter(roster_import_change::Column::OrgId.eq(org))
        .filter(roster_import_change::Column::ImportId.eq(import))
        .exec(conn)
        .await?;
    roster_import_problem::Entity::delete_many()
        .filter(roster_import_problem::Column::OrgId.eq(org))
        .filter(roster_import_problem::Column::ImportId.eq(import))
        .exec(conn)
        .await?;
    Ok(())
}

/// The changes that a list holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChangeFilter {
    pub(crate) kind: Option<ChangeKind>,
    /// The number of the outcome ([`Outcome::number`]).
    pub(crate) outcome: Option<i16>,
}

impl ChangeFilter {
    /// Only changes of this kind.
    pub(crate) fn of_kind(kind: ChangeKind) -> Self {
        Self {
            kind: Some(kind),
            outcome: None,
        }
    }
}

/// Lists changes with their sequence numbers.
pub(crate) async fn list_changes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    filter: ChangeFilter,
    after: i64,
    limit: u64,
) -> Result<Vec<(i64, Change)>, StorageError> {
    use roster_import_change::Column;
    let rows = roster_import_change::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.gt(after))
        .filter(Condition::all().add_option(filter.kind.map(|kind| Column::Kind.eq(kind.number()))))
        .filter(Condition::all().add_option(filter.outcome.map(|number| Column::Outcome.eq(number))))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(change).collect()
}

/// Lists problems with their sequence numbers.
pub(crate) async fn list_problems(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    after: i64,
    limit: u64,
) -> Result<Vec<(i64, Problem)>, StorageError> {
    use roster_import_problem::Column;
    let rows = roster_import_problem::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.gt(after))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(problem).collect()
}

/// Loads these changes, in the order of their numbers.
pub(crate) async fn find_changes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    numbers: &[i64],
) -> Result<Vec<(i64, Change)>, StorageError> {
    use roster_import_change::Column;
    let rows = roster_import_change::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.is_in(numbers.iter().copied()))
        .order_by_asc(Column::Seq)
        .all(conn)
        .await?;
    rows.into_iter().map(change).collect()
}

/// Saves the outcome of these changes. The row of the import must have been locked.
pub(crate) async fn set_outcome(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    numbers: &[i64],
    outcome: Outcome,
) -> Result<(), StorageError> {
    use roster_import_change::Column;
    let reason = outcome.no_effect().map_or(0, NoEffect::number);
    roster_import_change::Entity::update_many()
        .col_expr(Column::Outcome, Expr::value(outcome.number()))
        .col_expr(Column::NoEffect, Expr::value(reason))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.is_in(numbers.iter().copied()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Notes that the class of a key was created for an import, or found by it. The label may be changed, and the
/// class archived, before the import continues.
pub(crate) async fn note_created_unit(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    source_key: &str,
) -> Result<(), StorageError> {
    use roster_import_change::Column;
    roster_import_change::Entity::update_many()
        .col_expr(Column::Outcome, Expr::value(Outcome::Done.number()))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Kind.eq(ChangeKind::CreateUnit.number()))
        .filter(Column::SourceKey.eq(source_key))
        .exec(conn)
        .await?;
    Ok(())
}
