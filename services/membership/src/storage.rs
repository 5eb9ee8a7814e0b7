//! Storage shared by the features: functions that list and end rows.
use chrono::{DateTime, Utc};
use parta_ids::{TypedId, Uuid};
use sea_orm::{
    Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::Expr,
};

/// Sets the end time of rows and returns their ids. Locks the rows in the order of their ids, so that two
/// transactions that end the same rows do not deadlock.
pub(crate) async fn end_rows<E: EntityTrait, Id: TypedId>(
    conn: &impl ConnectionTrait,
    (id, end_time): (E::Column, E::Column),
    rows: Condition,
    now: DateTime<Utc>,
) -> Result<Vec<Id>, DbErr> {
    let ids: Vec<Uuid> = E::find()
        .select_only()
        .column(id)
        .filter(rows.clone())
        .order_by_asc(id)
        .lock_exclusive()
        .into_tuple()
        .all(conn)
        .await?;
    E::update_many()
        .col_expr(end_time, Expr::value(now))
        .filter(rows)
        .exec(conn)
        .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// Returns the ids of rows, in their order.
pub(crate) async fn ids_of<E: EntityTrait, Id: TypedId>(
    conn: &impl ConnectionTrait,
    id: E::Column,
    rows: Condition,
) -> Result<Vec<Id>, DbErr> {
    let ids: Vec<Uuid> = E::find()
        .select_only()
        .column(id)
        .filter(rows)
        .order_by_asc(id)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}
