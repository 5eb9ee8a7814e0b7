//! The table `acting_head` and named queries over it.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, insert_if_absent, table};
use parta_ids::{ActingHeadId, MemberId, OrgId, TypedId as _};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _, sea_query::Expr,
};

use super::model::ActingHead;
use crate::orders::Order;
use crate::storage::{FactColumns, MemberFacts, end_facts, lasting};
pub(super) use entity::Entity as ActingHeads;
use entity::{Column, Entity, Model};

table!(entity, "acting_head", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    acting_head_id: Uuid,
    member_id: Uuid,
    order_number: String,
    order_date: Date,
    order_text: String,
    appointer_id: Uuid,
    create_time: DateTimeUtc,
    until_date: Date,
    due_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
    end_cause: Option<String>,
});

impl MemberFacts for Entity {
    type Id = ActingHeadId;
    const COLUMNS: FactColumns<Column> = FactColumns {
        org: Column::OrgId,
        id: Column::ActingHeadId,
        member: Column::MemberId,
        end_time: Column::EndTime,
    };
}

fn acting_head(row: Model) -> ActingHead {
    ActingHead {
        org_id: OrgId::from_uuid(row.org_id),
        id: ActingHeadId::from_uuid(row.acting_head_id),
        member_id: MemberId::from_uuid(row.member_id),
        order: Order {
            number: row.order_number,
            date: row.order_date,
            text: row.order_text,
        },
        appointer_id: MemberId::from_uuid(row.appointer_id),
        create_time: row.create_time,
        until: row.until_date,
        due_time: row.due_time,
        end_time: row.end_time,
        end_cause: row.end_cause,
    }
}

/// Inserts an acting head; returns `false` if the organization has one.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: &ActingHead,
) -> Result<bool, StorageError> {
    let row = Model {
        org_id: scope.org_id().uuid(),
        acting_head_id: of.id.uuid(),
        member_id: of.member_id.uuid(),
        order_number: of.order.number.clone(),
        order_date: of.order.date,
        order_text: of.order.text.clone(),
        appointer_id: of.appointer_id.uuid(),
        create_time: of.create_time,
        until_date: of.until,
        due_time: of.due_time,
        end_time: of.end_time,
        end_cause: of.end_cause.clone(),
    };
    insert_if_absent::<Entity>(conn, row).await
}

/// Loads an acting head, ended or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ActingHeadId,
) -> Result<Option<ActingHead>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    Ok(row.map(acting_head))
}

/// Loads an acting head, ended or not, and locks the row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ActingHeadId,
) -> Result<Option<ActingHead>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(row.map(acting_head))
}

/// Loads the acting head of an organization.
pub(super) async fn find_current(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Option<ActingHead>, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .filter(Column::EndTime.is_null())
        .one(conn)
        .await?;
    Ok(row.map(acting_head))
}

/// Ends an acting head whose row is locked, by a decision.
pub(super) async fn end(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ActingHeadId,
    now: DateTime<Utc>,
    cause: &str,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .col_expr(Column::EndCause, Expr::value(cause))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ActingHeadId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Ends an appointment whose last day is over; returns `false` if it has ended otherwise.
pub(super) async fn end_due(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ActingHeadId,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let rows = lasting::<Entity>(scope)
        .add(Column::ActingHeadId.eq(id.uuid()))
        .add(Column::DueTime.lte(now));
    Ok(!end_facts::<Entity>(conn, rows, now).await?.is_empty())
}
