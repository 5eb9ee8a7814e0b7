use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_storage::{StorageError, Tx};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set, Statement,
    sea_query::Expr,
};
use uuid::Uuid;

use super::{chat, participant};
use crate::audience::policy::Seat;

/// Locks a chat's head row, so that participants and log stand still until the commit, and returns it.
pub(crate) async fn lock_head(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
) -> Result<Option<chat::Model>, StorageError> {
    let query = chat::Entity::find_by_id((scope.org_id().uuid(), chat.uuid()));
    // SQLite's gate has locked everything already.
    let query = if tx.db().is_postgres() {
        query.lock_exclusive()
    } else {
        query
    };
    Ok(query.one(tx).await?)
}

fn present_rows(scope: &OrgScope, chat: ChatId) -> sea_orm::Select<participant::Entity> {
    participant::Entity::find()
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::LeftSeq.is_null())
}

/// Who is in a chat.
pub(crate) async fn seats(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
) -> Result<BTreeMap<MemberId, Seat>, StorageError> {
    let rows = present_rows(scope, chat).all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|p| (MemberId::from_uuid(p.member_id), Seat { may_post: p.may_post }))
        .collect())
}

/// Who is in a chat, by member id, from the one after `after`.
pub(crate) async fn list_participants(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    after: Option<MemberId>,
    limit: u64,
) -> Result<Vec<participant::Model>, StorageError> {
    let mut query = present_rows(scope, chat)
        .order_by_asc(participant::Column::MemberId)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(participant::Column::MemberId.gt(after.uuid()));
    }
    Ok(query.all(conn).await?)
}

/// The rows of these members, whether they are in the chat or have left.
pub(crate) async fn present(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    members: impl IntoIterator<Item = MemberId>,
) -> Result<BTreeMap<MemberId, participant::Model>, StorageError> {
    let members: Vec<_> = members.into_iter().map(TypedId::uuid).collect();
    let mut found = BTreeMap::new();
    // Binds stay below the limit of either database.
    for some in members.chunks(5_000) {
        let rows = participant::Entity::find()
            .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(participant::Column::ChatId.eq(chat.uuid()))
            .filter(participant::Column::MemberId.is_in(some.iter().copied()))
            .all(conn)
            .await?;
        found.extend(
            rows.into_iter()
                .map(|row| (MemberId::from_uuid(row.member_id), row)),
        );
    }
    Ok(found)
}

/// Moves a member's read mark forward to `seq`; one that is further already stays.
pub(crate) async fn move_read_mark(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    seq: i64,
) -> Result<(), StorageError> {
    participant::Entity::update_many()
        .col_expr(participant::Column::ReadSeq, Expr::value(seq))
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()))
        .filter(participant::Column::ReadSeq.lt(seq))
        .exec(tx)
        .await?;
    Ok(())
}

/// A row of somebody who comes in at `seq`.
pub(super) fn joining(
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    seat: Seat,
    seq: i64,
) -> participant::ActiveModel {
    participant::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        chat_id: Set(chat.uuid()),
        member_id: Set(member.uuid()),
        joined_seq: Set(seq),
        left_seq: Set(None),
        // What was said before is not news to whoever comes.
        read_seq: Set(seq),
        may_post: Set(seat.may_post),
    }
}

/// Who of these members is in a chat.
pub(crate) async fn seats_among(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    members: &BTreeSet<MemberId>,
) -> Result<BTreeMap<MemberId, Seat>, StorageError> {
    let rows = present(conn, scope, chat, members.iter().copied()).await?;
    let there = rows.into_iter().filter(|(_, row)| row.left_seq.is_none());
    Ok(there
        .map(|(member, row)| {
            (
                member,
                Seat {
                    may_post: row.may_post,
                },
            )
        })
        .collect())
}

/// Everybody who is in any chat of the organization.
pub(crate) async fn list_members(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Vec<MemberId>, StorageError> {
    let ids: Vec<Uuid> = participant::Entity::find()
        .select_only()
        .column(participant::Column::MemberId)
        .distinct()
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::LeftSeq.is_null())
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(MemberId::from_uuid).collect())
}

/// PostgreSQL: holds the organization's audiences until the end of the transaction, alone or with others.
pub(crate) async fn lock_organization(tx: &Tx, org: OrgId, alone: bool) -> Result<(), StorageError> {
    let sql = if alone {
        "SELECT pg_advisory_xact_lock($1)"
    } else {
        "SELECT pg_advisory_xact_lock_shared($1)"
    };
    // The low half of a UUIDv7 is random.
    let key = org.uuid().as_u64_pair().1.cast_signed();
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [key.into()],
    ))
    .await?;
    Ok(())
}
