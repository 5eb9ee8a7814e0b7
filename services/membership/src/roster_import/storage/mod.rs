//! The table `roster_import` and named queries over it; those of its rows and of the source beside it.
pub(super) mod rows;
pub(super) mod source;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{MemberId, RosterImportId, TypedId as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::ExprTrait as _,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Problem,
    model::{Counts, Import, ImportState},
    plan::Change,
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
    no_effect_count: i32,
    waiting_count: i32,
    /// Mass changes as JSON.
    mass_changes: String,
    /// Labels of the classes by their ids in the source, as JSON.
    classes: String,
    /// Ids of units as JSON.
    archived_units: String,
    starter_id: Option<Uuid>,
    /// Number of planned changes that are applied.
    position: i64,
    create_time: DateTimeUtc,
    start_time: Option<DateTimeUtc>,
    finish_time: Option<DateTimeUtc>,
    revision: i64,
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

/// Encodes a value as JSON.
fn encode(what: &str, value: &impl Serialize) -> Result<String, StorageError> {
    let fault = |error| StorageError::Fault(format!("{what} cannot be encoded: {error}"));
    serde_json::to_string(value).map_err(fault)
}

/// Decodes the JSON of `column`. Fails if it cannot be decoded.
fn decode<T: DeserializeOwned>(column: &'static str, stored: &str) -> Result<T, StorageError> {
    serde_json::from_str(stored).map_err(|_| StorageError::unknown_text(column, stored))
}

fn import(row: roster_import::Model) -> Result<Import, StorageError> {
    let state = ImportState::from_number(row.state);
    Ok(Import {
        id: RosterImportId::from_uuid(row.import_id),
        state: state.ok_or_else(|| StorageError::unknown_value("roster_import.state", row.state))?,
        one_roster_version: row.one_roster_version,
        planned: decode_counts("roster_import.planned", &row.planned)?,
        done: decode_counts("roster_import.done", &row.done)?,
        change_count: row.change_count,
        problem_count: row.problem_count,
        no_effect_count: row.no_effect_count,
        waiting_count: row.waiting_count,
        mass_changes: decode("roster_import.mass_changes", &row.mass_changes)?,
        classes: decode("roster_import.classes", &row.classes)?,
        archived_units: decode("roster_import.archived_units", &row.archived_units)?,
        starter_id: row.starter_id.map(MemberId::from_uuid),
        position: row.position,
        create_time: row.create_time,
        start_time: row.start_time,
        finish_time: row.finish_time,
        revision: row.revision,
    })
}

fn to_row(scope: &OrgScope, import: &Import) -> Result<roster_import::Model, StorageError> {
    Ok(roster_import::Model {
        org_id: scope.org_id().uuid(),
        import_id: import.id.uuid(),
        state: import.state.number(),
        one_roster_version: import.one_roster_version.clone(),
        planned: encode_counts(&import.planned)?,
        done: encode_counts(&import.done)?,
        change_count: import.change_count,
        problem_count: import.problem_count,
        no_effect_count: import.no_effect_count,
        waiting_count: import.waiting_count,
        mass_changes: encode("mass changes", &import.mass_changes)?,
        classes: encode("classes", &import.classes)?,
        archived_units: encode("archived units", &import.archived_units)?,
        starter_id: import.starter_id.map(MemberId::uuid),
        position: import.position,
        create_time: import.create_time,
        start_time: import.start_time,
        finish_time: import.finish_time,
        revision: import.revision,
    })
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
    rows::insert_changes(conn, scope, import.id, changes).await?;
    rows::insert_problems(conn, scope, import.id, problems).await?;
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

/// Loads the running imports and locks them in the order of their ids.
pub(super) async fn lock_running(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Vec<Import>, StorageError> {
    use roster_import::Column;
    let rows = roster_import::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::State.eq(ImportState::Running.number()))
        .order_by_asc(Column::ImportId)
        .lock_exclusive()
        .all(conn)
        .await?;
    rows.into_iter().map(import).collect()
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
    // A check stops abandoned imports in its own transaction, before it compares the roster.
    let stopped_by_check = Column::State
        .eq(ImportState::Stopped.number())
        .and(Column::FinishTime.eq(since));
    let newer = Condition::any()
        .add(Column::State.eq(ImportState::Running.number()))
        .add(Column::FinishTime.gte(since).and(stopped_by_check.not()));
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

/// Deletes an import that is not running and was finished, or else checked, before a time, with its rows.
/// Returns `false` if there is none. It belongs to no organization in particular.
pub(super) async fn delete_oldest(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<bool, StorageError> {
    use roster_import::Column;
    // One query for each index.
    let finished = roster_import::Entity::find()
        .filter(Column::FinishTime.lt(before))
        .order_by_asc(Column::FinishTime);
    let unfinished = roster_import::Entity::find()
        .filter(Column::FinishTime.is_null())
        .filter(Column::State.ne(ImportState::Running.number()))
        .filter(Column::CreateTime.lt(before))
        .order_by_asc(Column::CreateTime);
    let mut found = finished.limit(1).lock_exclusive().one(conn).await?;
    if found.is_none() {
        found = unfinished.limit(1).lock_exclusive().one(conn).await?;
    }
    let Some(import) = found else { return Ok(false) };
    let (org, id) = (import.org_id, import.import_id);
    rows::delete(conn, org, id).await?;
    roster_import::Entity::delete_by_id((org, id)).exec(conn).await?;
    Ok(true)
}
