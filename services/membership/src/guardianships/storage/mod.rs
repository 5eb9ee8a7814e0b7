//! The table `guardianship` and named queries over it; those of limits and of children beside it.
pub(super) mod children;
pub(super) mod limits;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{GuardianshipId, MemberId, OrgId, TypedId as _};
use parta_roster::RelationKind;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::OnConflict,
};

use super::model::{AdultAccess, Guardianship};
use crate::orders::Order;
use crate::storage::{end_rows, ids_of};
use entity::{Column, Entity, Model};

table!(entity, "guardianship", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    guardianship_id: Uuid,
    guardian_id: Uuid,
    child_id: Uuid,
    kind: i32,
    confirmed: bool,
    approver_id: Option<Uuid>,
    order_number: Option<String>,
    order_date: Option<Date>,
    order_text: Option<String>,
    unit_rooms_only: bool,
    adult_access: i32,
    create_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
    end_cause: Option<String>,
    ended_by_order: bool,
});

/// Reads the three columns of an order, which are all set or all empty.
fn order(number: Option<String>, date: Option<NaiveDate>, text: Option<String>) -> Option<Order> {
    Some(Order {
        number: number?,
        date: date?,
        text: text?,
    })
}

fn guardianship(row: Model) -> Result<Guardianship, StorageError> {
    Ok(Guardianship {
        org_id: OrgId::from_uuid(row.org_id),
        id: GuardianshipId::from_uuid(row.guardianship_id),
        guardian_id: MemberId::from_uuid(row.guardian_id),
        child_id: MemberId::from_uuid(row.child_id),
        kind: RelationKind::from_number(row.kind)
            .ok_or_else(|| StorageError::unknown_value("guardianship.kind", row.kind))?,
        confirmed: row.confirmed,
        approver_id: row.approver_id.map(MemberId::from_uuid),
        order: order(row.order_number, row.order_date, row.order_text),
        unit_rooms_only: row.unit_rooms_only,
        adult_access: AdultAccess::from_number(row.adult_access)
            .ok_or_else(|| StorageError::unknown_value("guardianship.adult_access", row.adult_access))?,
        create_time: row.create_time,
        end_time: row.end_time,
        end_cause: row.end_cause,
        ended_by_order: row.ended_by_order,
    })
}

fn guardianships(rows: Vec<Model>) -> Result<Vec<Guardianship>, StorageError> {
    rows.into_iter().map(guardianship).collect()
}

/// Refuses a row of another organization than the scope's.
fn check_scope(scope: &OrgScope, org: OrgId) -> Result<(), StorageError> {
    if org == scope.org_id() {
        return Ok(());
    }
    Err(StorageError::Fault(
        "a row of another organization than the scope's was to be written".into(),
    ))
}

/// The row of a relation; refuses one of another organization than the scope's.
fn to_row(scope: &OrgScope, row: &Guardianship) -> Result<Model, StorageError> {
    check_scope(scope, row.org_id)?;
    let order = row.order.clone();
    Ok(Model {
        org_id: row.org_id.uuid(),
        guardianship_id: row.id.uuid(),
        guardian_id: row.guardian_id.uuid(),
        child_id: row.child_id.uuid(),
        kind: row.kind.number(),
        confirmed: row.confirmed,
        approver_id: row.approver_id.map(MemberId::uuid),
        order_number: order.as_ref().map(|order| order.number.clone()),
        order_date: order.as_ref().map(|order| order.date),
        order_text: order.map(|order| order.text),
        unit_rooms_only: row.unit_rooms_only,
        adult_access: row.adult_access.number(),
        create_time: row.create_time,
        end_time: row.end_time,
        end_cause: row.end_cause.clone(),
        ended_by_order: row.ended_by_order,
    })
}

/// Inserts a relation; returns `false` if one of the two has not ended.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Guardianship,
) -> Result<bool, StorageError> {
    let inserted = insert_all(conn, scope, std::slice::from_ref(row)).await?;
    Ok(!inserted.is_empty())
}

