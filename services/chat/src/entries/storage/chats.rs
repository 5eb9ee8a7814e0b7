use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::{ChatId, MemberId, TypedId, UnitId};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, FromQueryResult, IdenStatic,
    JoinType, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select, SelectA, SelectB, SelectTwo, Set,
    sea_query::{Expr, SelectStatement},
};
use uuid::Uuid;

use super::{
    chat,
    kinds::{kind_of, participant_kind},
    padded, participant,
};
use crate::entries::{ChatKind, Responsibility, Rule};

/// The `left_seq` of a participant whose record was released: the person who is the member now reads nothing.
/// The row stays, so that the others in a personal chat know with whom it was.
pub(super) const SEALED: i64 = 0;

/// A chat with the participant row of one member.
#[derive(Debug, Clone)]
pub(crate) struct ChatMembership {
    pub(crate) chat: chat::Model,
    pub(crate) participant: participant::Model,
}

impl ChatMembership {
    pub(crate) fn chat_id(&self) -> ChatId {
        ChatId::from_uuid(self.chat.chat_id)
    }

    /// The chat and the border of its archive, by which its entries are listed.
    pub(crate) fn log(&self) -> (ChatId, i64) {
        (self.chat_id(), self.chat.archived_seq)
    }

    pub(crate) fn kind(&self) -> Result<ChatKind, StorageError> {
        kind_of(&self.chat)
    }

    /// The membership with the read mark at this sequence number at least, to count what is unread after it.
    pub(crate) fn read_upto(&self, seq: i64) -> Self {
        let mut membership = self.clone();
        membership.participant.read_seq = Ord::max(membership.participant.read_seq, seq);
        membership
    }

    /// Whether the member sees what families do not. A member who has left does not, because the kind is that
    /// of the day of the leaving.
    pub(crate) fn reads_as_staff(&self) -> Result<bool, StorageError> {
        let kind = participant_kind(&self.participant)?;
        Ok(self.participant.left_seq.is_none() && kind.reads_as_staff(self.kind()?))
    }

    /// The last sequence number that the member may read; `None` for a derived chat that the member has left,
    /// and for one that an earlier person left who was the member.
    pub(crate) fn readable_upto(&self) -> Result<Option<i64>, StorageError> {
        let derived = self.kind()?.is_derived();
        Ok(match self.participant.left_seq {
            None => Some(self.chat.head_seq),
            Some(left) if !derived && left != SEALED => Some(left),
            Some(_) => None,
        })
    }
}

fn memberships_of(scope: &OrgScope, member: MemberId) -> SelectTwo<participant::Entity, chat::Entity> {
    let select: Select<participant::Entity> = participant::Entity::find()
        .join(
            JoinType::InnerJoin,
            participant::Entity::belongs_to(chat::Entity)
                .from((participant::Column::OrgId, participant::Column::ChatId))
                .to((chat::Column::OrgId, chat::Column::ChatId))
                .into(),
        )
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()));
    select.select_also(chat::Entity)
}

fn memberships(rows: Vec<(participant::Model, Option<chat::Model>)>) -> Vec<ChatMembership> {
    rows.into_iter()
        .filter_map(|(participant, chat)| chat.map(|chat| ChatMembership { chat, participant }))
        .collect()
}

pub(crate) async fn find_chat_by_key(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    key: &str,
) -> Result<Option<chat::Model>, StorageError> {
    let query = chat::Entity::find()
        .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(chat::Column::UniqueKey.eq(key));
    Ok(query.one(conn).await?)
}

pub(crate) async fn find_chat(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
) -> Result<Option<chat::Model>, StorageError> {
    let query = chat::Entity::find_by_id((scope.org_id().uuid(), chat.uuid()));
    Ok(query.one(conn).await?)
}

/// A page of the chats of the organization that are read-only for want of a responsible adult, by
/// chat id, from the one after `after`.
pub(crate) async fn list_unsupervised(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    after: Option<ChatId>,
    limit: u64,
) -> Result<Vec<chat::Model>, StorageError> {
    let query = chat::Entity::find()
        .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
        // Without a parameter, so that the partial index applies.
        .filter(Expr::col(chat::Column::Unsupervised))
        .filter(chat::Column::ArchiveTime.is_null())
        .order_by_asc(chat::Column::ChatId)
        .limit(limit);
    let query = match after {
        Some(after) => query.filter(chat::Column::ChatId.gt(after.uuid())),
        None => query,
    };
    Ok(query.all(conn).await?)
}

