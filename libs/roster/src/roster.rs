use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parta_access::Caller;
use parta_database::{StorageError, Tx};
use parta_feed::Freshness;
use parta_ids::{MemberId, OrgId, TypedId, UnitId, Uuid};
use parta_proto_membership::v1::MemberState;
use parta_proto_org_registry::v1::OrganizationKind;
use parta_status::{RpcError, not_found};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait as _, PostgresQueryBuilder, Query, SelectStatement},
};

use crate::{
    HistoryForNewcomers, MemberContext, Policies, Role, State, UnitKind, duty_rows,
    entities::{assignment, enrollment, guardianship, member, organization, unit},
    ground_rows, suspensions,
    unit_kind::is_sent,
};

/// An organization in the projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// The organization.
    pub org_id: OrgId,
    /// The display name.
    pub display_name: String,
    /// The IANA time zone.
    pub time_zone: String,
    /// Its policies.
    pub policies: Policies,
}

/// A unit in the projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The unit.
    pub unit_id: UnitId,
    /// The kind of the unit.
    pub kind: UnitKind,
    /// Its label.
    pub label: String,
    /// Whether it is archived, or of a kind that this build does not know.
    pub archived: bool,
    /// When it was archived; `None` if it is not, or if an earlier build published it.
    pub archive_time: Option<DateTime<Utc>>,
}

/// Reads organizations, units and members from the projection. Cheap to clone.
#[derive(Clone)]
pub struct Roster {
    organizations: Freshness,
    members: Freshness,
}

pub(crate) fn map_db_error(error: sea_orm::DbErr) -> RpcError {
    StorageError::from(error).into()
}

impl Roster {
    /// Returns a roster over the projection with this freshness of its two halves. The half that the service
    /// itself keeps, in the transaction of each change, is always fresh.
    pub fn new(organizations: Freshness, members: Freshness) -> Self {
        Self {
            organizations,
            members,
        }
    }

    /// Returns the freshness of both halves of the projection: that of org-registry and that of membership.
    pub fn freshness(&self) -> [Freshness; 2] {
        [self.organizations.clone(), self.members.clone()]
    }

    /// Refuses if the projection of the organization is stale or quarantined. Runs no query.
    pub fn require(&self, org: OrgId) -> Result<(), RpcError> {
        self.organizations.require(org)?;
        self.members.require(org)
    }

    /// Returns everything on which authorization of a member is based; `None` if the organization has no such
    /// member.
    pub async fn facts(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        member: MemberId,
    ) -> Result<Option<MemberContext>, RpcError> {
        self.require(org)?;
        Ok(self.contexts_of(conn, org, &[member]).await?.pop())
    }

    /// Returns the state of a member; `None` if the organization has no such member. Reads one row by its
    /// key, without the freshness check.
    pub async fn state(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        member: MemberId,
    ) -> Result<Option<State>, RpcError> {
        let state = state_column(org, member).into_tuple().one(conn).await;
        Self::found_state(state.map_err(map_db_error)?)
    }

    /// Returns the query of [`Roster::state`], for a service that embeds it in a query of its own.
    pub fn state_query(org: OrgId, member: MemberId) -> SelectStatement {
        state_column(org, member).into_query()
    }

    /// Returns the query of [`Roster::state`] as SQL, for a statement by hand. `org` and `member` are
    /// expressions of that statement, such as its parameters.
    pub fn state_sql(org: &str, member: &str) -> String {
        // The statement of sea-orm is the same on both databases.
        Query::select()
            .expr(suspensions::state())
            .from(member::Entity)
            .and_where(Expr::col(member::Column::OrgId).eq(Expr::cust(org.to_owned())))
            .and_where(Expr::col(member::Column::MemberId).eq(Expr::cust(member.to_owned())))
            .to_string(PostgresQueryBuilder)
    }

