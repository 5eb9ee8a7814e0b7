use parta_access::OrgScope;
use parta_ids::{OrgId, TypedId as _, UnitId, Uuid};
use parta_proto::parta::org_registry::v1::UnitKind;
use parta_roster::label_key;
use parta_storage::{StorageError, Tx};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::{
    applications::model::Unit,
    entities::unit::{self, ActiveModel, Column, Entity},
    error::Error,
};

/// From which roster import a unit comes; empty texts where a person made it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) roster_import_id: String,
    pub(crate) source_key: String,
}

/// What a list is limited to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) kind: Option<UnitKind>,
    pub(crate) include_archived: bool,
    /// Only these units; `None`: all.
    pub(crate) only: Option<Vec<UnitId>>,
}

/// Finds the living unit of this kind and label.
pub(crate) async fn find_by_label(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    kind: UnitKind,
    label: &str,
) -> Result<Option<UnitId>, Error> {
    let found: Option<Uuid> = Entity::find()
        .select_only()
        .column(Column::UnitId)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::Kind.eq(i32::from(kind)))
        .filter(Column::LabelKey.eq(label_key(label)))
        .filter(Column::ArchiveTime.is_null())
        .into_tuple()
        .one(conn)
        .await?;
    Ok(found.map(UnitId::from_uuid))
}

pub(crate) async fn insert(tx: &Tx, scope: &OrgScope, made: &Unit, source: &Source) -> Result<(), Error> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        unit_id: Set(made.id.uuid()),
        kind: Set(made.kind.into()),
        label: Set(made.label.clone()),
        label_key: Set(label_key(&made.label)),
        roster_import_id: Set(source.roster_import_id.clone()),
        source_key: Set(source.source_key.clone()),
        create_time: Set(made.create_time),
        archive_time: Set(made.archive_time),
        revision: Set(made.revision),
    };
    map_unique_violation(Entity::insert(row).exec_without_returning(tx).await.map(|_| ()))
}

pub(crate) async fn update(tx: &Tx, scope: &OrgScope, changed: &Unit) -> Result<(), Error> {
    let result = Entity::update_many()
        .col_expr(Column::Label, changed.label.clone().into())
        .col_expr(Column::LabelKey, label_key(&changed.label).into())
        .col_expr(Column::ArchiveTime, changed.archive_time.into())
        .col_expr(Column::Revision, changed.revision.into())
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::UnitId.eq(changed.id.uuid()))
        .exec(tx)
        .await;
    map_unique_violation(result.map(|_| ()))
}

/// Another transaction took the label between the look and the write: repeating finds it and says whose it is.
fn map_unique_violation(result: Result<(), sea_orm::DbErr>) -> Result<(), Error> {
    match result.map_err(StorageError::from) {
        Err(StorageError::UniqueViolation { .. }) => Err(parta_status::conflict().into()),
        other => Ok(other?),
    }
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: UnitId,
) -> Result<Option<Unit>, Error> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    Ok(row.map(model))
}

/// The same, locked until the transaction ends.
pub(crate) async fn find_for_update(tx: &Tx, scope: &OrgScope, id: UnitId) -> Result<Option<Unit>, Error> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(row.map(model))
}

pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter,
    after: Option<UnitId>,
    limit: u64,
) -> Result<Vec<Unit>, Error> {
    let mut query = Entity::find().filter(Column::OrgId.eq(scope.org_id().uuid()));
    if let Some(kind) = filter.kind {
        query = query.filter(Column::Kind.eq(i32::from(kind)));
    }
    if !filter.include_archived {
        query = query.filter(Column::ArchiveTime.is_null());
    }
    if let Some(only) = &filter.only {
        query = query.filter(Column::UnitId.is_in(only.iter().map(|id| id.uuid())));
    }
    if let Some(after) = after {
        query = query.filter(Column::UnitId.gt(after.uuid()));
    }
    let rows = query.order_by_asc(Column::UnitId).limit(limit).all(conn).await?;
    Ok(rows.into_iter().map(model).collect())
}

/// Every unit with its source, for snapshots of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    only: Option<OrgId>,
) -> Result<Vec<(Unit, Source)>, Error> {
    let mut query = Entity::find();
    if let Some(only) = only {
        query = query.filter(Column::OrgId.eq(only.uuid()));
    }
    let rows = query
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::UnitId)
        .all(conn)
        .await?;
    let source = |row: &unit::Model| Source {
        roster_import_id: row.roster_import_id.clone(),
        source_key: row.source_key.clone(),
    };
    Ok(rows
        .into_iter()
        .map(|row| (source(&row), row))
        .map(|(source, row)| (model(row), source))
        .collect())
}

fn model(row: unit::Model) -> Unit {
    Unit {
        id: UnitId::from_uuid(row.unit_id),
        org_id: OrgId::from_uuid(row.org_id),
        kind: UnitKind::try_from(row.kind).unwrap_or_default(),
        label: row.label,
        create_time: row.create_time,
        archive_time: row.archive_time,
        revision: row.revision,
    }
}
