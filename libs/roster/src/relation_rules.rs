//! The rules that follow from the relations of guardians and children, and the queries about them
//! (F12, F13).
use std::collections::BTreeSet;

use parta_ids::{MemberId, OrgId, TypedId, UnitId, Uuid};
use parta_status::RpcError;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::{
    MemberContext, RelationLimit, RelationLimits, Role, Roster, UnitKind,
    entities::{guardianship, protection, relation_limit},
    relations::limits_of,
    roster::map_db_error,
};

impl MemberContext {
    /// Returns whether the member is a parent by a confirmed relation. The role PARENT by itself gives
    /// nothing.
    pub fn is_parent(&self) -> bool {
        self.is_active() && self.roles.contains(&Role::Parent) && !self.children.is_empty()
    }

    /// Returns the limits of the member toward a child.
    pub fn limits_toward(&self, child: MemberId) -> RelationLimits {
        self.limited
            .iter()
            .filter(|limited| limited.member_id == child)
            .fold(RelationLimits::default(), |all, limited| {
                all.union(limited.limits)
            })
    }

    /// Returns whether no limit forbids contact between the two members. Symmetric.
    pub fn may_contact(&self, other: &Self) -> bool {
        let allows = |one: &Self, other: &Self| {
            !one.limits_toward(other.member_id)
                .forbids(RelationLimit::NoContact)
        };
        allows(self, other) && allows(other, self)
    }

    /// Returns whether a limit keeps the member out of the chats and calls of the pupils of a unit, whatever
    /// other ground the member has there.
    pub fn is_kept_from_pupils_of(&self, unit: UnitId) -> bool {
        self.is_limited_in(unit, RelationLimit::NoContact)
    }

    /// Returns whether a limit keeps from the member where the pupils of a unit are.
    pub fn is_kept_from_whereabouts_of(&self, unit: UnitId) -> bool {
        self.is_limited_in(unit, RelationLimit::NoWhereabouts)
    }

    /// In a unit the strictest limit among the children of the member there applies.
    fn is_limited_in(&self, unit: UnitId, limit: RelationLimit) -> bool {
        self.limited
            .iter()
            .any(|limited| limited.units.contains(&unit) && limited.limits.forbids(limit))
    }
}

impl Roster {
    /// Returns the adults of protected families (R83): everybody who is related to a protected child,
    /// confirmed or not. They are in no list that families see.
    pub async fn protected_adults(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
    ) -> Result<BTreeSet<MemberId>, RpcError> {
        let children: Vec<Uuid> = protection::Entity::find()
            .select_only()
            .column(protection::Column::MemberId)
            .filter(protection::Column::OrgId.eq(org.uuid()))
            .into_tuple()
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let mut adults = BTreeSet::new();
        for chunk in children.chunks(5_000) {
            let found: Vec<Uuid> = guardianship::Entity::find()
                .select_only()
                .column(guardianship::Column::GuardianId)
                .filter(guardianship::Column::OrgId.eq(org.uuid()))
                .filter(guardianship::Column::ChildId.is_in(chunk.iter().copied()))
                .into_tuple()
                .all(conn)
                .await
                .map_err(map_db_error)?;
            adults.extend(found.into_iter().map(MemberId::from_uuid));
        }
        Ok(adults)
    }

    /// Returns the home units among these units: the classes; in an organization without classes, the groups.
    pub async fn home_units(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        among: &BTreeSet<UnitId>,
    ) -> Result<BTreeSet<UnitId>, RpcError> {
        let units = self.units(conn, org).await?;
        let has_classes = units.iter().any(|unit| unit.kind == UnitKind::Class);
        let home = if has_classes {
            UnitKind::Class
        } else {
            UnitKind::Group
        };
        Ok(units
            .into_iter()
            .filter(|unit| unit.kind == home && among.contains(&unit.unit_id))
            .map(|unit| unit.unit_id)
            .collect())
    }

    /// Returns the pairs of guardian and child, among these children, whose relation a limit has ended.
    pub(crate) async fn ended_pairs(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        children: &[Uuid],
    ) -> Result<BTreeSet<(Uuid, Uuid)>, RpcError> {
        let rows = relation_limit::Entity::find()
            .filter(relation_limit::Column::OrgId.eq(org.uuid()))
            .filter(relation_limit::Column::ChildId.is_in(children.iter().copied()))
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let mut ended = BTreeSet::new();
        for row in rows {
            if limits_of(row.limits)?.forbids(RelationLimit::Ended) {
                ended.insert((row.guardian_id, row.child_id));
            }
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use parta_access::PrincipalKind;

    use super::*;

    #[test]
    fn adult_student_keeps_the_parents_in_the_unit_only() {
        let mut facts = MemberContext::sample(PrincipalKind::Parent).unwrap();
        let child = facts.children[0].member_id;
        facts.children[0].unit_rooms_only = true;
        assert!(facts.is_parent_in(MemberContext::sample_unit()));
        assert!(!facts.is_guardian_of(child));
    }
}