    /// Loads the member context of the calling person. A caller who is not an active member of the
    /// organization gets NOT_FOUND (organization), regardless of the request (R26), and a suspended one
    /// MEMBER_SUSPENDED.
    pub async fn caller_context(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<MemberContext, RpcError> {
        let member = Self::caller_member(caller, org)?;
        let facts = self.facts(conn, org, member).await?;
        facts
            .ok_or_else(|| not_found("organization", org))?
            .require_active()
    }

    /// Returns the calling member. NOT_FOUND (organization) if the caller belongs to another organization.
    pub fn caller_member(caller: &Caller, org: OrgId) -> Result<MemberId, RpcError> {
        match caller.person() {
            Some((own, member)) if own == org => Ok(member),
            _ => Err(not_found("organization", org)),
        }
    }

    /// Decodes the result of [`Roster::state_query`] and [`Roster::state_sql`].
    pub fn found_state(number: Option<i32>) -> Result<Option<State>, RpcError> {
        Ok(number.map(state_of).transpose()?.flatten())
    }

    /// Returns the contexts of these members without the freshness check, for consumers, which work at the
    /// position of the projection.
    pub async fn contexts_of(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        members: &[MemberId],
    ) -> Result<Vec<MemberContext>, RpcError> {
        let mut all = Vec::with_capacity(members.len());
        // SQLite binds at most 32,766 values per statement, PostgreSQL 65,535.
        for chunk in members.chunks(5_000) {
            let ids = chunk.iter().map(|id| id.uuid());
            let query = member::Entity::find().filter(member::Column::OrgId.eq(org.uuid()));
            all.extend(
                self.load(conn, org, query.filter(member::Column::MemberId.is_in(ids)))
                    .await?,
            );
        }
        Ok(all)
    }

    /// Returns the contexts of all members of the organization, including expected ones.
    pub async fn all_members(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
    ) -> Result<Vec<MemberContext>, RpcError> {
        let left = i32::from(MemberState::Left);
        let query = member::Entity::find()
            .filter(member::Column::OrgId.eq(org.uuid()))
            .filter(member::Column::State.ne(left));
        self.load(conn, org, query).await
    }

    /// Returns the members of a unit: its teachers, its pupils and their confirmed guardians.
    pub async fn members_of_unit(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        unit: UnitId,
    ) -> Result<Vec<MemberId>, RpcError> {
        let teachers: Vec<Uuid> = assignment::Entity::find()
            .select_only()
            .column(assignment::Column::MemberId)
            .filter(assignment::Column::OrgId.eq(org.uuid()))
            .filter(assignment::Column::UnitId.eq(unit.uuid()))
            .into_tuple()
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let pupils: Vec<Uuid> = enrollment::Entity::find()
            .select_only()
            .column(enrollment::Column::MemberId)
            .filter(enrollment::Column::OrgId.eq(org.uuid()))
            .filter(enrollment::Column::UnitId.eq(unit.uuid()))
            .into_tuple()
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let mut guardians: Vec<Uuid> = Vec::new();
        for chunk in pupils.chunks(5_000) {
            let found: Vec<(Uuid, Uuid)> = guardianship::Entity::find()
                .select_only()
                .column(guardianship::Column::GuardianId)
                .column(guardianship::Column::ChildId)
                .filter(guardianship::Column::OrgId.eq(org.uuid()))
                .filter(guardianship::Column::ChildId.is_in(chunk.iter().copied()))
                .filter(guardianship::Column::Confirmed.eq(true))
                .into_tuple()
                .all(conn)
                .await
                .map_err(map_db_error)?;
            let ended = self.ended_pairs(conn, org, chunk).await?;
            let lasting = found.into_iter().filter(|pair| !ended.contains(pair));
            guardians.extend(lasting.map(|(guardian, _)| guardian));
        }
        let all: BTreeSet<Uuid> = teachers.into_iter().chain(pupils).chain(guardians).collect();
        Ok(all.into_iter().map(MemberId::from_uuid).collect())
    }

    /// Returns the members whose contexts change with a unit: [`Roster::members_of_unit`], and the holders of
    /// a duty for the unit.
    pub async fn members_concerned_by_unit(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        unit: UnitId,
    ) -> Result<BTreeSet<MemberId>, RpcError> {
        let members = self.members_of_unit(conn, org, unit).await?;
        let holders = duty_rows::holders_for_unit(conn, org, unit).await?;
        Ok(members.into_iter().chain(holders).collect())
    }

    /// Returns an organization.
    pub async fn organization(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
    ) -> Result<Option<Organization>, RpcError> {
        let row = organization::Entity::find_by_id(org.uuid())
            .one(conn)
            .await
            .map_err(map_db_error)?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(Organization {
            org_id: org,
            policies: policies_of(&row)?,
            display_name: row.display_name,
            time_zone: row.time_zone,
        }))
    }

