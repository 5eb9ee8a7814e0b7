//! The table `invitation` and named queries over it.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, insert_if_absent, table};
use parta_ids::{InvitationId, MemberId, OrgId, RosterImportId, TypedId as _, UnitId};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition as Where, ConnectionTrait, EntityTrait as _, ExprTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, UpdateMany,
    sea_query::{Expr, Func, SimpleExpr},
};

use super::{
    model::{Draft, Invitation, InviteRole, RevocationCondition, State},
    secret::Presented,
};
use entity::{ActiveModel, Column, Entity, Model};

table!(entity, "invitation", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Uuid,
    role: String,
    unit_id: Option<Uuid>,
    child_id: Option<Uuid>,
    claim_member_id: Option<Uuid>,
    max_uses: i32,
    use_count: i32,
    recipient_label: String,
    recipient_address: Option<String>,
    issuer_id: Option<Uuid>,
    roster_import_id: Option<Uuid>,
    token_digest: Vec<u8>,
    code_digest: Vec<u8>,
    create_time: DateTimeUtc,
    expire_time: DateTimeUtc,
    last_use_time: Option<DateTimeUtc>,
    revoke_time: Option<DateTimeUtc>,
    revision: i64,
});

#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) role: Option<InviteRole>,
    pub(crate) state: Option<State>,
    pub(crate) unused: bool,
    pub(crate) issuer_id: Option<MemberId>,
}

fn from_row(row: Model) -> Result<Invitation, StorageError> {
    let role = InviteRole::from_text(&row.role)
        .ok_or_else(|| StorageError::unknown_text("invitation.role", &row.role))?;
    Ok(Invitation {
        id: InvitationId::from_uuid(row.id),
        draft: Draft {
            org_id: OrgId::from_uuid(row.org_id),
            role,
            unit_id: row.unit_id.map(UnitId::from_uuid),
            child_id: row.child_id.map(MemberId::from_uuid),
            claim_member_id: row.claim_member_id.map(MemberId::from_uuid),
            max_uses: row.max_uses,
            ttl: row.expire_time - row.create_time,
            recipient_label: row.recipient_label,
            recipient_address: row.recipient_address,
        },
        use_count: row.use_count,
        issuer_id: row.issuer_id.map(MemberId::from_uuid),
        roster_import_id: row.roster_import_id.map(RosterImportId::from_uuid),
        create_time: row.create_time,
        expire_time: row.expire_time,
        last_use_time: row.last_use_time,
        revoke_time: row.revoke_time,
        revision: row.revision,
    })
}

/// Inserts an invitation; returns `false` if the same import created one for the same member before.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: &Invitation,
    token_digest: Vec<u8>,
    code_digest: Vec<u8>,
) -> Result<bool, StorageError> {
    let draft = &invitation.draft;
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        id: Set(invitation.id.uuid()),
        role: Set(draft.role.text().to_owned()),
        unit_id: Set(draft.unit_id.map(UnitId::uuid)),
        child_id: Set(draft.child_id.map(MemberId::uuid)),
        claim_member_id: Set(draft.claim_member_id.map(MemberId::uuid)),
        max_uses: Set(draft.max_uses),
        use_count: Set(invitation.use_count),
        recipient_label: Set(draft.recipient_label.clone()),
        recipient_address: Set(draft.recipient_address.clone()),
        issuer_id: Set(invitation.issuer_id.map(MemberId::uuid)),
        roster_import_id: Set(invitation.roster_import_id.map(RosterImportId::uuid)),
        token_digest: Set(token_digest),
        code_digest: Set(code_digest),
        create_time: Set(invitation.create_time),
        expire_time: Set(invitation.expire_time),
        last_use_time: Set(invitation.last_use_time),
        revoke_time: Set(invitation.revoke_time),
        revision: Set(invitation.revision),
    };
    if invitation.roster_import_id.is_some() {
        return insert_if_absent::<Entity>(conn, row).await;
    }
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(true)
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
) -> Result<Option<Invitation>, StorageError> {
    Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?
        .map(from_row)
        .transpose()
}

/// Loads an invitation and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
) -> Result<Option<Invitation>, StorageError> {
    Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?
        .map(from_row)
        .transpose()
}

/// Lists the invitations with these ids, oldest first.
pub(super) async fn list_by_ids(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    ids: &[InvitationId],
) -> Result<Vec<Invitation>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Finds the invitation of a secret. It is the only query across organizations: the holder of the secret may
/// know where the link leads.
pub(crate) async fn find_by_secret(
    conn: &impl ConnectionTrait,
    secret: &Presented,
) -> Result<Option<Invitation>, StorageError> {
    let matches = match secret {
        Presented::Token(digest) => Column::TokenDigest.eq(digest.clone()),
        Presented::Code(digest) => Column::CodeDigest.eq(digest.clone()),
    };
    Entity::find()
        .filter(matches)
        .one(conn)
        .await?
        .map(from_row)
        .transpose()
}

fn active(now: DateTime<Utc>) -> Where {
    Where::all()
        .add(Column::RevokeTime.is_null())
        .add(Column::ExpireTime.gt(now))
        .add(Expr::col(Column::UseCount).lt(Expr::col(Column::MaxUses)))
}

fn by_id(scope: &OrgScope, id: InvitationId) -> Where {
    Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::Id.eq(id.uuid()))
}

/// Returns the statement that changes one invitation, with the next revision.
fn update(scope: &OrgScope, id: InvitationId) -> UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
        .filter(by_id(scope, id))
}

