//! The table `relation_limit` and named queries over it.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{GuardianshipId, MemberId, OrgId, RelationLimitId, TypedId as _};
use parta_roster::RelationLimits;
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _,
    sea_query::{Expr, SelectStatement},
};

use super::order;
use crate::guardianships::model::{InForce, Limit};
use entity::{Column, Entity, Model};

table!(entity, "relation_limit", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    relation_limit_id: Uuid,
    guardianship_id: Uuid,
    guardian_id: Uuid,
    child_id: Uuid,
    limits: i32,
    provisional: bool,
    until_date: Option<Date>,
    order_number: Option<String>,
    order_date: Option<Date>,
    order_text: Option<String>,
    cause: String,
    author_id: Uuid,
    create_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
});

/// The guardian and the child.
pub(crate) type Pair = (MemberId, MemberId);

fn limit(row: Model) -> Result<Limit, StorageError> {
    Ok(Limit {
        org_id: OrgId::from_uuid(row.org_id),
        id: RelationLimitId::from_uuid(row.relation_limit_id),
        guardianship_id: GuardianshipId::from_uuid(row.guardianship_id),
        guardian_id: MemberId::from_uuid(row.guardian_id),
        child_id: MemberId::from_uuid(row.child_id),
        limits: RelationLimits::from_mask(row.limits)
            .ok_or_else(|| StorageError::unknown_value("relation_limit.limits", row.limits))?,
        until: row.until_date,
        order: order(row.order_number, row.order_date, row.order_text),
        cause: row.cause,
        author_id: MemberId::from_uuid(row.author_id),
        create_time: row.create_time,
        end_time: row.end_time,
    })
}

pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Limit,
) -> Result<(), StorageError> {
    super::check_scope(scope, row.org_id)?;
    let order = row.order.clone();
    let model = Model {
        org_id: row.org_id.uuid(),
        relation_limit_id: row.id.uuid(),
        guardianship_id: row.guardianship_id.uuid(),
        guardian_id: row.guardian_id.uuid(),
        child_id: row.child_id.uuid(),
        limits: row.limits.mask(),
        provisional: row.is_provisional(),
        until_date: row.until,
        order_number: order.as_ref().map(|order| order.number.clone()),
        order_date: order.as_ref().map(|order| order.date),
        order_text: order.map(|order| order.text),
        cause: row.cause.clone(),
        author_id: row.author_id.uuid(),
        create_time: row.create_time,
        end_time: row.end_time,
    };
    Entity::insert(model.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Ends limits, which stay as history.
pub(crate) async fn end(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RelationLimitId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::RelationLimitId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// The relations about which provisional limits are in force, as a query.
pub(crate) fn provisional(org: OrgId) -> SelectStatement {
    Entity::find()
        .select_only()
        .column(Column::GuardianshipId)
        .filter(in_force(org).add(Column::Provisional.eq(true)))
        .into_query()
}

fn in_force(org: OrgId) -> Condition {
    Condition::all()
        .add(Column::OrgId.eq(org.uuid()))
        .add(Column::EndTime.is_null())
}

async fn by_pair(
    conn: &impl ConnectionTrait,
    rows: Condition,
) -> Result<BTreeMap<Pair, InForce>, StorageError> {
    let mut all: BTreeMap<Pair, InForce> = BTreeMap::new();
    for row in Entity::find().filter(rows).all(conn).await? {
        let row = limit(row)?;
        all.entry((row.guardian_id, row.child_id)).or_default().add(row);
    }
    Ok(all)
}

/// Loads the limits in force between two people.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    pair: Pair,
) -> Result<InForce, StorageError> {
    let rows = in_force(scope.org_id())
        .add(Column::GuardianId.eq(pair.0.uuid()))
        .add(Column::ChildId.eq(pair.1.uuid()));
    Ok(by_pair(conn, rows).await?.remove(&pair).unwrap_or_default())
}

/// Loads the limits in force toward these children.
pub(crate) async fn list_of_children(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    children: &BTreeSet<MemberId>,
) -> Result<BTreeMap<Pair, InForce>, StorageError> {
    let ids = children.iter().map(|child| child.uuid());
    by_pair(conn, in_force(scope.org_id()).add(Column::ChildId.is_in(ids))).await
}

/// Loads the limits in force on these guardians.
pub(crate) async fn list_of_guardians(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    guardians: &BTreeSet<MemberId>,
) -> Result<BTreeMap<Pair, InForce>, StorageError> {
    let ids = guardians.iter().map(|guardian| guardian.uuid());
    by_pair(conn, in_force(scope.org_id()).add(Column::GuardianId.is_in(ids))).await
}

/// Loads all limits in force in an organization, for the snapshot of the feed.
pub(crate) async fn list_in_force(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<BTreeMap<Pair, InForce>, StorageError> {
    by_pair(conn, in_force(org)).await
}

/// Locks and loads the limits whose last day is before `today`, in the order of their ids.
pub(crate) async fn lock_due(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    today: NaiveDate,
) -> Result<Vec<Limit>, StorageError> {
    let rows = Entity::find()
        .filter(in_force(scope.org_id()).add(Column::UntilDate.lt(today)))
        .order_by_asc(Column::RelationLimitId)
        .lock_exclusive()
        .all(conn)
        .await?;
    rows.into_iter().map(limit).collect()
}