    /// Returns a unit.
    pub async fn unit(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        unit_id: UnitId,
    ) -> Result<Option<Unit>, RpcError> {
        let row = unit::Entity::find_by_id((org.uuid(), unit_id.uuid()))
            .one(conn)
            .await
            .map_err(map_db_error)?;
        Ok(row.map(unit_of).transpose()?)
    }

    /// Returns a unit. Until the transaction ends, nobody archives it.
    pub async fn lock_unit(&self, tx: &Tx, org: OrgId, unit_id: UnitId) -> Result<Option<Unit>, RpcError> {
        let row = unit::Entity::find_by_id((org.uuid(), unit_id.uuid()))
            .lock_shared()
            .one(tx)
            .await
            .map_err(map_db_error)?;
        Ok(row.map(unit_of).transpose()?)
    }

    /// Returns all units, including archived ones.
    pub async fn units(&self, conn: &impl ConnectionTrait, org: OrgId) -> Result<Vec<Unit>, RpcError> {
        let rows = unit::Entity::find()
            .filter(unit::Column::OrgId.eq(org.uuid()))
            .all(conn)
            .await
            .map_err(map_db_error)?;
        Ok(rows.into_iter().map(unit_of).collect::<Result<_, _>>()?)
    }

    /// Returns the ids of all organizations in the projection.
    pub async fn organizations(&self, conn: &impl ConnectionTrait) -> Result<Vec<OrgId>, RpcError> {
        let rows: Vec<Uuid> = organization::Entity::find()
            .select_only()
            .column(organization::Column::OrgId)
            .into_tuple()
            .all(conn)
            .await
            .map_err(map_db_error)?;
        Ok(rows.into_iter().map(OrgId::from_uuid).collect())
    }

