//! The table `member` and named queries over it.
pub(crate) mod releases;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{AccountId, InvitationId, MemberId, OrgId, TypedId, Uuid};
use parta_roster::{Role, State};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::{LeaveReason, Member, model::Claim, name_key};
use entity::{Column, Entity, Model};

table!(entity, "member", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    account_id: Option<Uuid>,
    full_name: String,
    name_key: String,
    state: i32,
    roles: i32,
    revoked_roles: i32,
    teacher_verified: bool,
    evidence: Option<String>,
    verifier_id: Option<Uuid>,
    invitation_id: Option<Uuid>,
    claim_roles: Option<i32>,
    claim_time: Option<DateTimeUtc>,
    release_count: i32,
    create_time: DateTimeUtc,
    leave_time: Option<DateTimeUtc>,
    leave_cause: Option<String>,
    leave_reason: Option<i32>,
    joined_id: Option<Uuid>,
    revision: i64,
});

const EXPECTED: i32 = 1;
const ACTIVE: i32 = 2;
const LEFT: i32 = 3;

/// Returns the number of a state in the database, which is that of the API. The record of a
/// suspended member is active: suspensions have a table of their own.
pub(crate) fn state_number(state: State) -> i32 {
    match state {
        State::Expected => EXPECTED,
        State::Active | State::Suspended => ACTIVE,
        State::Left => LEFT,
    }
}

fn state(number: i32) -> Result<State, StorageError> {
    match number {
        EXPECTED => Ok(State::Expected),
        ACTIVE => Ok(State::Active),
        LEFT => Ok(State::Left),
        other => Err(StorageError::unknown_value("member.state", other)),
    }
}

fn roles(mask: i32) -> Result<BTreeSet<Role>, StorageError> {
    let roles = Role::set_of(mask);
    if Role::mask_of(roles.iter().copied()) == mask {
        Ok(roles)
    } else {
        Err(StorageError::unknown_value("member.roles", mask))
    }
}

fn leave_reason(number: i32) -> Result<LeaveReason, StorageError> {
    LeaveReason::from_number(number).ok_or_else(|| StorageError::unknown_value("member.leave_reason", number))
}

/// Reads the two columns of a claim, which are both set or both empty.
fn claim(mask: Option<i32>, time: Option<DateTime<Utc>>) -> Result<Option<Claim>, StorageError> {
    let Some((mask, claim_time)) = mask.zip(time) else {
        return Ok(None);
    };
    Ok(Some(Claim {
        roles: roles(mask)?,
        claim_time,
    }))
}

fn member(row: Model) -> Result<Member, StorageError> {
    Ok(Member {
        org_id: OrgId::from_uuid(row.org_id),
        id: MemberId::from_uuid(row.member_id),
        account_id: row.account_id.map(AccountId::from_uuid),
        full_name: row.full_name,
        state: state(row.state)?,
        roles: roles(row.roles)?,
        revoked_roles: roles(row.revoked_roles)?,
        teacher_verified: row.teacher_verified,
        evidence: row.evidence,
        verifier_id: row.verifier_id.map(MemberId::from_uuid),
        invitation_id: row.invitation_id.map(InvitationId::from_uuid),
        claim: claim(row.claim_roles, row.claim_time)?,
        release_count: row.release_count,
        create_time: row.create_time,
        leave_time: row.leave_time,
        leave_cause: row.leave_cause,
        leave_reason: row.leave_reason.map(leave_reason).transpose()?,
        joined_id: row.joined_id.map(MemberId::from_uuid),
        revision: row.revision,
    })
}

fn members(rows: Vec<Model>) -> Result<Vec<Member>, StorageError> {
    rows.into_iter().map(member).collect()
}

/// Encodes the row of a member. Fails if the member does not belong to the organization of the
/// scope.
fn to_row(scope: &OrgScope, member: &Member) -> Result<Model, StorageError> {
    if member.org_id != scope.org_id() {
        return Err(StorageError::Fault(
            "a row of another organization than the scope's was to be written".into(),
        ));
    }
    Ok(Model {
        org_id: member.org_id.uuid(),
        member_id: member.id.uuid(),
        account_id: member.account_id.map(TypedId::uuid),
        full_name: member.full_name.clone(),
        name_key: name_key(&member.full_name),
        state: state_number(member.state),
        roles: Role::mask_of(member.roles.iter().copied()),
        revoked_roles: Role::mask_of(member.revoked_roles.iter().copied()),
        teacher_verified: member.teacher_verified,
        evidence: member.evidence.clone(),
        verifier_id: member.verifier_id.map(TypedId::uuid),
        invitation_id: member.invitation_id.map(TypedId::uuid),
        claim_roles: member
            .claim
            .as_ref()
            .map(|claim| Role::mask_of(claim.roles.iter().copied())),
        claim_time: member.claim.as_ref().map(|claim| claim.claim_time),
        release_count: member.release_count,
        create_time: member.create_time,
        leave_time: member.leave_time,
        leave_cause: member.leave_cause.clone(),
        leave_reason: member.leave_reason.map(LeaveReason::number),
        joined_id: member.joined_id.map(TypedId::uuid),
        revision: member.revision,
    })
}