/// A chat with the row of a member; `None` if the member never was a participant.
pub(crate) async fn find_membership(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
) -> Result<Option<ChatMembership>, StorageError> {
    let rows = memberships_of(scope, member)
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .all(conn)
        .await?;
    Ok(memberships(rows).pop())
}

/// [`find_membership`] together with the member's state in the roster, which the subquery `state` selects.
/// One round trip, because every page of a log begins with it.
pub(crate) async fn find_membership_and_state(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    state: SelectStatement,
) -> Result<Option<(ChatMembership, Option<i32>)>, StorageError> {
    let query = memberships_of(scope, member)
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .expr_as(Expr::SubQuery(None, Box::new(state.into())), "state")
        .into_query();
    let statement = conn.get_database_backend().build(&query);
    let Some(row) = conn.query_one_raw(statement).await? else {
        return Ok(None);
    };
    let membership = ChatMembership {
        participant: participant::Model::from_query_result(&row, SelectA.as_str())?,
        chat: chat::Model::from_query_result(&row, SelectB.as_str())?,
    };
    Ok(Some((membership, row.try_get("", "state")?)))
}

/// The chats in which a member participates, the newest first, older than `before`. Reads the index
/// `participant_member` in its order.
pub(crate) fn memberships_query(
    scope: &OrgScope,
    member: MemberId,
    before: Option<ChatId>,
    limit: u64,
) -> SelectTwo<participant::Entity, chat::Entity> {
    let query = memberships_of(scope, member)
        .filter(participant::Column::LeftSeq.is_null())
        .order_by_desc(participant::Column::ChatId)
        .limit(limit);
    match before {
        Some(before) => query.filter(participant::Column::ChatId.lt(before.uuid())),
        None => query,
    }
}

/// A page of [`memberships_query`].
pub(crate) async fn list_memberships_page(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    before: Option<ChatId>,
    limit: u64,
) -> Result<Vec<ChatMembership>, StorageError> {
    Ok(memberships(
        memberships_query(scope, member, before, limit).all(conn).await?,
    ))
}

/// Every chat in which a member participates, and those of `also` in which the member once participated.
pub(crate) async fn list_memberships(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    also: &[ChatId],
) -> Result<Vec<ChatMembership>, StorageError> {
    let also = padded(also.iter().map(|c| c.uuid()).collect());
    let also = participant::Column::ChatId.is_in(also);
    let query = memberships_of(scope, member).filter(participant::Column::LeftSeq.is_null().or(also));
    Ok(memberships(query.all(conn).await?))
}

/// Inserts a chat without participants. `key` is its unique key in the organization, if it has one.
pub(crate) async fn insert_chat(
    tx: &Tx,
    scope: &OrgScope,
    kind: ChatKind,
    unit: Option<UnitId>,
    key: Option<String>,
    label: &str,
) -> Result<ChatId, StorageError> {
    let id = tx.env().id::<ChatId>();
    let row = chat::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        chat_id: Set(id.uuid()),
        kind: Set(kind as i16),
        unit_id: Set(unit.map(TypedId::uuid)),
        unique_key: Set(key),
        label: Set(label.to_owned()),
        create_time: Set(tx.now()),
        archive_time: Set(None),
        head_seq: Set(0),
        audience_version: Set(0),
        archived_seq: Set(0),
        unsupervised: Set(false),
        responsible_id: Set(None),
        deputy_id: Set(None),
        ground_unit_id: Set(None),
    };
    chat::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(id)
}

