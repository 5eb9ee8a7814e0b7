//! Compares the projections of two services, for a database that was restored to an earlier state.
use std::collections::{BTreeMap, BTreeSet};

use parta_database::StorageError;
use parta_ids::{
    AssignmentId, DutyId, EnrollmentId, GuardianshipId, MemberId, OrgId, SuspensionId, TypedId, UnitId, Uuid,
};
use parta_proto_membership::v1::MemberState;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use crate::{
    Policies, Role,
    entities::{
        assignment, duty, enrollment, guardianship, member, organization, protection, relation_limit,
        suspension, unit,
    },
    roster::policies_of,
    suspensions::ALL_ROLES,
};

/// The projection of one organization in one database, as far as it grants access.
#[derive(Debug, Default)]
pub struct Projected {
    members: BTreeMap<MemberId, Access>,
    assignments: BTreeMap<AssignmentId, UnitId>,
    enrollments: BTreeMap<EnrollmentId, (MemberId, UnitId)>,
    guardianships: BTreeSet<GuardianshipId>,
    duties: BTreeMap<DutyId, Option<UnitId>>,
    suspensions: BTreeMap<SuspensionId, (MemberId, BTreeSet<Role>)>,
    protected: BTreeSet<MemberId>,
    /// The limits of a guardian toward a child.
    limits: BTreeMap<(MemberId, MemberId), i32>,
    units: BTreeSet<UnitId>,
    /// `None` if the organization is unknown.
    policies: Option<Policies>,
}

/// The facts that give a member access.
#[derive(Debug)]
struct Access {
    has_left: bool,
    roles: BTreeSet<Role>,
    /// Whether the member has the badge.
    verified: bool,
    /// The number of times that the record was released.
    release_count: i32,
}

/// Members, rights and relations that have ended in one projection and not in another one.
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
    /// Members who lost the badge.
    pub badges: BTreeSet<MemberId>,
    /// The roles that members lost.
    pub roles: BTreeMap<MemberId, BTreeSet<Role>>,
    /// Suspensions that began: of whom, and of which roles; none for all roles.
    pub suspensions: BTreeMap<SuspensionId, (MemberId, BTreeSet<Role>)>,
}

/// Members to whom one projection grants more than another one, and what has not ended.
#[derive(Debug, Default, PartialEq)]
pub struct Widened {
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
            + self.badges.len()
            + self.roles.len()
            + self.suspensions.len()
    }

    /// Adds the endings of another comparison.
    pub fn add(&mut self, mut other: Self) {
        self.members.append(&mut other.members);
        self.assignments.append(&mut other.assignments);
        self.enrollments.append(&mut other.enrollments);
        self.guardianships.append(&mut other.guardianships);
        self.duties.append(&mut other.duties);
        self.badges.append(&mut other.badges);
        for (member, mut roles) in other.roles {
            self.roles.entry(member).or_default().append(&mut roles);
        }
        self.suspensions.append(&mut other.suspensions);
    }
}

impl Widened {
    /// Adds the members of another comparison.
    pub fn add(&mut self, mut other: Self) {
        self.released.append(&mut other.released);
        self.limits.append(&mut other.limits);
        self.protected.append(&mut other.protected);
    }
}

/// The roles of a member; those of an acting head with that of the head.
fn roles(row: &member::Model) -> BTreeSet<Role> {
    let mut roles = Role::set_of(row.roles);
    if row.acting_head {
        roles.insert(Role::Head);
    }
    roles
}

