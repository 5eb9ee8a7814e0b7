//! The tables `join_request`, `admission` and `ended_invitation` and named queries over them.
mod ended;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{AccountId, InvitationId, JoinRequestId, MemberId, OrgId, TypedId, UnitId, Uuid};
use parta_roster::Role;
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    ExprTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::model::{JoinRequest, RequestState, Terms};
use join_request::{Column, Entity, Model};

pub(super) use ended::{insert_ended, is_ended, lock_invitation};

table!(join_request, "join_request", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    join_request_id: Uuid,
    account_id: Uuid,
    full_name: String,
    invitation_id: Uuid,
    issuer_id: Option<Uuid>,
    role: i32,
    unit_id: Option<Uuid>,
    child_id: Option<Uuid>,
    claim_member_id: Option<Uuid>,
    returning: bool,
    state: i32,
    create_time: DateTimeUtc,
    decide_time: Option<DateTimeUtc>,
    decider_id: Option<Uuid>,
    member_id: Option<Uuid>,
});
table!(admission, "admission", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    invitation_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    member_id: Uuid,
    create_time: DateTimeUtc,
});

fn role(number: i32) -> Result<Role, StorageError> {
    let unknown = || StorageError::unknown_value("join_request.role", number);
    let mut roles = Role::set_of(number).into_iter();
    match (roles.next(), roles.next()) {
        (Some(role), None) if role.bit() == number => Ok(role),
        _ => Err(unknown()),
    }
}

fn request(row: Model) -> Result<JoinRequest, StorageError> {
    let state = RequestState::from_number(row.state)
        .ok_or_else(|| StorageError::unknown_value("join_request.state", row.state))?;
    Ok(JoinRequest {
        id: JoinRequestId::from_uuid(row.join_request_id),
        account_id: AccountId::from_uuid(row.account_id),
        full_name: row.full_name,
        terms: Terms {
            org_id: OrgId::from_uuid(row.org_id),
            invitation_id: InvitationId::from_uuid(row.invitation_id),
            role: role(row.role)?,
            unit_id: row.unit_id.map(UnitId::from_uuid),
            child_id: row.child_id.map(MemberId::from_uuid),
            claim_member_id: row.claim_member_id.map(MemberId::from_uuid),
            issuer_id: row.issuer_id.map(MemberId::from_uuid),
        },
        returning: row.returning,
        state,
        create_time: row.create_time,
        decide_time: row.decide_time,
        decider_id: row.decider_id.map(MemberId::from_uuid),
        member_id: row.member_id.map(MemberId::from_uuid),
    })
}

fn requests(rows: Vec<Model>) -> Result<Vec<JoinRequest>, StorageError> {
    rows.into_iter().map(request).collect()
}

/// The row of a request; refuses one of another organization than the scope's.
fn to_row(scope: &OrgScope, row: &JoinRequest) -> Result<Model, StorageError> {
    let terms = &row.terms;
    if terms.org_id != scope.org_id() {
        return Err(StorageError::Fault(
            "a row of another organization than the scope's was to be written".into(),
        ));
    }
    Ok(Model {
        org_id: terms.org_id.uuid(),
        join_request_id: row.id.uuid(),
        account_id: row.account_id.uuid(),
        full_name: row.full_name.clone(),
        invitation_id: terms.invitation_id.uuid(),
        issuer_id: terms.issuer_id.map(TypedId::uuid),
        role: terms.role.bit(),
        unit_id: terms.unit_id.map(TypedId::uuid),
        child_id: terms.child_id.map(TypedId::uuid),
        claim_member_id: terms.claim_member_id.map(TypedId::uuid),
        returning: row.returning,
        state: row.state.number(),
        create_time: row.create_time,
        decide_time: row.decide_time,
        decider_id: row.decider_id.map(TypedId::uuid),
        member_id: row.member_id.map(TypedId::uuid),
    })
}

pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &JoinRequest,
) -> Result<(), StorageError> {
    Entity::insert(to_row(scope, row)?.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Saves all columns of a request. The row must have been locked.
pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &JoinRequest,
) -> Result<(), StorageError> {
    Entity::update(to_row(scope, row)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// Finds the pending request of an account by an invitation.
pub(super) async fn find_pending(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
) -> Result<Option<JoinRequest>, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Column::InvitationId.eq(invitation.uuid()))
        .filter(Column::State.eq(RequestState::Pending.number()))
        .one(conn)
        .await?;
    row.map(request).transpose()
}

/// Lists when an account made its latest requests by an invitation, latest first.
pub(super) async fn list_request_times(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
    limit: u64,
) -> Result<Vec<DateTime<Utc>>, StorageError> {
    let times = Entity::find()
        .select_only()
        .column(Column::CreateTime)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Column::InvitationId.eq(invitation.uuid()))
        .order_by_desc(Column::CreateTime)
        .limit(limit)
        .into_tuple();
    Ok(times.all(conn).await?)
}

/// Loads requests by their ids and locks them in the order of the ids until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    ids: &BTreeSet<JoinRequestId>,
) -> Result<Vec<JoinRequest>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::JoinRequestId.is_in(ids.iter().map(|id| id.uuid())))
        .order_by_asc(Column::JoinRequestId)
        .lock_exclusive()
        .all(conn)
        .await?;
    requests(rows)
}

/// Loads requests by their ids.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    ids: &[JoinRequestId],
) -> Result<Vec<JoinRequest>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::JoinRequestId.is_in(ids.iter().map(|id| id.uuid())))
        .all(conn)
        .await?;
    requests(rows)
}