/// Updates the label of the chats of a class.
pub(crate) async fn relabel_unit(
    tx: &Tx,
    scope: &OrgScope,
    unit: UnitId,
    label: &str,
) -> Result<(), StorageError> {
    chat::Entity::update_many()
        .col_expr(chat::Column::Label, Expr::value(label))
        .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(chat::Column::UnitId.eq(unit.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Makes a chat read-only, since `time`. Waits for messages that are being written, because they lock the
/// same row.
pub(crate) async fn archive_chat(tx: &Tx, row: chat::Model, time: DateTime<Utc>) -> Result<(), StorageError> {
    let mut row: chat::ActiveModel = row.into();
    row.archive_time = Set(Some(time));
    row.update(tx).await?;
    Ok(())
}

/// The rule of a stored chat; `None` if the chat is not derived.
pub(crate) fn rule_of(chat: &chat::Model) -> Result<Option<Rule>, StorageError> {
    Ok(Rule::of(kind_of(chat)?, chat.unit_id.map(UnitId::from_uuid)))
}

/// The responsible member of a stored chat, and the deputy.
pub(crate) fn responsibility_of(chat: &chat::Model) -> Responsibility {
    Responsibility {
        member: chat.responsible_id.map(MemberId::from_uuid),
        deputy: chat.deputy_id.map(MemberId::from_uuid),
        unit: chat.ground_unit_id.map(UnitId::from_uuid),
    }
}

/// The chats for which nobody is responsible and whose ground was one of these units.
pub(crate) async fn list_chats_without_responsible(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    units: &BTreeSet<UnitId>,
) -> Result<Vec<chat::Model>, StorageError> {
    let units: Vec<_> = units.iter().map(|unit| unit.uuid()).collect();
    let mut found = Vec::new();
    for some in units.chunks(5_000) {
        let query = chat::Entity::find()
            .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
            // Without a parameter, so that the partial index applies.
            .filter(Expr::col(chat::Column::Unsupervised))
            .filter(chat::Column::GroundUnitId.is_in(some.iter().copied()));
        found.extend(query.all(conn).await?);
    }
    Ok(found)
}

/// Every chat of the organization.
pub(crate) async fn list_chats(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Vec<chat::Model>, StorageError> {
    let query = chat::Entity::find().filter(chat::Column::OrgId.eq(scope.org_id().uuid()));
    Ok(query.order_by_asc(chat::Column::ChatId).all(conn).await?)
}

/// The chats in which these members participate, and those with these unique keys.
pub(crate) async fn list_chats_concerning(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &[MemberId],
    keys: BTreeSet<String>,
) -> Result<Vec<chat::Model>, StorageError> {
    let mut found = BTreeMap::new();
    for some in members.chunks(5_000) {
        let of_members = participant::Entity::find()
            .select_only()
            .column(participant::Column::ChatId)
            .distinct()
            .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(participant::Column::MemberId.is_in(some.iter().map(|m| m.uuid())))
            .filter(participant::Column::LeftSeq.is_null())
            .into_query();
        let rows = chat::Entity::find()
            .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(chat::Column::ChatId.in_subquery(of_members))
            .all(conn)
            .await?;
        found.extend(rows.into_iter().map(|row| (row.chat_id, row)));
    }
    let keys: Vec<_> = keys.into_iter().collect();
    for some in keys.chunks(5_000) {
        let rows = chat::Entity::find()
            .filter(chat::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(chat::Column::UniqueKey.is_in(some))
            .all(conn)
            .await?;
        found.extend(rows.into_iter().map(|row| (row.chat_id, row)));
    }
    Ok(found.into_values().collect())
}

/// The other member of a personal chat, also after that member has left it.
pub(crate) async fn find_peer(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    membership: &ChatMembership,
) -> Result<Option<MemberId>, StorageError> {
    let member = MemberId::from_uuid(membership.participant.member_id);
    let chat = membership.chat_id();
    Ok(find_peers(conn, scope, member, std::slice::from_ref(membership))
        .await?
        .remove(&chat))
}

/// The other members of the personal chats among these.
pub(crate) async fn find_peers(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    memberships: &[ChatMembership],
) -> Result<BTreeMap<ChatId, MemberId>, StorageError> {
    let direct = memberships
        .iter()
        .filter(|s| s.chat.kind == ChatKind::Direct as i16)
        .map(|s| s.chat.chat_id);
    let direct: Vec<_> = direct.collect();
    if direct.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = peers_query(scope, member, direct).all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|p| (ChatId::from_uuid(p.chat_id), MemberId::from_uuid(p.member_id)))
        .collect())
}

/// The participant rows of other members in these chats.
pub(crate) fn peers_query(
    scope: &OrgScope,
    member: MemberId,
    direct: Vec<Uuid>,
) -> Select<participant::Entity> {
    participant::Entity::find()
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.is_in(padded(direct)))
        .filter(participant::Column::MemberId.ne(member.uuid()))
}