fn within(scope: &OrgScope) -> Condition {
    Condition::all().add(Column::OrgId.eq(scope.org_id().uuid()))
}

/// Inserts a member with the revision that it has.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: &Member,
) -> Result<(), StorageError> {
    Entity::insert(to_row(scope, member)?.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Inserts members with the revisions that they have, as many as one statement takes.
pub(crate) async fn insert_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &[Member],
) -> Result<(), StorageError> {
    let mut rows = Vec::with_capacity(members.len());
    for member in members {
        rows.push(to_row(scope, member)?.into_active_model());
    }
    Entity::insert_many(rows).exec_without_returning(conn).await?;
    Ok(())
}

/// Saves all columns of a member and increments its revision. The caller must have locked the row.
pub(crate) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: &mut Member,
) -> Result<(), StorageError> {
    member.revision += 1;
    Entity::update(to_row(scope, member)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// Loads a member, also one who has left.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: MemberId,
) -> Result<Option<Member>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    row.map(member).transpose()
}

/// Loads a member, also one who has left, and locks the row until the transaction ends.
pub(crate) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: MemberId,
) -> Result<Option<Member>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(member).transpose()
}

/// Loads the active administrators and locks them in the order of their ids, so that an act that
/// removes an administrator sees how many remain.
pub(crate) async fn lock_administrators(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Vec<Member>, StorageError> {
    let rows = Entity::find()
        .filter(within(scope))
        .filter(Column::State.eq(ACTIVE))
        .filter(Expr::col(Column::Roles).bit_and(Role::Administrator.bit()).ne(0))
        .order_by_asc(Column::MemberId)
        .lock_exclusive()
        .all(conn)
        .await?;
    members(rows)
}

/// Like [`find_by_account`], and locks the row until the transaction ends.
pub(crate) async fn lock_by_account(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: AccountId,
) -> Result<Option<Member>, StorageError> {
    let query = Entity::find()
        .filter(within(scope))
        .filter(Column::AccountId.eq(account.uuid()));
    let row = query.lock_exclusive().one(conn).await?;
    row.map(member).transpose()
}

/// Loads the member of an account in an organization, also one who has left.
pub(crate) async fn find_by_account(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: AccountId,
) -> Result<Option<Member>, StorageError> {
    let query = Entity::find()
        .filter(within(scope))
        .filter(Column::AccountId.eq(account.uuid()));
    query.one(conn).await?.map(member).transpose()
}

/// Lists the members of an account, one per organization, also in organizations that the person has
/// left. Reads only the ids, so that a row with values of a newer build does not fail.
pub(crate) async fn members_of_account(
    conn: &impl ConnectionTrait,
    account: AccountId,
) -> Result<Vec<(OrgId, MemberId)>, StorageError> {
    let ids: Vec<(Uuid, Uuid)> = Entity::find()
        .select_only()
        .columns([Column::OrgId, Column::MemberId])
        .filter(Column::AccountId.eq(account.uuid()))
        .order_by_asc(Column::OrgId)
        .into_tuple()
        .all(conn)
        .await?;
    let ids = ids.into_iter();
    Ok(ids
        .map(|(org, member)| (OrgId::from_uuid(org), MemberId::from_uuid(member)))
        .collect())
}

/// The maximum number of accounts in one query of [`members_of_accounts`]. Both databases accept
/// more than 30,000 parameters.
const ACCOUNTS_PER_QUERY: usize = 1_000;

/// Like [`members_of_account`], for any number of accounts.
pub(crate) async fn members_of_accounts(
    conn: &impl ConnectionTrait,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, OrgId, MemberId)>, StorageError> {
    let mut found = Vec::new();
    for accounts in accounts.chunks(ACCOUNTS_PER_QUERY) {
        let rows: Vec<(Option<Uuid>, Uuid, Uuid)> = Entity::find()
            .select_only()
            .columns([Column::AccountId, Column::OrgId, Column::MemberId])
            .filter(Column::AccountId.is_in(accounts.iter().map(|id| id.uuid())))
            .into_tuple()
            .all(conn)
            .await?;
        let ids = |(account, org, member): (Option<Uuid>, _, _)| {
            let account = AccountId::from_uuid(account?);
            Some((account, OrgId::from_uuid(org), MemberId::from_uuid(member)))
        };
        found.extend(rows.into_iter().filter_map(ids));
    }
    Ok(found)
}

/// Lists the present memberships of an account after an organization, in the order of the
/// organizations' ids. A row with a value that this build does not know is an error in the
/// list.
pub(crate) async fn list_of_account(
    conn: &impl ConnectionTrait,
    account: AccountId,
    after: Option<OrgId>,
    limit: u64,
) -> Result<Vec<(OrgId, Result<Member, StorageError>)>, StorageError> {
    let rows = Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        // Not `eq(ACTIVE)`, so that a state that only a newer build knows is listed, as an error.
        .filter(Column::State.is_not_in([EXPECTED, LEFT]))
        .filter(Condition::all().add_option(after.map(|id| Column::OrgId.gt(id.uuid()))))
        .order_by_asc(Column::OrgId)
        .limit(limit)
        .all(conn)
        .await?;
    let pair = |row: Model| (OrgId::from_uuid(row.org_id), member(row));
    Ok(rows.into_iter().map(pair).collect())
}

/// Lists the active members with a role of the staff whose name has one of these keys
/// ([`name_key`]), each with the key.
pub(super) async fn staff_with_names(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    keys: BTreeSet<String>,
) -> Result<Vec<(MemberId, String)>, StorageError> {
    let staff = Role::mask_of(Role::ALL.into_iter().filter(|role| role.is_staff()));
    let rows: Vec<(Uuid, String)> = Entity::find()
        .select_only()
        .columns([Column::MemberId, Column::NameKey])
        .filter(within(scope))
        .filter(Column::NameKey.is_in(keys))
        .filter(Column::State.eq(ACTIVE))
        .filter(Expr::col(Column::Roles).bit_and(staff).ne(0))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, key)| (MemberId::from_uuid(id), key))
        .collect())
}