fn members<T>(rows: Vec<T>, id: impl Fn(T) -> Uuid) -> BTreeSet<MemberId> {
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
            let access = Access {
                has_left: row.state == i32::from(MemberState::Left),
                roles: roles(&row),
                verified: row.teacher_verified,
                release_count: row.release_count,
            };
            all.members.insert(MemberId::from_uuid(row.member_id), access);
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
            let roles = match row.roles {
                ALL_ROLES => BTreeSet::new(),
                mask => Role::set_of(mask),
            };
            let of = (MemberId::from_uuid(row.member_id), roles);
            all.suspensions
                .insert(SuspensionId::from_uuid(row.suspension_id), of);
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
        let row = organization::Entity::find_by_id(org).one(conn).await?;
        all.policies = row.as_ref().map(policies_of).transpose()?;
        for row in unit::Entity::find()
            .filter(unit::Column::OrgId.eq(org))
            .all(conn)
            .await?
        {
            all.units.insert(UnitId::from_uuid(row.unit_id));
        }
        Ok(all)
    }

    /// Returns what has ended in a later state of the same feed of membership, and the suspensions that have
    /// begun. A relation that the later state does not have was ended there, because no relation is deleted
    /// otherwise.
    ///
    /// `last_read` is given if membership may have gone on after it had lost events: the id of the last event
    /// that the later state has. A relation that began more than a minute after this event is one that the
    /// later state has never had, and has not ended.
    pub fn ended_in(&self, later: &Self, last_read: Option<Uuid>) -> Endings {
        let began_later = |id: Uuid| is_later(id, last_read);
        // The members of both states, without those who had left.
        let members = self.members.iter().filter(|(_, own)| !own.has_left);
        let both: Vec<_> = members
            .filter_map(|(id, own)| Some((*id, own, later.members.get(id)?)))
            .collect();
        let stayed = || both.iter().filter(|(_, _, later)| !later.has_left);
        let lost = |own: &Access, later: &Access| -> BTreeSet<Role> {
            own.roles.difference(&later.roles).copied().collect()
        };
        let enrollments = self.enrollments.iter();
        Endings {
            members: both
                .iter()
                .filter(|(_, _, later)| later.has_left)
                .map(|(id, ..)| *id)
                .collect(),
            assignments: missing(self.assignments.keys(), |id| {
                later.assignments.contains_key(id) || began_later(id.uuid())
            }),
            enrollments: enrollments
                .filter(|(id, _)| !later.enrollments.contains_key(*id) && !began_later(id.uuid()))
                .map(|(_, of)| *of)
                .collect(),
            guardianships: missing(self.guardianships.iter(), |id| {
                later.guardianships.contains(id) || began_later(id.uuid())
            }),
            duties: missing(self.duties.keys(), |id| {
                later.duties.contains_key(id) || began_later(id.uuid())
            }),
            badges: stayed()
                .filter(|(_, own, later)| own.verified && !later.verified)
                .map(|(id, ..)| *id)
                .collect(),
            roles: stayed()
                .map(|(id, own, later)| (*id, lost(own, later)))
                .filter(|(_, roles)| !roles.is_empty())
                .collect(),
            suspensions: later
                .suspensions
                .iter()
                .filter(|(id, _)| !self.suspensions.contains_key(*id))
                .map(|(id, of)| (*id, of.clone()))
                .collect(),
        }
    }

    /// Returns the members to whom this state grants more than a later one of the same feed.
    pub fn wider_than(&self, later: &Self) -> Widened {
        let released = self.members.iter().filter(|(id, own)| {
            let later = later.members.get(*id);
            later.is_some_and(|later| own.release_count < later.release_count)
        });
        let limits = later
            .limits
            .iter()
            .filter(|(pair, limits)| *limits & !self.limits.get(*pair).copied().unwrap_or_default() != 0);
        Widened {
            released: released.map(|(id, _)| *id).collect(),
            limits: limits.map(|((guardian, _), _)| *guardian).collect(),
            protected: later.protected.difference(&self.protected).copied().collect(),
        }
    }

    /// Returns the names of the policies that let more people reach others in this state than in a later one
    /// of the same feed of org-registry.
    pub fn wider_policies(&self, later: &Self) -> Vec<&'static str> {
        let (Some(own), Some(later)) = (&self.policies, &later.policies) else {
            return Vec::new();
        };
        let wider = [
            (
                "teacher_verification",
                later.verification_required && !own.verification_required,
            ),
            (
                "parent_inviters",
                own.parent_inviters_class_staff && !later.parent_inviters_class_staff,
            ),
            (
                "school_channel_open_to_families",
                own.school_channel_open_to_families && !later.school_channel_open_to_families,
            ),
            (
                "history_for_newcomers",
                own.history_for_newcomers > later.history_for_newcomers,
            ),
        ];
        let wider = wider.into_iter().filter(|(_, is_wider)| *is_wider);
        wider.map(|(name, _)| name).collect()
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

/// The clocks of the servers of membership differ by less than this.
const CLOCK_DIFFERENCE_SECONDS: u64 = 60;

/// Whether an id was made after another one, whatever the clocks of the servers that made them. An id without
/// a time counts as an earlier one.
fn is_later(id: Uuid, than: Option<Uuid>) -> bool {
    let seconds = |id: Uuid| id.get_timestamp().map(|made| made.to_unix().0);
    match (seconds(id), than.and_then(seconds)) {
        (Some(id), Some(than)) => id > than.saturating_add(CLOCK_DIFFERENCE_SECONDS),
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HistoryForNewcomers;

    fn with_policies(policies: Policies) -> Projected {
        Projected {
            policies: Some(policies),
            ..Projected::default()
        }
    }

    /// Returns an id that was made this many seconds after another time.
    fn made_after(seconds: u64) -> Uuid {
        let made = uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000 + seconds, 0);
        Uuid::new_v7(made)
    }

    #[test]
    fn relation_that_began_after_the_loss_has_not_ended() {
        let begun = [0, 59, 61].map(|seconds| AssignmentId::from_uuid(made_after(seconds)));
        let unit = UnitId::from_uuid(made_after(0));
        let own = Projected {
            assignments: begun.iter().map(|id| (*id, unit)).collect(),
            ..Projected::default()
        };
        let later = Projected::default();
        let ended = |last_read| own.ended_in(&later, last_read).assignments;
        assert_eq!(ended(None), begun.into());
        assert_eq!(ended(Some(made_after(0))), begun[..2].iter().copied().collect());
        // An id without a time proves nothing: the stricter reading applies.
        assert_eq!(ended(Some(Uuid::nil())), begun.into());
    }

    #[test]
    fn policy_that_became_stricter_is_wider_in_the_earlier_state() {
        let strict = || Policies {
            school_channel_open_to_families: false,
            ..Policies::default()
        };
        let wide = with_policies(Policies {
            verification_required: false,
            parent_inviters_class_staff: true,
            school_channel_open_to_families: true,
            history_for_newcomers: HistoryForNewcomers::Whole,
            ..Policies::default()
        });
        let later = with_policies(strict());
        let all = [
            "teacher_verification",
            "parent_inviters",
            "school_channel_open_to_families",
            "history_for_newcomers",
        ];
        assert_eq!(wide.wider_policies(&later), all);
        assert!(later.wider_policies(&wide).is_empty());
        assert!(wide.wider_policies(&wide).is_empty());
        assert!(wide.wider_policies(&Projected::default()).is_empty());
        let one = with_policies(Policies {
            parent_inviters_class_staff: true,
            ..strict()
        });
        assert_eq!(one.wider_policies(&later), ["parent_inviters"]);
    }
}