/// Reserves one use if the link is active; returns `false` otherwise. Test and increment are one statement,
/// so that concurrent calls cannot reserve more uses than the link has.
pub(crate) async fn reserve_use(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = update(scope, id)
        .col_expr(Column::UseCount, Expr::col(Column::UseCount).add(1))
        .filter(active(now))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Releases one reserved use, so that another person can join with it.
pub(crate) async fn release_use(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
) -> Result<(), StorageError> {
    update(scope, id)
        .col_expr(Column::UseCount, Expr::col(Column::UseCount).sub(1))
        .exec(conn)
        .await?;
    Ok(())
}

/// Sets the time of the last use.
pub(crate) async fn update_last_use(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    update(scope, id)
        .col_expr(Column::LastUseTime, Expr::value(now))
        .exec(conn)
        .await?;
    Ok(())
}

/// Makes a member the issuer of an invitation.
pub(crate) async fn update_issuer(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
    issuer: MemberId,
) -> Result<(), StorageError> {
    update(scope, id)
        .col_expr(Column::IssuerId, Expr::value(issuer.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Sets the expiry of an invitation.
pub(crate) async fn update_expiry(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
    expire_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    update(scope, id)
        .col_expr(Column::ExpireTime, Expr::value(expire_time))
        .exec(conn)
        .await?;
    Ok(())
}

/// Revokes an invitation; returns `false` if it was revoked before.
pub(crate) async fn update_revoked(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = update(scope, id)
        .col_expr(Column::RevokeTime, Expr::value(now))
        .filter(Column::RevokeTime.is_null())
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Lists the links that were revoked after a time, in all organizations.
pub(super) async fn list_revoked_since(
    conn: &impl ConnectionTrait,
    since: DateTime<Utc>,
) -> Result<BTreeMap<OrgId, Vec<InvitationId>>, StorageError> {
    let rows: Vec<(parta_ids::Uuid, parta_ids::Uuid)> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .column(Column::Id)
        .filter(Column::RevokeTime.gt(since))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::Id)
        .into_tuple()
        .all(conn)
        .await?;
    let mut links = BTreeMap::<OrgId, Vec<InvitationId>>::new();
    for (org, id) in rows {
        let of_org = links.entry(OrgId::from_uuid(org)).or_default();
        of_org.push(InvitationId::from_uuid(id));
    }
    Ok(links)
}

/// Lists the organizations that have a link that can be used.
pub(super) async fn list_orgs(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Vec<OrgId>, StorageError> {
    let ids: Vec<parta_ids::Uuid> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .filter(active(now))
        .distinct()
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(OrgId::from_uuid).collect())
}

/// Lists newest first, after a key.
pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter,
    now: DateTime<Utc>,
    after: Option<InvitationId>,
    limit: u64,
) -> Result<Vec<Invitation>, StorageError> {
    let mut wanted = Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add_option(filter.unit_id.map(|u| Column::UnitId.eq(u.uuid())))
        .add_option(filter.role.map(|r| Column::Role.eq(r.text())))
        .add_option(filter.issuer_id.map(|m| Column::IssuerId.eq(m.uuid())))
        .add_option(
            filter
                .unused
                .then(|| Column::UseCount.eq(0).and(Column::LastUseTime.is_null())),
        )
        .add_option(after.map(|a| Column::Id.lt(a.uuid())));
    let used_up = || Expr::col(Column::UseCount).gte(Expr::col(Column::MaxUses));
    wanted = match filter.state {
        None => wanted,
        Some(State::Revoked) => wanted.add(Column::RevokeTime.is_not_null()),
        Some(State::UsedUp) => wanted.add(Column::RevokeTime.is_null()).add(used_up()),
        Some(State::Expired) => wanted
            .add(Column::RevokeTime.is_null())
            .add(used_up().not())
            .add(Column::ExpireTime.lte(now)),
        Some(State::Active) => wanted.add(active(now)),
    };
    let rows = Entity::find()
        .filter(wanted)
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Lists the links that name a record and were not revoked, also those that have expired, which can be
/// extended.
pub(super) async fn list_claims(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<Invitation>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ClaimMemberId.eq(member.uuid()))
        .filter(Column::RevokeTime.is_null())
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// The filter of BulkRevokeInvitations.
#[derive(Debug, Clone)]
pub(crate) struct RevocationFilter {
    pub(crate) condition: RevocationCondition,
    /// An idle link has no use since this moment.
    pub(crate) idle_since: DateTime<Utc>,
    pub(crate) created_before: DateTime<Utc>,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) role: Option<InviteRole>,
}

/// Lists matching active links, oldest first.
pub(crate) async fn list_revocable(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    wanted: &RevocationFilter,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Invitation>, StorageError> {
    let condition = match wanted.condition {
        RevocationCondition::Unused => Where::all()
            .add(Column::UseCount.eq(0))
            .add(Column::LastUseTime.is_null()),
        RevocationCondition::Idle => {
            let last: SimpleExpr =
                Func::coalesce([Expr::col(Column::LastUseTime), Expr::col(Column::CreateTime)]).into();
            Where::all().add(last.lte(wanted.idle_since))
        }
    };
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(active(now))
        .filter(condition)
        .filter(Column::CreateTime.lte(wanted.created_before))
        .filter(
            Where::all()
                .add_option(wanted.unit_id.map(|u| Column::UnitId.eq(u.uuid())))
                .add_option(wanted.role.map(|r| Column::Role.eq(r.text()))),
        )
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Lists the invitations of an organization, for the snapshot of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Invitation>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}