/// Inserts relations, as many as one statement takes, but for those between people who are related. Returns
/// the ids of those that were inserted.
pub(super) async fn insert_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    relations: &[Guardianship],
) -> Result<BTreeSet<GuardianshipId>, StorageError> {
    if relations.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut rows = Vec::with_capacity(relations.len());
    for row in relations {
        rows.push(to_row(scope, row)?.into_active_model());
    }
    let inserted = Entity::insert_many(rows)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    let ids = relations.iter().map(|row| row.id);
    if inserted == relations.len() as u64 {
        return Ok(ids.collect());
    }
    let rows = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::GuardianshipId.is_in(ids.map(GuardianshipId::uuid)));
    let found = ids_of::<Entity, _>(conn, Column::GuardianshipId, rows).await?;
    Ok(found.into_iter().collect())
}

/// Loads a relation, ended or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: GuardianshipId,
) -> Result<Option<Guardianship>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    row.map(guardianship).transpose()
}

/// Loads a relation, ended or not, and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: GuardianshipId,
) -> Result<Option<Guardianship>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(guardianship).transpose()
}

/// Saves all columns of a relation.
pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Guardianship,
) -> Result<(), StorageError> {
    Entity::update(to_row(scope, row)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// In what a member takes part in a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Guardian,
    Child,
}

/// The relations of a member on one side that have not ended.
fn current_of(scope: &OrgScope, (member, side): (MemberId, Side)) -> Condition {
    let own = match side {
        Side::Guardian => Column::GuardianId,
        Side::Child => Column::ChildId,
    };
    Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(own.eq(member.uuid()))
        .add(Column::EndTime.is_null())
}

/// Returns the ids of the relations of a member on one side that have not ended, in their order.
pub(super) async fn lasting_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: (MemberId, Side),
) -> Result<Vec<GuardianshipId>, DbErr> {
    ids_of::<Entity, _>(conn, Column::GuardianshipId, current_of(scope, of)).await
}

/// Returns the ids of all relations of a member on either side, also of those that have ended.
pub(super) async fn all_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<GuardianshipId>, DbErr> {
    let of_member = Condition::any()
        .add(Column::GuardianId.eq(member.uuid()))
        .add(Column::ChildId.eq(member.uuid()));
    let rows = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(of_member);
    ids_of::<Entity, _>(conn, Column::GuardianshipId, rows).await
}

/// Ends every relation of a member on one side and returns their ids; with `since`, only those that began at
/// that time or later.
pub(super) async fn end_all_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: (MemberId, Side),
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Vec<GuardianshipId>, DbErr> {
    let current = current_of(scope, of).add_option(since.map(|since| Column::CreateTime.gte(since)));
    let columns = (Column::GuardianshipId, Column::EndTime);
    end_rows::<Entity, _>(conn, columns, current, now).await
}

/// The relations that a list may hold.
pub(super) enum Visible {
    /// All of the organization.
    All,
    /// Those of this person, and those of these children.
    Of(MemberId, BTreeSet<MemberId>),
}

/// The relations that a list holds.
pub(super) struct Filter<'a> {
    pub(super) visible: &'a Visible,
    /// Only those of this child.
    pub(super) child: Option<MemberId>,
    /// Only those that wait for a decision.
    pub(super) pending_only: bool,
}

/// Lists relations that have not ended, and those that an order has ended, in the order of their ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter<'_>,
    after: Option<GuardianshipId>,
    limit: u64,
) -> Result<Vec<Guardianship>, StorageError> {
    let visible = match filter.visible {
        Visible::All => None,
        Visible::Of(person, children) => Some(
            Condition::any()
                .add(Column::GuardianId.eq(person.uuid()))
                .add(Column::ChildId.eq(person.uuid()))
                .add(Column::ChildId.is_in(children.iter().map(|c| c.uuid()))),
        ),
    };
    let shown = Condition::any()
        .add(Column::EndTime.is_null())
        .add(Column::EndedByOrder.eq(true));
    let pending = Condition::all().add(Column::EndTime.is_null()).add(
        Condition::any()
            .add(Column::Confirmed.eq(false))
            .add(Column::GuardianshipId.in_subquery(limits::provisional(scope.org_id()))),
    );
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(shown)
        .filter(
            Condition::all()
                .add_option(visible)
                .add_option(filter.child.map(|id| Column::ChildId.eq(id.uuid())))
                .add_option(filter.pending_only.then_some(pending))
                .add_option(after.map(|id| Column::GuardianshipId.gt(id.uuid()))),
        )
        .order_by_asc(Column::GuardianshipId)
        .limit(limit)
        .all(conn)
        .await?;
    guardianships(rows)
}

