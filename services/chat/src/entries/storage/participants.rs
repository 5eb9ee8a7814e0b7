use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_database::{Db, StorageError, Tx};
use parta_ids::{ChatId, MemberId, OrgId, TypedId, UnitId};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Set,
    sea_query::Expr,
};
use uuid::Uuid;

use super::{
    chat,
    chats::SEALED,
    kinds::{kind_of, known_kind, participant_kind},
    padded, participant,
};
use crate::entries::{Beginning, ChatKind, ParticipantKind, ParticipantRights};

/// Locks and returns the row of a chat. Until the commit nobody else changes its participants or its log.
pub(crate) async fn lock_chat(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
) -> Result<Option<chat::Model>, StorageError> {
    let query = chat::Entity::find_by_id((scope.org_id().uuid(), chat.uuid()));
    // On SQLite the transaction holds the write lock of the whole database.
    let query = if tx.db().is_postgres() {
        query.lock_exclusive()
    } else {
        query
    };
    Ok(query.one(tx).await?)
}

/// Locks and returns the rows of these chats in the order of their keys, as [`lock_chat`] does for one.
pub(super) async fn lock_chats(
    tx: &Tx,
    scope: &OrgScope,
    chats: impl IntoIterator<Item = ChatId>,
) -> Result<Vec<chat::Model>, StorageError> {
    let ids: BTreeSet<Uuid> = chats.into_iter().map(TypedId::uuid).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut locked = Vec::with_capacity(ids.len());
    // Both databases limit the number of bound values.
    for some in ids.chunks(4_096) {
        let query = chat::Entity::find()
            .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(chat::Column::ChatId.is_in(padded(some.to_vec())));
        locked.extend(lock_in_order(tx, query).await?);
    }
    Ok(locked)
}

/// Locks and returns the rows of the chats of a class in the order of their keys.
pub(crate) async fn lock_chats_of_unit(
    tx: &Tx,
    scope: &OrgScope,
    unit: UnitId,
) -> Result<Vec<chat::Model>, StorageError> {
    let query = chat::Entity::find()
        .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(chat::Column::UnitId.eq(unit.uuid()));
    lock_in_order(tx, query).await
}

/// Every transaction that locks several chats locks them in the order of their keys.
async fn lock_in_order(
    tx: &Tx,
    query: sea_orm::Select<chat::Entity>,
) -> Result<Vec<chat::Model>, StorageError> {
    let query = query.order_by_asc(chat::Column::ChatId);
    // On SQLite the transaction holds the write lock of the whole database.
    let query = if tx.db().is_postgres() {
        query.lock_exclusive()
    } else {
        query
    };
    Ok(query.all(tx).await?)
}

pub(super) fn beginning_of(row: &participant::Model) -> Beginning {
    Beginning {
        staff: row.staff_since,
        family: row.family_since,
    }
}

fn rights(row: &participant::Model) -> Result<ParticipantRights, StorageError> {
    Ok(ParticipantRights {
        may_post: row.may_post,
        kind: participant_kind(row)?,
        beginning: beginning_of(row),
    })
}

fn present_rows(scope: &OrgScope, chat: ChatId) -> sea_orm::Select<participant::Entity> {
    participant::Entity::find()
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::LeftSeq.is_null())
}

pub(crate) async fn participants(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
) -> Result<BTreeMap<MemberId, ParticipantRights>, StorageError> {
    let rows = present_rows(scope, chat).all(conn).await?;
    rows.into_iter()
        .map(|p| Ok((MemberId::from_uuid(p.member_id), rights(&p)?)))
        .collect()
}

/// Whether anybody but the member participates in a chat.
pub(crate) async fn has_other_participants(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
) -> Result<bool, StorageError> {
    let query = present_rows(scope, chat).filter(participant::Column::MemberId.ne(member.uuid()));
    Ok(query.one(conn).await?.is_some())
}

/// The kinds of the participants of a chat, each once.
pub(super) async fn kinds(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
) -> Result<Vec<ParticipantKind>, StorageError> {
    let query = present_rows(scope, chat)
        .select_only()
        .column(participant::Column::Kind)
        .distinct();
    let kinds: Vec<i16> = query.into_tuple().all(conn).await?;
    kinds.into_iter().map(known_kind).collect()
}

/// Whether the member participates in a chat and may write in it.
pub(super) async fn may_post(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    member: Uuid,
) -> Result<bool, StorageError> {
    let query = present_rows(scope, chat)
        .filter(participant::Column::MemberId.eq(member))
        .filter(participant::Column::MayPost.eq(true));
    Ok(query.one(conn).await?.is_some())
}

/// The participants of a chat by member id, from the one after `after`.
pub(crate) async fn list_participants(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    (after, limit): (Option<MemberId>, u64),
    hidden: &BTreeSet<MemberId>,
) -> Result<Vec<participant::Model>, StorageError> {
    let mut query = present_rows(scope, chat)
        .filter(participant::Column::MemberId.is_not_in(hidden.iter().map(|member| member.uuid())))
        .order_by_asc(participant::Column::MemberId)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(participant::Column::MemberId.gt(after.uuid()));
    }
    Ok(query.all(conn).await?)
}