/// Loads a request of an account in any organization, and locks it.
pub(super) async fn lock_own(
    conn: &impl ConnectionTrait,
    account: AccountId,
    id: JoinRequestId,
) -> Result<Option<JoinRequest>, StorageError> {
    let row = Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Column::JoinRequestId.eq(id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(request).transpose()
}

/// The requests that are listed.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) state: RequestState,
    /// Only requests for these units in these roles; `None` for all.
    pub(super) among: Option<(BTreeSet<UnitId>, [Role; 2])>,
    pub(super) unit_id: Option<UnitId>,
}

/// Lists requests, oldest first, after a key.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter,
    after: Option<JoinRequestId>,
    limit: u64,
) -> Result<Vec<JoinRequest>, StorageError> {
    let mut wanted = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::State.eq(filter.state.number()))
        .add_option(filter.unit_id.map(|unit| Column::UnitId.eq(unit.uuid())))
        .add_option(after.map(|id| Column::JoinRequestId.gt(id.uuid())));
    if let Some((units, roles)) = &filter.among {
        wanted = wanted
            .add(Column::UnitId.is_in(units.iter().map(|unit| unit.uuid())))
            .add(Column::Role.is_in(roles.iter().map(|role| role.bit())));
    }
    let rows = Entity::find()
        .filter(wanted)
        .order_by_asc(Column::JoinRequestId)
        .limit(limit)
        .all(conn)
        .await?;
    requests(rows)
}

/// A request of an account in any organization.
#[derive(Debug)]
pub(super) struct OwnRow {
    pub(super) id: JoinRequestId,
    pub(super) org_id: OrgId,
    pub(super) request: Result<JoinRequest, StorageError>,
}

/// Lists the requests of an account in all organizations, newest first, after a key. A request with a value
/// that this build does not know is an error of its own, because the others concern other organizations.
pub(super) async fn list_own(
    conn: &impl ConnectionTrait,
    account: AccountId,
    after: Option<JoinRequestId>,
    limit: u64,
) -> Result<Vec<OwnRow>, StorageError> {
    let rows = Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Condition::all().add_option(after.map(|id| Column::JoinRequestId.lt(id.uuid()))))
        .order_by_desc(Column::JoinRequestId)
        .limit(limit)
        .all(conn)
        .await?;
    let own = |row: Model| OwnRow {
        id: JoinRequestId::from_uuid(row.join_request_id),
        org_id: OrgId::from_uuid(row.org_id),
        request: request(row),
    };
    Ok(rows.into_iter().map(own).collect())
}

/// Lists all requests of an organization, for the snapshot of the feed.
pub(super) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<JoinRequest>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::JoinRequestId)
        .all(conn)
        .await?;
    requests(rows)
}

/// An organization with a pending request that was made before a time.
pub(super) async fn org_of_pending(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<Option<OrgId>, StorageError> {
    let org: Option<Uuid> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .filter(Column::State.eq(RequestState::Pending.number()))
        .filter(Column::CreateTime.lt(before))
        .into_tuple()
        .one(conn)
        .await?;
    Ok(org.map(OrgId::from_uuid))
}

/// Locks pending requests that were made before a time.
pub(super) async fn lock_pending(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<JoinRequest>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::State.eq(RequestState::Pending.number()))
        .filter(Column::CreateTime.lt(before))
        .order_by_asc(Column::JoinRequestId)
        .limit(limit)
        .lock_exclusive()
        .all(conn)
        .await?;
    requests(rows)
}

/// Locks the pending requests that were made by an invitation.
pub(super) async fn lock_pending_by(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
) -> Result<Vec<JoinRequest>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::InvitationId.eq(invitation.uuid()))
        .filter(Column::State.eq(RequestState::Pending.number()))
        .order_by_asc(Column::JoinRequestId)
        .lock_exclusive()
        .all(conn)
        .await?;
    requests(rows)
}

/// Deletes requests that were decided before a time, the oldest first and at most `limit`. Returns their
/// number.
pub(super) async fn delete_decided(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, StorageError> {
    let oldest: Vec<(Uuid, Uuid)> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .column(Column::JoinRequestId)
        .filter(Column::DecideTime.lt(before))
        .order_by_asc(Column::DecideTime)
        .limit(limit)
        .into_tuple()
        .all(conn)
        .await?;
    let key = |(org, id): (Uuid, Uuid)| Column::OrgId.eq(org).and(Column::JoinRequestId.eq(id));
    let keys = oldest
        .into_iter()
        .fold(Condition::any(), |keys, row| keys.add(key(row)));
    if keys.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(keys).exec(conn).await?.rows_affected)
}

/// Finds the member that an account became by an invitation.
pub(super) async fn find_admission(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
) -> Result<Option<MemberId>, StorageError> {
    let key = (scope.org_id().uuid(), invitation.uuid(), account.uuid());
    let row = admission::Entity::find_by_id(key).one(conn).await?;
    Ok(row.map(|row| MemberId::from_uuid(row.member_id)))
}

/// Notes which member an account became by an invitation. A person who returns by the same invitation is
/// noted once.
pub(super) async fn upsert_admission(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = admission::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        invitation_id: Set(invitation.uuid()),
        account_id: Set(account.uuid()),
        member_id: Set(member.uuid()),
        create_time: Set(now),
    };
    insert_or_replace::<admission::Entity>(conn, row).await
}

/// Deletes by which invitations an account became a member.
pub(super) async fn delete_admissions(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: AccountId,
    member: MemberId,
) -> Result<(), StorageError> {
    admission::Entity::delete_many()
        .filter(admission::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(admission::Column::AccountId.eq(account.uuid()))
        .filter(admission::Column::MemberId.eq(member.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}