    /// Loads contexts with at most ten queries for any number of members, each of which uses an index.
    async fn load(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        query: Select<member::Entity>,
    ) -> Result<Vec<MemberContext>, RpcError> {
        let rows = query.all(conn).await.map_err(map_db_error)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let stored = organization::Entity::find_by_id(org.uuid())
            .one(conn)
            .await
            .map_err(map_db_error)?;
        // The feed of membership may be ahead of that of org-registry. Until the policies arrive, the strict
        // defaults apply.
        let policies = stored.as_ref().map(policies_of).transpose()?.unwrap_or_default();
        let is_college = stored.is_some_and(|row| row.kind == i32::from(OrganizationKind::Vocational));
        let mut facts: BTreeMap<Uuid, MemberContext> = BTreeMap::new();
        let mut suspended: BTreeMap<Uuid, BTreeSet<Role>> = BTreeMap::new();
        let mut acting_heads = BTreeSet::new();
        for row in rows {
            let Some(state) = state_of(row.state)? else {
                continue;
            };
            let member = MemberId::from_uuid(row.member_id);
            let mut context = MemberContext::new(org, member, state, roles(row.roles)?);
            context.teacher_verified = row.teacher_verified;
            context.removed_for_cause = row.removed_for_cause;
            if row.suspended_roles != 0 {
                suspended.insert(row.member_id, Role::set_of(row.suspended_roles));
            }
            if row.acting_head {
                acting_heads.insert(row.member_id);
            }
            context.policies = policies.clone();
            facts.insert(row.member_id, context);
        }
        let ids: Vec<Uuid> = facts.keys().copied().collect();
        for chunk in ids.chunks(5_000) {
            ground_rows::add_assignments(conn, org, chunk, &mut facts).await?;
            for (member, duties) in duty_rows::load(conn, org, chunk).await? {
                if let Some(facts) = facts.get_mut(&member) {
                    facts.duties = duties;
                }
            }
            ground_rows::add_families(conn, org, chunk, &mut facts).await?;
        }
        self.add_units(conn, org, is_college, &mut facts).await?;
        // After everything that rests on the roles was added.
        for (member, roles) in suspended {
            if let Some(facts) = facts.get_mut(&member) {
                facts.suspend(&roles);
            }
            if roles.contains(&Role::Head) {
                acting_heads.remove(&member);
            }
        }
        // A deputy whose role is suspended does not act as the head.
        for member in acting_heads {
            if let Some(facts) = facts
                .get_mut(&member)
                .filter(|facts| facts.roles.contains(&Role::Deputy))
            {
                facts.roles.insert(Role::Head);
            }
        }
        Ok(facts.into_values().collect())
    }
}

fn state_column(org: OrgId, member: MemberId) -> Select<member::Entity> {
    member::Entity::find_by_id((org.uuid(), member.uuid()))
        .select_only()
        .expr(suspensions::state())
}

/// Returns the state that an event gave a member; `None` for a state that this build does not know, so that
/// no query finds the member.
fn state_of(number: i32) -> Result<Option<State>, StorageError> {
    if number == suspensions::SUSPENDED {
        return Ok(Some(State::Suspended));
    }
    let state = MemberState::try_from(number).ok();
    let state = state.and_then(|state| State::try_from(state).ok());
    if state.is_none() && !is_sent(number) {
        return Err(StorageError::unknown_value("roster_member.state", number));
    }
    Ok(state)
}

/// Returns the roles of a member. The mask has only bits of known roles, because the handler of the feed
/// drops others.
fn roles(mask: i32) -> Result<BTreeSet<Role>, StorageError> {
    let roles = Role::set_of(mask);
    if Role::mask_of(roles.iter().copied()) != mask {
        return Err(StorageError::unknown_value("roster_member.roles", mask));
    }
    Ok(roles)
}

pub(crate) fn policies_of(row: &organization::Model) -> Result<Policies, StorageError> {
    let seconds = row.unused_after_seconds;
    let unused_after = u64::try_from(seconds)
        .map_err(|_| StorageError::unknown_value("roster_organization.unused_after_seconds", seconds))?;
    let number = row.history_for_newcomers;
    let history = HistoryForNewcomers::from_number(number)
        .ok_or_else(|| StorageError::unknown_value("roster_organization.history_for_newcomers", number))?;
    Ok(Policies {
        verification_required: row.verification_required,
        parent_inviters_class_staff: row.parent_inviters_class_staff,
        school_channel_open_to_families: row.school_channel_open_to_families,
        unused_after: Duration::from_secs(unused_after),
        history_for_newcomers: history,
    })
}

pub(crate) fn unit_of(row: unit::Model) -> Result<Unit, StorageError> {
    let kind = UnitKind::from_number(row.kind)
        .ok_or_else(|| StorageError::unknown_value("roster_unit.kind", row.kind))?;
    Ok(Unit {
        unit_id: UnitId::from_uuid(row.unit_id),
        kind,
        label: row.label,
        archived: row.archived || kind == UnitKind::Unknown,
        archive_time: row.archive_time,
    })
}
