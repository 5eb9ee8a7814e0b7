//! Compares the projections of two services, for a database that was restored to an earlier state.
use std::collections::{BTreeMap, BTreeSet};

use parta_database::StorageError;
use parta_ids::{
    AssignmentId, DutyId, EnrollmentId, GuardianshipId, MemberId, OrgId, SuspensionId, TypedId, UnitId,
};
use parta_proto_membership::v1::MemberState;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use crate::entities::{
    assignment, duty, enrollment, guardianship, member, protection, relation_limit, suspension, unit,
};

/// The projection of one organization in one database, as far as it grants access.
#[derive(Debug, Default)]
pub struct Projected {
    /// The state and the roles of each member, and how many times the record was released.
    members: BTreeMap<MemberId, (i32, i32, i32)>,
    assignments: BTreeMap<AssignmentId, UnitId>,
    enrollments: BTreeMap<EnrollmentId, (MemberId, UnitId)>,
    guardianships: BTreeSet<GuardianshipId>,
    duties: BTreeMap<DutyId, Option<UnitId>>,
    suspensions: BTreeMap<SuspensionId, MemberId>,
    protected: BTreeSet<MemberId>,
    /// The limits of a guardian toward a child.
    limits: BTreeMap<(MemberId, MemberId), i32>,
    units: BTreeSet<UnitId>,
}

/// Members and relations that have ended in one projection and not in another one.
#[derive(Debug, Default, PartialEq)]
pub struct Endings {
    /// Members who have left.
    pub members: BTreeSet<MemberId>,
    /// Assignments.
    pub assignments: BTreeSet<AssignmentId>,
    /// Enrollments, by the pupil and the unit.
    pub enrollments: BTreeSet<(MemberId, UnitId)>,
    /// Guardianships.
    pub guardianships: BTreeSet<GuardianshipId>,
    /// Duties.
    pub duties: BTreeSet<DutyId>,
}

/// Members to whom one projection grants more than another one, and what has not ended.
#[derive(Debug, Default, PartialEq)]
pub struct Widened {
    /// Members who were suspended.
    pub suspended: BTreeSet<MemberId>,
    /// Members who had fewer roles.
    pub roles: BTreeSet<MemberId>,
    /// Members whose records were released from an account that has them again.
    pub released: BTreeSet<MemberId>,
    /// Guardians who had limits.
    pub limits: BTreeSet<MemberId>,
    /// Children whose family was protected.
    pub protected: BTreeSet<MemberId>,
}

impl Endings {
    /// Whether nothing has ended.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of endings.
    pub fn count(&self) -> usize {
        self.members.len()
            + self.assignments.len()
            + self.enrollments.len()
            + self.guardianships.len()
            + self.duties.len()
    }

    /// Adds the endings of another comparison.
    pub fn add(&mut self, mut other: Self) {
        self.members.append(&mut other.members);
        self.assignments.append(&mut other.assignments);
        self.enrollments.append(&mut other.enrollments);
        self.guardianships.append(&mut other.guardianships);
        self.duties.append(&mut other.duties);
    }
}

impl Widened {
    /// Adds the members of another comparison.
    pub fn add(&mut self, mut other: Self) {
        self.suspended.append(&mut other.suspended);
        self.roles.append(&mut other.roles);
        self.released.append(&mut other.released);
        self.limits.append(&mut other.limits);
        self.protected.append(&mut other.protected);
    }
}

fn members<T>(rows: Vec<T>, id: impl Fn(T) -> parta_ids::Uuid) -> BTreeSet<MemberId> {
    rows.into_iter().map(|row| MemberId::from_uuid(id(row))).collect()
}

