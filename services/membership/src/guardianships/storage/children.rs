//! The table `child_record` and named queries over it.
use chrono::NaiveDate;
use parta_access::OrgScope;
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{MemberId, OrgId, TypedId as _, Uuid};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::order;
use crate::guardianships::model::ChildRecord;
use entity::{Column, Entity, Model};

table!(entity, "child_record", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    birth_date: Option<Date>,
    protected: bool,
    order_number: Option<String>,
    order_date: Option<Date>,
    order_text: Option<String>,
});

/// Loads the record of a child. A child without one has an empty record.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    child: MemberId,
) -> Result<ChildRecord, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), child.uuid()))
        .one(conn)
        .await?;
    let empty = Model {
        org_id: scope.org_id().uuid(),
        member_id: child.uuid(),
        birth_date: None,
        protected: false,
        order_number: None,
        order_date: None,
        order_text: None,
    };
    let row = row.unwrap_or(empty);
    Ok(ChildRecord {
        org_id: scope.org_id(),
        child_id: child,
        birth_date: row.birth_date,
        protected: row.protected,
        order: order(row.order_number, row.order_date, row.order_text),
    })
}

/// Saves the record of a child, whose member must have been locked.
pub(crate) async fn save(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    record: &ChildRecord,
) -> Result<(), StorageError> {
    super::check_scope(scope, record.org_id)?;
    let order = record.order.clone();
    let row = Model {
        org_id: record.org_id.uuid(),
        member_id: record.child_id.uuid(),
        birth_date: record.birth_date,
        protected: record.protected,
        order_number: order.as_ref().map(|order| order.number.clone()),
        order_date: order.as_ref().map(|order| order.date),
        order_text: order.map(|order| order.text),
    };
    insert_or_replace::<Entity>(conn, row).await
}

/// Lists the children whose families are protected.
pub(crate) async fn list_protected(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<MemberId>, StorageError> {
    let ids: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::MemberId)
        .filter(Column::OrgId.eq(org.uuid()))
        .filter(Column::Protected.eq(true))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(MemberId::from_uuid).collect())
}

/// Lists the children born on or before a day, with their birth dates.
pub(crate) async fn list_born_until(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    day: NaiveDate,
) -> Result<Vec<(MemberId, NaiveDate)>, StorageError> {
    let rows: Vec<(Uuid, NaiveDate)> = Entity::find()
        .select_only()
        .column(Column::MemberId)
        .column(Column::BirthDate)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::BirthDate.lte(day))
        .into_tuple()
        .all(conn)
        .await?;
    let decode = |(id, date)| (MemberId::from_uuid(id), date);
    Ok(rows.into_iter().map(decode).collect())
}
