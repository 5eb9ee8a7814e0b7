//! Storage shared by the features: functions that list and end rows, and facts about members that end.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::StorageError;
use parta_ids::{MemberId, TypedId, Uuid};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, sea_query::Expr,
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
    if ids.is_empty() {
        return Ok(Vec::new());
    }
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

/// Loads the rows that follow `after` in the order of their ids, at most `limit`.
pub(crate) async fn load_page<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    id: E::Column,
    rows: Condition,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<E::Model>, DbErr> {
    E::find()
        .filter(rows.add_option(after.map(|after| id.gt(after))))
        .order_by_asc(id)
        .limit(limit)
        .all(conn)
        .await
}

/// Loads the rows about members of an organization, of all or `among` these, that follow `after` in the order
/// of the members' ids, at most `limit`.
pub(crate) async fn load_page_of_members<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    (org, member): (E::Column, E::Column),
    scope: &OrgScope,
    among: Option<BTreeSet<MemberId>>,
    (after, limit): (Option<MemberId>, u64),
) -> Result<Vec<E::Model>, DbErr> {
    let among = among.map(|ids| member.is_in(ids.into_iter().map(TypedId::uuid)));
    let rows = Condition::all()
        .add(org.eq(scope.org_id().uuid()))
        .add_option(among);
    load_page::<E>(conn, member, rows, after.map(TypedId::uuid), limit).await
}

/// Deletes the rows whose time was before another one, in all organizations.
pub(crate) async fn delete_before<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    time: E::Column,
    before: DateTime<Utc>,
) -> Result<(), StorageError> {
    E::delete_many().filter(time.lt(before)).exec(conn).await?;
    Ok(())
}

/// A table of facts about members that end, for example duties.
pub(crate) trait MemberFacts: EntityTrait {
    /// The id of a fact.
    type Id: TypedId;
    const COLUMNS: FactColumns<Self::Column>;
}

/// The columns that the tables of facts about members have in common.
pub(crate) struct FactColumns<C> {
    pub(crate) org: C,
    pub(crate) id: C,
    pub(crate) member: C,
    pub(crate) end_time: C,
}

/// Selects the facts of an organization that have not ended.
pub(crate) fn lasting<T: MemberFacts>(scope: &OrgScope) -> Condition {
    Condition::all()
        .add(T::COLUMNS.org.eq(scope.org_id().uuid()))
        .add(T::COLUMNS.end_time.is_null())
}

/// Selects the facts of a member that have not ended.
pub(crate) fn lasting_of<T: MemberFacts>(scope: &OrgScope, member: MemberId) -> Condition {
    lasting::<T>(scope).add(T::COLUMNS.member.eq(member.uuid()))
}

/// Returns the ids of the facts of a member that have not ended, in their order.
pub(crate) async fn lasting_ids<T: MemberFacts>(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<T::Id>, DbErr> {
    ids_of::<T, _>(conn, T::COLUMNS.id, lasting_of::<T>(scope, member)).await
}

/// Ends facts and returns their ids.
pub(crate) async fn end_facts<T: MemberFacts>(
    conn: &impl ConnectionTrait,
    facts: Condition,
    now: DateTime<Utc>,
) -> Result<Vec<T::Id>, DbErr> {
    end_rows::<T, _>(conn, (T::COLUMNS.id, T::COLUMNS.end_time), facts, now).await
}

/// Ends all facts of a member and returns their ids.
pub(crate) async fn end_facts_of<T: MemberFacts>(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<Vec<T::Id>, DbErr> {
    end_facts::<T>(conn, lasting_of::<T>(scope, member), now).await
}
