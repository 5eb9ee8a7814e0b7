//! Named queries over members and by which invitation they came.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{AccountId, InvitationId, MemberId, OrgId, TypedId as _, Uuid};
use parta_proto::parta::membership::v1::MemberState;
use parta_roster::Role;
use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::entities::admission;
pub(crate) use super::entities::member::Model as Member;
use super::entities::member::{Column, Entity};

/// A record of somebody new.
pub(crate) fn new(
    org: OrgId,
    id: MemberId,
    full_name: &str,
    state: MemberState,
    roles: i32,
    now: DateTime<Utc>,
) -> Member {
    Member {
        org_id: org.uuid(),
        member_id: id.uuid(),
        account_id: None,
        full_name: full_name.to_owned(),
        state: state.into(),
        roles,
        teacher_verified: false,
        evidence: None,
        verifier_id: None,
        invitation_id: None,
        create_time: now,
        leave_time: None,
        revision: 1,
    }
}

fn within(scope: &OrgScope) -> Condition {
    Condition::all().add(Column::OrgId.eq(scope.org_id().uuid()))
}

pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    _scope: &OrgScope,
    member: &Member,
) -> Result<(), DbErr> {
    Entity::insert(member.clone().into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Stores the member as it now is and raises its revision; the row must have been locked.
pub(crate) async fn update(
    conn: &impl ConnectionTrait,
    _scope: &OrgScope,
    member: &mut Member,
) -> Result<(), DbErr> {
    member.revision += 1;
    Entity::update(member.clone().into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: MemberId,
) -> Result<Option<Member>, DbErr> {
    Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await
}

/// A member, kept from others until the transaction ends.
pub(crate) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: MemberId,
) -> Result<Option<Member>, DbErr> {
    Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await
}

/// The administrators who came in, locked in the order of their ids: whoever takes a role away sees all of them.
pub(crate) async fn lock_administrators(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Vec<Member>, DbErr> {
    Entity::find()
        .filter(within(scope))
        .filter(Column::State.eq(i32::from(MemberState::Active)))
        .filter(Expr::col(Column::Roles).bit_and(Role::Administrator.bit()).ne(0))
        .order_by_asc(Column::MemberId)
        .lock_exclusive()
        .all(conn)
        .await
}

/// The member that an account is in an organization, present or left.
pub(crate) async fn lock_by_account(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: AccountId,
) -> Result<Option<Member>, DbErr> {
    let query = Entity::find()
        .filter(within(scope))
        .filter(Column::AccountId.eq(account.uuid()));
    query.lock_exclusive().one(conn).await
}

/// Where an account is an active member, by the age of the organizations.
pub(crate) async fn list_of_account(
    conn: &impl ConnectionTrait,
    account: AccountId,
    after: Option<OrgId>,
    limit: Option<u64>,
) -> Result<Vec<Member>, DbErr> {
    Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Column::State.eq(i32::from(MemberState::Active)))
        .filter(Condition::all().add_option(after.map(|id| Column::OrgId.gt(id.uuid()))))
        .order_by_asc(Column::OrgId)
        .limit(limit)
        .all(conn)
        .await
}

/// By what a list is limited.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Only these; `None`: everybody.
    pub(crate) among: Option<BTreeSet<MemberId>>,
    pub(crate) role: Option<Role>,
    pub(crate) include_left: bool,
}

pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter,
    after: Option<MemberId>,
    limit: u64,
) -> Result<Vec<Member>, DbErr> {
    let among = filter
        .among
        .as_ref()
        .map(|ids| Column::MemberId.is_in(ids.iter().map(|id| id.uuid())));
    let role = filter
        .role
        .map(|role| Expr::col(Column::Roles).bit_and(role.bit()).ne(0));
    let present = (!filter.include_left).then(|| Column::State.ne(i32::from(MemberState::Left)));
    Entity::find()
        .filter(
            within(scope)
                .add_option(among)
                .add_option(role)
                .add_option(present),
        )
        .filter(Condition::all().add_option(after.map(|id| Column::MemberId.gt(id.uuid()))))
        .order_by_asc(Column::MemberId)
        .limit(limit)
        .all(conn)
        .await
}

/// Every member, for the snapshot of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: Option<OrgId>,
) -> Result<Vec<Member>, DbErr> {
    Entity::find()
        .filter(Condition::all().add_option(org.map(|o| Column::OrgId.eq(o.uuid()))))
        .all(conn)
        .await
}

/// Whom an invitation let in for this account.
pub(crate) async fn find_admission(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
) -> Result<Option<MemberId>, DbErr> {
    let key = (scope.org_id().uuid(), invitation.uuid(), account.uuid());
    Ok(admission::Entity::find_by_id(key)
        .one(conn)
        .await?
        .map(|row| MemberId::from_uuid(row.member_id)))
}

pub(crate) async fn insert_admission(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
    member: Uuid,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = admission::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        invitation_id: Set(invitation.uuid()),
        account_id: Set(account.uuid()),
        member_id: Set(member),
        create_time: Set(now),
    };
    admission::Entity::insert(row)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}
