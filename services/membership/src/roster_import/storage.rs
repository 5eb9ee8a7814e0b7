//! The tables of roster imports and named queries over them.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{MemberId, RosterImportId, TypedId as _};
use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{ExprTrait as _, OnConflict},
};

use super::{
    Problem,
    model::{ChangeKind, Counts, Import, ImportState},
    plan::{Change, Details},
};

table!(roster_import, "roster_import", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    state: i32,
    one_roster_version: String,
    /// Counts as JSON.
    planned: Vec<u8>,
    done: Vec<u8>,
    change_count: i64,
    problem_count: i32,
    mass_removal: bool,
    /// Labels of the classes by their ids in the source, as JSON.
    classes: String,
    /// Number of planned changes that are applied.
    position: i64,
    create_time: DateTimeUtc,
    start_time: Option<DateTimeUtc>,
    finish_time: Option<DateTimeUtc>,
    revision: i64,
});
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
table!(roster_person, "roster_person", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    source_key: String,
    member_id: Uuid,
});
table!(roster_class, "roster_class", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    source_key: String,
    label: String,
});

/// Rows of one INSERT. The number of parameters stays below the limits of both databases.
const ROWS_PER_INSERT: usize = 500;

/// Encodes counts as JSON.
fn encode_counts(counts: &Counts) -> Result<Vec<u8>, StorageError> {
    let fault = |error| StorageError::Fault(format!("counts cannot be encoded: {error}"));
    serde_json::to_vec(counts).map_err(fault)
}

/// Decodes the counts of `column`. Fails if they cannot be decoded.
fn decode_counts(column: &'static str, stored: &[u8]) -> Result<Counts, StorageError> {
    let length = i64::try_from(stored.len()).unwrap_or(i64::MAX);
    serde_json::from_slice(stored).map_err(|_| StorageError::unknown_value(column, length))
}

fn import(row: roster_import::Model) -> Result<Import, StorageError> {
    let state = ImportState::from_number(row.state);
    let fault = |error| StorageError::Fault(format!("stored classes cannot be decoded: {error}"));
    Ok(Import {
        id: RosterImportId::from_uuid(row.import_id),
        state: state.ok_or_else(|| StorageError::unknown_value("roster_import.state", row.state))?,
        one_roster_version: row.one_roster_version,
        planned: decode_counts("roster_import.planned", &row.planned)?,
        done: decode_counts("roster_import.done", &row.done)?,
        change_count: row.change_count,
        problem_count: row.problem_count,
        mass_removal: row.mass_removal,
        classes: serde_json::from_str(&row.classes).map_err(fault)?,
        position: row.position,
        create_time: row.create_time,
        start_time: row.start_time,
        finish_time: row.finish_time,
        revision: row.revision,
    })
}

fn to_row(scope: &OrgScope, import: &Import) -> Result<roster_import::Model, StorageError> {
    let fault = |error| StorageError::Fault(format!("classes cannot be encoded: {error}"));
    Ok(roster_import::Model {
        org_id: scope.org_id().uuid(),
        import_id: import.id.uuid(),
        state: import.state.number(),
        one_roster_version: import.one_roster_version.clone(),
        planned: encode_counts(&import.planned)?,
        done: encode_counts(&import.done)?,
        change_count: import.change_count,
        problem_count: import.problem_count,
        mass_removal: import.mass_removal,
        classes: serde_json::to_string(&import.classes).map_err(fault)?,
        position: import.position,
        create_time: import.create_time,
        start_time: import.start_time,
        finish_time: import.finish_time,
        revision: import.revision,
    })
}

fn change(row: roster_import_change::Model) -> Result<(i64, Change), StorageError> {
    let kind = ChangeKind::from_number(row.kind.into());
    let unknown = || StorageError::unknown_value("roster_import_change.kind", row.kind);
    let change = Change {
        kind: kind.ok_or_else(unknown)?,
        source_key: row.source_key,
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

/// Inserts an import with its planned changes and its problems.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    import: &Import,
    changes: &[Change],
    problems: &[Problem],
) -> Result<(), StorageError> {
    roster_import::Entity::insert(to_row(scope, import)?.into_active_model())
        .exec_without_returning(conn)
        .await?;
    let (org_id, import_id) = (scope.org_id().uuid(), import.id.uuid());
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
            }
            .into_active_model()
        });
        roster_import_change::Entity::insert_many(rows)
            .exec_without_returning(conn)
            .await?;
    }
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

/// Loads an import.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
) -> Result<Option<Import>, StorageError> {
    let row = roster_import::Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    row.map(import).transpose()
}

/// Loads an import and locks the row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
) -> Result<Option<Import>, StorageError> {
    let row = roster_import::Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(import).transpose()
}

/// Loads an import and locks all imports of the organization that may run, in the order of their ids, so that
/// of two that start at once the second sees that the first one runs.
pub(super) async fn lock_to_start(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
) -> Result<Option<Import>, StorageError> {
    use roster_import::Column;
    let may_run = [ImportState::Checked, ImportState::Running].map(ImportState::number);
    let rows = roster_import::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()).or(Column::State.is_in(may_run)))
        .order_by_asc(Column::ImportId)
        .lock_exclusive()
        .all(conn)
        .await?;
    let row = rows.into_iter().find(|row| row.import_id == id.uuid());
    row.map(import).transpose()
}

