//! The table `unit` and named queries over it.
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{OrgId, RosterImportId, TypedId as _, UnitId, Uuid, optional_text};
use parta_roster::label_key;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::model::{ImportSource, Unit, UnitKind};
use entity::{ActiveModel, Column, Entity, Model};

table!(entity, "unit", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    unit_id: Uuid,
    kind: i32,
    label: String,
    label_key: String,
    /// Empty if no import requested the unit.
    roster_import_id: String,
    /// Empty if no import requested the unit.
    source_key: String,
    create_time: DateTimeUtc,
    archive_time: Option<DateTimeUtc>,
    revision: i64,
});

#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) kind: Option<UnitKind>,
    pub(crate) include_archived: bool,
    /// Only these units; `None` for all.
    pub(crate) only: Option<Vec<UnitId>>,
}

fn from_row(row: Model) -> Result<Unit, StorageError> {
    let kind =
        UnitKind::from_number(row.kind).ok_or_else(|| StorageError::unknown_value("unit.kind", row.kind))?;
    Ok(Unit {
        org_id: OrgId::from_uuid(row.org_id),
        id: UnitId::from_uuid(row.unit_id),
        kind,
        label: row.label,
        create_time: row.create_time,
        archive_time: row.archive_time,
        revision: row.revision,
    })
}

fn source(row: &Model) -> Result<Option<ImportSource>, StorageError> {
    if row.roster_import_id.is_empty() {
        return Ok(None);
    }
    let roster_import_id: RosterImportId = row
        .roster_import_id
        .parse()
        .map_err(|error| StorageError::Fault(format!("unit.roster_import_id holds no id: {error}")))?;
    Ok(Some(ImportSource {
        roster_import_id,
        key: row.source_key.clone(),
    }))
}

/// Finds the unit of this kind and label that is not archived.
pub(super) async fn find_by_label(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    kind: UnitKind,
    label: &str,
) -> Result<Option<UnitId>, StorageError> {
    let found: Option<Uuid> = Entity::find()
        .select_only()
        .column(Column::UnitId)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::Kind.eq(kind.number()))
        .filter(Column::LabelKey.eq(label_key(label)))
        .filter(Column::ArchiveTime.is_null())
        .into_tuple()
        .one(conn)
        .await?;
    Ok(found.map(UnitId::from_uuid))
}

/// Finds the unit that an import has created for this key.
pub(super) async fn find_by_source(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    source: &ImportSource,
) -> Result<Option<UnitId>, StorageError> {
    let found: Option<Uuid> = Entity::find()
        .select_only()
        .column(Column::UnitId)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::RosterImportId.eq(source.roster_import_id.to_string()))
        .filter(Column::SourceKey.eq(source.key.as_str()))
        .into_tuple()
        .one(conn)
        .await?;
    Ok(found.map(UnitId::from_uuid))
}

/// Inserts a unit. Its organization is the scope's.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    unit: &Unit,
    source: Option<&ImportSource>,
) -> Result<(), StorageError> {
    let import = optional_text(source.map(|source| source.roster_import_id));
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        unit_id: Set(unit.id.uuid()),
        kind: Set(unit.kind.number()),
        label: Set(unit.label.clone()),
        label_key: Set(label_key(&unit.label)),
        roster_import_id: Set(import),
        source_key: Set(source.map(|source| source.key.clone()).unwrap_or_default()),
        create_time: Set(unit.create_time),
        archive_time: Set(unit.archive_time),
        revision: Set(unit.revision),
    };
    let inserted = Entity::insert(row).exec_without_returning(conn).await;
    map_unique_violation(inserted.map(|_| ()))
}

pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    unit: &Unit,
) -> Result<(), StorageError> {
    let updated = Entity::update_many()
        .col_expr(Column::Label, unit.label.clone().into())
        .col_expr(Column::LabelKey, label_key(&unit.label).into())
        .col_expr(Column::ArchiveTime, unit.archive_time.into())
        .col_expr(Column::Revision, unit.revision.into())
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::UnitId.eq(unit.id.uuid()))
        .exec(conn)
        .await;
    map_unique_violation(updated.map(|_| ()))
}

/// Maps the error if another transaction used the label between the check and the write. A retry of the call
/// finds that unit and reports it.
fn map_unique_violation(result: Result<(), DbErr>) -> Result<(), StorageError> {
    match result.map_err(StorageError::from) {
        Err(StorageError::UniqueViolation { .. }) => Err(parta_status::conflict().into()),
        other => other,
    }
}

/// Loads a unit, archived or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: UnitId,
) -> Result<Option<Unit>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    row.map(from_row).transpose()
}

/// Loads a unit, archived or not, and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: UnitId,
) -> Result<Option<Unit>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(from_row).transpose()
}

/// Lists units in the order of their ids, after a key.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter,
    after: Option<UnitId>,
    limit: u64,
) -> Result<Vec<Unit>, StorageError> {
    let only = filter.only.as_ref();
    let conditions = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add_option(filter.kind.map(|kind| Column::Kind.eq(kind.number())))
        .add_option((!filter.include_archived).then(|| Column::ArchiveTime.is_null()))
        .add_option(only.map(|ids| Column::UnitId.is_in(ids.iter().map(|id| id.uuid()))))
        .add_option(after.map(|id| Column::UnitId.gt(id.uuid())));
    let rows = Entity::find()
        .filter(conditions)
        .order_by_asc(Column::UnitId)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Lists the units of an organization, with their imports, for the snapshot of the feed.
pub(super) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<(Unit, Option<ImportSource>)>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::UnitId)
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let source = source(&row)?;
            Ok((from_row(row)?, source))
        })
        .collect()
}