/// The rows of these members, whether they participate or have left.
pub(super) async fn rows_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    members: impl IntoIterator<Item = MemberId>,
) -> Result<BTreeMap<MemberId, participant::Model>, StorageError> {
    let members: Vec<_> = members.into_iter().map(TypedId::uuid).collect();
    let mut found = BTreeMap::new();
    // Both databases limit the number of bound values.
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

/// Moves the read mark of a participant forward to `seq`, in one statement. It never moves back.
pub(crate) async fn move_read_mark(
    db: &Db,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    seq: i64,
) -> Result<(), StorageError> {
    let update = participant::Entity::update_many()
        .col_expr(participant::Column::ReadSeq, Expr::value(seq))
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()))
        .filter(participant::Column::LeftSeq.is_null())
        .filter(participant::Column::ReadSeq.lt(seq));
    // One statement needs no transaction around it, which would cost two round trips more.
    let _write = db.write_lock().acquire().await;
    update.exec(db.writer()).await?;
    Ok(())
}

/// The personal and named chats in which a member participates or has participated.
pub(crate) async fn list_private_chats(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<BTreeMap<ChatId, ChatKind>, StorageError> {
    let of_member = participant::Entity::find()
        .select_only()
        .column(participant::Column::ChatId)
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()))
        .into_query();
    let rows = chat::Entity::find()
        .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(chat::Column::ChatId.in_subquery(of_member))
        .all(conn)
        .await?;
    let mut private = BTreeMap::new();
    for row in rows {
        let kind = kind_of(&row)?;
        if !kind.is_derived() {
            private.insert(ChatId::from_uuid(row.chat_id), kind);
        }
    }
    Ok(private)
}

/// Hides these chats, which the member has left, from the person who will be the member. The pairs of the
/// personal ones among them may open another chat. The rows of the chats must have been locked.
pub(crate) async fn seal(
    tx: &Tx,
    scope: &OrgScope,
    chats: &[ChatId],
    member: MemberId,
) -> Result<(), StorageError> {
    // Both databases limit the number of bound values.
    for some in chats.chunks(5_000) {
        let ids = || some.iter().map(|chat| chat.uuid());
        participant::Entity::update_many()
            .col_expr(participant::Column::LeftSeq, Expr::value(SEALED))
            .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(participant::Column::MemberId.eq(member.uuid()))
            .filter(participant::Column::ChatId.is_in(ids()))
            .exec(tx)
            .await?;
        chat::Entity::update_many()
            .col_expr(chat::Column::UniqueKey, Expr::value(Option::<String>::None))
            .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(chat::Column::Kind.eq(ChatKind::Direct as i16))
            .filter(chat::Column::ChatId.is_in(ids()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Lets nobody write in these chats, whose rows must have been locked.
pub(crate) async fn silence(tx: &Tx, scope: &OrgScope, chats: &[ChatId]) -> Result<(), StorageError> {
    for some in chats.chunks(5_000) {
        participant::Entity::update_many()
            .col_expr(participant::Column::MayPost, Expr::value(false))
            .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(participant::Column::ChatId.is_in(some.iter().map(|chat| chat.uuid())))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// The row of a member who joins at `seq`, reads the entries after `visible_after`, and reads no entry up to
/// `returned_after` by the grounds of a family.
pub(super) fn joining(
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    rights: ParticipantRights,
    seq: i64,
    (visible_after, returned_after): (i64, i64),
) -> participant::ActiveModel {
    participant::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        chat_id: Set(chat.uuid()),
        member_id: Set(member.uuid()),
        joined_seq: Set(seq),
        left_seq: Set(None),
        // Earlier entries do not count as unread for a new participant.
        read_seq: Set(seq),
        may_post: Set(rights.may_post),
        kind: Set(rights.kind as i16),
        visible_after: Set(visible_after),
        staff_since: Set(rights.beginning.staff),
        family_since: Set(rights.beginning.family),
        returned_after: Set(returned_after),
    }
}

/// The participants of a chat among these members.
pub(crate) async fn participants_among(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    members: &BTreeSet<MemberId>,
) -> Result<BTreeMap<MemberId, ParticipantRights>, StorageError> {
    let rows = rows_of(conn, scope, chat, members.iter().copied()).await?;
    let present = rows.into_iter().filter(|(_, row)| row.left_seq.is_none());
    present.map(|(member, row)| Ok((member, rights(&row)?))).collect()
}

/// Everybody who participates in any chat of the organization.
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

/// Acquires an advisory lock of the organization until the end of the transaction. PostgreSQL only.
pub(crate) async fn lock_organization(tx: &Tx, org: OrgId, exclusive: bool) -> Result<(), StorageError> {
    let sql = if exclusive {
        "SELECT pg_advisory_xact_lock($1)"
    } else {
        "SELECT pg_advisory_xact_lock_shared($1)"
    };
    // The low half of a UUIDv7 is random.
    let key = org.uuid().as_u64_pair().1.cast_signed();
    tx.execute_sql(sql, [key.into()]).await?;
    Ok(())
}