/// Lists the ids of all members, also of those who have left.
pub(super) async fn list_ids(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeSet<MemberId>, StorageError> {
    let ids: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::MemberId)
        .filter(within(scope))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(MemberId::from_uuid).collect())
}

/// The conditions that [`list`] combines. The default selects every member who has not left.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// The members who may be in the list; `None` for all of the organization.
    pub(crate) among: Option<BTreeSet<MemberId>>,
    /// A role that the members have; `None` for any.
    pub(crate) role: Option<Role>,
    pub(crate) include_left: bool,
}

/// Lists at most `limit` members after a member, in the order of their ids.
pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter,
    after: Option<MemberId>,
    limit: u64,
) -> Result<Vec<Member>, StorageError> {
    let among = filter
        .among
        .as_ref()
        .map(|ids| Column::MemberId.is_in(ids.iter().map(|id| id.uuid())));
    let role = filter
        .role
        .map(|role| Expr::col(Column::Roles).bit_and(role.bit()).ne(0));
    let present = (!filter.include_left).then(|| Column::State.ne(LEFT));
    let rows = Entity::find()
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
        .await?;
    members(rows)
}

/// Lists all members, also those who have left, for snapshots of the feed and checks of an import.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Member>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .all(conn)
        .await?;
    members(rows)
}

/// Loads members, also those who have left, and locks them in the order of their ids until the transaction
/// ends.
pub(crate) async fn lock_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    among: impl IntoIterator<Item = MemberId>,
) -> Result<BTreeMap<MemberId, Member>, StorageError> {
    let rows = Entity::find()
        .filter(within(scope))
        .filter(Column::MemberId.is_in(among.into_iter().map(TypedId::uuid)))
        .order_by_asc(Column::MemberId)
        .lock_exclusive()
        .all(conn)
        .await?;
    let found = members(rows)?.into_iter();
    Ok(found.map(|member| (member.id, member)).collect())
}

/// Returns with which records those of these members were joined that were.
pub(crate) async fn joined_with(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    among: impl IntoIterator<Item = MemberId>,
) -> Result<BTreeMap<MemberId, MemberId>, StorageError> {
    let rows: Vec<(Uuid, Option<Uuid>)> = Entity::find()
        .select_only()
        .columns([Column::MemberId, Column::JoinedId])
        .filter(within(scope))
        .filter(Column::MemberId.is_in(among.into_iter().map(TypedId::uuid)))
        .filter(Column::JoinedId.is_not_null())
        .into_tuple()
        .all(conn)
        .await?;
    let joined = rows
        .into_iter()
        .filter_map(|(id, joined)| Some((MemberId::from_uuid(id), MemberId::from_uuid(joined?))));
    Ok(joined.collect())
}