impl Projected {
    /// Loads the projection of an organization.
    pub async fn load(conn: &impl ConnectionTrait, org: OrgId) -> Result<Self, StorageError> {
        let mut all = Self::default();
        let org = org.uuid();
        for row in member::Entity::find()
            .filter(member::Column::OrgId.eq(org))
            .all(conn)
            .await?
        {
            all.members.insert(
                MemberId::from_uuid(row.member_id),
                (row.state, row.roles, row.release_count),
            );
        }
        let rows = assignment::Entity::find().filter(assignment::Column::OrgId.eq(org));
        for row in rows.all(conn).await? {
            let unit = UnitId::from_uuid(row.unit_id);
            all.assignments
                .insert(AssignmentId::from_uuid(row.assignment_id), unit);
        }
        let rows = enrollment::Entity::find().filter(enrollment::Column::OrgId.eq(org));
        for row in rows.all(conn).await? {
            let of = (MemberId::from_uuid(row.member_id), UnitId::from_uuid(row.unit_id));
            all.enrollments
                .insert(EnrollmentId::from_uuid(row.enrollment_id), of);
        }
        let rows = guardianship::Entity::find().filter(guardianship::Column::OrgId.eq(org));
        for row in rows.all(conn).await? {
            all.guardianships
                .insert(GuardianshipId::from_uuid(row.guardianship_id));
        }
        for row in duty::Entity::find()
            .filter(duty::Column::OrgId.eq(org))
            .all(conn)
            .await?
        {
            let unit = row.unit_id.map(UnitId::from_uuid);
            all.duties.insert(DutyId::from_uuid(row.duty_id), unit);
        }
        let rows = suspension::Entity::find().filter(suspension::Column::OrgId.eq(org));
        for row in rows.all(conn).await? {
            let member = MemberId::from_uuid(row.member_id);
            all.suspensions
                .insert(SuspensionId::from_uuid(row.suspension_id), member);
        }
        let rows = protection::Entity::find().filter(protection::Column::OrgId.eq(org));
        all.protected = members(rows.all(conn).await?, |row| row.member_id);
        let rows = relation_limit::Entity::find().filter(relation_limit::Column::OrgId.eq(org));
        for row in rows.all(conn).await? {
            let pair = (
                MemberId::from_uuid(row.guardian_id),
                MemberId::from_uuid(row.child_id),
            );
            all.limits.insert(pair, row.limits);
        }
        for row in unit::Entity::find()
            .filter(unit::Column::OrgId.eq(org))
            .all(conn)
            .await?
        {
            all.units.insert(UnitId::from_uuid(row.unit_id));
        }
        Ok(all)
    }

    /// Returns what has ended in a later state of the same feed of membership. A relation that the later
    /// state does not have was ended there, because no relation is deleted otherwise.
    pub fn ended_in(&self, later: &Self) -> Endings {
        let left = i32::from(MemberState::Left);
        let members = self.members.iter().filter(|(id, (state, _, _))| {
            *state != left && later.members.get(*id).is_some_and(|(state, _, _)| *state == left)
        });
        let enrollments = self.enrollments.iter();
        Endings {
            members: members.map(|(id, _)| *id).collect(),
            assignments: missing(self.assignments.keys(), |id| later.assignments.contains_key(id)),
            enrollments: enrollments
                .filter(|(id, _)| !later.enrollments.contains_key(*id))
                .map(|(_, of)| *of)
                .collect(),
            guardianships: missing(self.guardianships.iter(), |id| later.guardianships.contains(id)),
            duties: missing(self.duties.keys(), |id| later.duties.contains_key(id)),
        }
    }

    /// Returns the members to whom this state grants more than a later one of the same feed.
    pub fn wider_than(&self, later: &Self) -> Widened {
        let suspended = later.suspensions.iter();
        let roles = self.members.iter().filter(|(id, (_, roles, _))| {
            later
                .members
                .get(*id)
                .is_some_and(|(_, later, _)| roles & !later != 0)
        });
        let released = self
            .members
            .iter()
            .filter(|(id, (_, _, count))| later.members.get(*id).is_some_and(|(_, _, later)| count < later));
        let limits = later
            .limits
            .iter()
            .filter(|(pair, limits)| *limits & !self.limits.get(*pair).copied().unwrap_or_default() != 0);
        Widened {
            suspended: suspended
                .filter(|(id, _)| !self.suspensions.contains_key(*id))
                .map(|(_, member)| *member)
                .collect(),
            roles: roles.map(|(id, _)| *id).collect(),
            released: released.map(|(id, _)| *id).collect(),
            limits: limits.map(|((guardian, _), _)| *guardian).collect(),
            protected: later.protected.difference(&self.protected).copied().collect(),
        }
    }

    /// Returns the relations to units that org-registry does not have, by its own projection.
    pub fn relations_without_unit(&self, org_registry: &Self) -> Endings {
        let is_lost = |unit: &UnitId| self.units.contains(unit) && !org_registry.units.contains(unit);
        Endings {
            assignments: with(&self.assignments, is_lost),
            enrollments: self
                .enrollments
                .values()
                .filter(|(_, unit)| is_lost(unit))
                .copied()
                .collect(),
            duties: with(&self.duties, |unit| unit.as_ref().is_some_and(is_lost)),
            ..Endings::default()
        }
    }
}

fn missing<'a, Id: Ord + Copy + 'a>(
    ids: impl Iterator<Item = &'a Id>,
    has: impl Fn(&Id) -> bool,
) -> BTreeSet<Id> {
    ids.filter(|id| !has(id)).copied().collect()
}

fn with<Id: Ord + Copy, Unit>(of: &BTreeMap<Id, Unit>, is_lost: impl Fn(&Unit) -> bool) -> BTreeSet<Id> {
    of.iter()
        .filter(|(_, unit)| is_lost(unit))
        .map(|(id, _)| *id)
        .collect()
}