/// Returns the people on the other side of the relations of a person that have not ended, or that an order
/// has ended.
async fn people_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (own, person): (Column, MemberId),
    other: Column,
) -> Result<BTreeSet<MemberId>, StorageError> {
    let shown = Condition::any()
        .add(Column::EndTime.is_null())
        .add(Column::EndedByOrder.eq(true));
    let ids: Vec<parta_ids::Uuid> = Entity::find()
        .select_only()
        .column(other)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(own.eq(person.uuid()))
        .filter(shown)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(MemberId::from_uuid).collect())
}

/// Returns the guardians of a child: by a relation that has not ended, or that an order has ended.
pub(super) async fn guardians_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    child: MemberId,
) -> Result<BTreeSet<MemberId>, StorageError> {
    people_of(conn, scope, (Column::ChildId, child), Column::GuardianId).await
}

/// Returns the children of a guardian: by a relation that has not ended, or that an order has ended.
pub(super) async fn children_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    guardian: MemberId,
) -> Result<BTreeSet<MemberId>, StorageError> {
    people_of(conn, scope, (Column::GuardianId, guardian), Column::ChildId).await
}

/// Counts the confirmed relations of a guardian.
pub(super) async fn count_children(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    guardian: MemberId,
) -> Result<u64, StorageError> {
    Ok(Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::GuardianId.eq(guardian.uuid()))
        .filter(Column::Confirmed.eq(true))
        .filter(Column::EndTime.is_null())
        .count(conn)
        .await?)
}

/// Loads the relation of two people that has not ended.
pub(super) async fn find_between(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (guardian, child): limits::Pair,
) -> Result<Option<Guardianship>, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::GuardianId.eq(guardian.uuid()))
        .filter(Column::ChildId.eq(child.uuid()))
        .filter(Column::EndTime.is_null())
        .one(conn)
        .await?;
    row.map(guardianship).transpose()
}

/// Loads the relation of two people that lasts, or else the latest one that has ended.
pub(super) async fn find_latest(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    pair: limits::Pair,
) -> Result<Option<Guardianship>, StorageError> {
    let mut all = list_latest(conn, scope, &BTreeSet::from([pair.0])).await?;
    Ok(all.remove(&pair))
}

/// Loads for these guardians and each of their children the relation that lasts, or else the latest one that
/// has ended.
pub(super) async fn list_latest(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    guardians: &BTreeSet<MemberId>,
) -> Result<BTreeMap<limits::Pair, Guardianship>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::GuardianId.is_in(guardians.iter().map(|id| id.uuid())))
        .order_by_asc(Column::CreateTime)
        .order_by_asc(Column::GuardianshipId)
        .all(conn)
        .await?;
    let mut latest: BTreeMap<limits::Pair, Guardianship> = BTreeMap::new();
    for row in guardianships(rows)? {
        let pair = (row.guardian_id, row.child_id);
        if latest.get(&pair).is_none_or(Guardianship::has_ended) {
            latest.insert(pair, row);
        }
    }
    Ok(latest)
}

/// Forgets that an order ended the relation of two people, because a newer one renews it.
pub(super) async fn renew(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (guardian, child): limits::Pair,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::EndedByOrder, false.into())
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::GuardianId.eq(guardian.uuid()))
        .filter(Column::ChildId.eq(child.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Locks and loads the relations of these children that have not ended, in the order of their ids.
pub(super) async fn lock_of_children(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    children: &[MemberId],
) -> Result<Vec<Guardianship>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ChildId.is_in(children.iter().map(|child| child.uuid())))
        .filter(Column::EndTime.is_null())
        .order_by_asc(Column::GuardianshipId)
        .lock_exclusive()
        .all(conn)
        .await?;
    guardianships(rows)
}

/// Lists all relations that have not ended, of one organization or of all, for the snapshot of the feed and
/// for imports.
pub(crate) async fn list_current(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Guardianship>, StorageError> {
    let rows = Entity::find()
        .filter(Column::EndTime.is_null())
        .filter(Column::OrgId.eq(org.uuid()))
        .all(conn)
        .await?;
    guardianships(rows)
}