/// Whether another import is running, or finished after `since`, so that the plan of this import may be
/// outdated.
pub(super) async fn is_superseded(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    since: DateTime<Utc>,
) -> Result<bool, StorageError> {
    use roster_import::Column;
    let newer = Condition::any()
        .add(Column::State.eq(ImportState::Running.number()))
        .add(Column::FinishTime.gte(since));
    let found = roster_import::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.ne(id.uuid()))
        .filter(newer)
        .limit(1)
        .one(conn)
        .await?;
    Ok(found.is_some())
}

/// Saves all columns of an import. The row must have been locked.
pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    import: &Import,
) -> Result<(), StorageError> {
    roster_import::Entity::update(to_row(scope, import)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists imports, newest first.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    after: Option<RosterImportId>,
    limit: u64,
) -> Result<Vec<Import>, StorageError> {
    use roster_import::Column;
    let rows = roster_import::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Condition::all().add_option(after.map(|id| Column::ImportId.lt(id.uuid()))))
        .order_by_desc(Column::ImportId)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(import).collect()
}

/// Lists planned changes with their sequence numbers, only those of `kind` if it is given.
pub(super) async fn list_changes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    kind: Option<ChangeKind>,
    after: i64,
    limit: u64,
) -> Result<Vec<(i64, Change)>, StorageError> {
    use roster_import_change::Column;
    let rows = roster_import_change::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.gt(after))
        .filter(Condition::all().add_option(kind.map(|kind| Column::Kind.eq(kind.number()))))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(change).collect()
}

/// Lists problems with their sequence numbers.
pub(super) async fn list_problems(
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

/// Returns the members that imports created, by their ids in the source.
pub(super) async fn people(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeMap<String, MemberId>, StorageError> {
    let rows = roster_person::Entity::find()
        .filter(roster_person::Column::OrgId.eq(scope.org_id().uuid()))
        .all(conn)
        .await?;
    let pair = |row: roster_person::Model| (row.source_key, MemberId::from_uuid(row.member_id));
    Ok(rows.into_iter().map(pair).collect())
}

/// Returns the members that imports created for these ids in the source.
pub(super) async fn people_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    keys: &[String],
) -> Result<BTreeMap<String, MemberId>, StorageError> {
    let rows = roster_person::Entity::find()
        .filter(roster_person::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(roster_person::Column::SourceKey.is_in(keys))
        .all(conn)
        .await?;
    let pair = |row: roster_person::Model| (row.source_key, MemberId::from_uuid(row.member_id));
    Ok(rows.into_iter().map(pair).collect())
}

/// Stores the member of a person in the source.
pub(super) async fn put_person(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    key: &str,
    member: MemberId,
) -> Result<(), StorageError> {
    let row = roster_person::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        source_key: Set(key.to_owned()),
        member_id: Set(member.uuid()),
    };
    let on_conflict = OnConflict::columns([roster_person::Column::OrgId, roster_person::Column::SourceKey])
        .update_column(roster_person::Column::MemberId)
        .to_owned();
    roster_person::Entity::insert(row)
        .on_conflict(on_conflict)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Deletes the link between a person in the source and a member.
pub(super) async fn delete_person(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    key: &str,
) -> Result<(), StorageError> {
    roster_person::Entity::delete_by_id((scope.org_id().uuid(), key.to_owned()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Returns the labels of imported classes, by their ids in the source.
pub(super) async fn classes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeMap<String, String>, StorageError> {
    let rows = roster_class::Entity::find()
        .filter(roster_class::Column::OrgId.eq(scope.org_id().uuid()))
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.source_key, row.label)).collect())
}

/// Stores the classes of a set of files.
pub(super) async fn put_classes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    classes: &BTreeMap<String, String>,
) -> Result<(), StorageError> {
    let rows: Vec<_> = classes
        .iter()
        .map(|(key, label)| roster_class::ActiveModel {
            org_id: Set(scope.org_id().uuid()),
            source_key: Set(key.clone()),
            label: Set(label.clone()),
        })
        .collect();
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let on_conflict = OnConflict::columns([roster_class::Column::OrgId, roster_class::Column::SourceKey])
            .update_column(roster_class::Column::Label)
            .to_owned();
        roster_class::Entity::insert_many(chunk.to_vec())
            .on_conflict(on_conflict)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

/// Deletes an import that is not running and was finished, or else checked, before a time, with its rows.
/// Returns `false` if there is none. It belongs to no organization in particular.
pub(super) async fn delete_oldest(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<bool, StorageError> {
    use roster_import::Column;
    let unfinished = Column::FinishTime.is_null().and(Column::CreateTime.lt(before));
    let found = roster_import::Entity::find()
        .filter(Column::State.ne(ImportState::Running.number()))
        .filter(Column::FinishTime.lt(before).or(unfinished))
        .limit(1)
        .lock_exclusive()
        .one(conn)
        .await?;
    let Some(import) = found else { return Ok(false) };
    let (org, id) = (import.org_id, import.import_id);
    roster_import_change::Entity::delete_many()
        .filter(roster_import_change::Column::OrgId.eq(org))
        .filter(roster_import_change::Column::ImportId.eq(id))
        .exec(conn)
        .await?;
    roster_import_problem::Entity::delete_many()
        .filter(roster_import_problem::Column::OrgId.eq(org))
        .filter(roster_import_problem::Column::ImportId.eq(id))
        .exec(conn)
        .await?;
    roster_import::Entity::delete_by_id((org, id)).exec(conn).await?;
    Ok(true)
}
