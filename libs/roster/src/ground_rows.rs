//! Loads the assignments, enrollments and relations of members, with the times at which they began.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_database::StorageError;
use parta_ids::{MemberId, OrgId, TypedId, UnitId, Uuid};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use crate::{
    Child, LimitedChild, MemberContext, RelationLimit, UnitGround,
    entities::{assignment, enrollment, guardianship, relation_limit},
    relations::limits_of,
};

/// Adds the assignments of these members to their contexts.
pub(crate) async fn add_assignments(
    conn: &impl ConnectionTrait,
    org: OrgId,
    chunk: &[Uuid],
    facts: &mut BTreeMap<Uuid, MemberContext>,
) -> Result<(), StorageError> {
    let assignments = assignment::Entity::find()
        .filter(assignment::Column::OrgId.eq(org.uuid()))
        .filter(assignment::Column::MemberId.is_in(chunk.iter().copied()))
        .all(conn)
        .await?;
    for row in assignments {
        let Some(facts) = facts.get_mut(&row.member_id) else {
            continue;
        };
        let unit = UnitId::from_uuid(row.unit_id);
        facts.assign(unit, row.class_teacher, row.substitution);
        let (as_teacher, as_class_teacher) = if row.substitution {
            (UnitGround::Substitute, UnitGround::SubstituteClassTeacher)
        } else {
            (UnitGround::Teacher, UnitGround::ClassTeacher)
        };
        if let Some(time) = row.begin_time {
            facts.begin(unit, as_teacher, time);
            if row.class_teacher {
                facts.begin(unit, as_class_teacher, time);
            }
        }
    }
    Ok(())
}

/// Adds the enrollments of these members, the children and the limits toward children to their contexts.
pub(crate) async fn add_families(
    conn: &impl ConnectionTrait,
    org: OrgId,
    chunk: &[Uuid],
    facts: &mut BTreeMap<Uuid, MemberContext>,
) -> Result<(), StorageError> {
    let children = guardianship::Entity::find()
        .filter(guardianship::Column::OrgId.eq(org.uuid()))
        .filter(guardianship::Column::GuardianId.is_in(chunk.iter().copied()))
        .filter(guardianship::Column::Confirmed.eq(true))
        .all(conn)
        .await?;
    let limited = relation_limit::Entity::find()
        .filter(relation_limit::Column::OrgId.eq(org.uuid()))
        .filter(relation_limit::Column::GuardianId.is_in(chunk.iter().copied()))
        .all(conn)
        .await?;
    let pupils: BTreeSet<Uuid> = chunk
        .iter()
        .copied()
        .chain(children.iter().map(|row| row.child_id))
        .chain(limited.iter().map(|row| row.child_id))
        .collect();
    let enrollments = enrollment::Entity::find()
        .filter(enrollment::Column::OrgId.eq(org.uuid()))
        .filter(enrollment::Column::MemberId.is_in(pupils))
        .all(conn)
        .await?;
    let mut classes: BTreeMap<Uuid, BTreeSet<UnitId>> = BTreeMap::new();
    let mut enrolled_since: BTreeMap<Uuid, Vec<(UnitId, DateTime<Utc>)>> = BTreeMap::new();
    for row in enrollments {
        let unit = UnitId::from_uuid(row.unit_id);
        classes.entry(row.member_id).or_default().insert(unit);
        if let Some(time) = row.begin_time {
            enrolled_since
                .entry(row.member_id)
                .or_default()
                .push((unit, time));
        }
    }
    let since = |pupil: Uuid| enrolled_since.get(&pupil).into_iter().flatten().copied();
    for id in chunk {
        if let (Some(facts), Some(units)) = (facts.get_mut(id), classes.get(id)) {
            facts.enrolled_in.clone_from(units);
            for (unit, time) in since(*id) {
                facts.begin(unit, UnitGround::Pupil, time);
            }
        }
    }
    for row in limited {
        if let Some(facts) = facts.get_mut(&row.guardian_id) {
            facts.limited.push(LimitedChild {
                member_id: MemberId::from_uuid(row.child_id),
                units: classes.get(&row.child_id).cloned().unwrap_or_default(),
                limits: limits_of(row.limits)?,
            });
        }
    }
    for row in children {
        let Some(facts) = facts.get_mut(&row.guardian_id) else {
            continue;
        };
        let child = MemberId::from_uuid(row.child_id);
        if facts.limits_toward(child).forbids(RelationLimit::Ended) {
            continue;
        }
        if let Some(recorded) = row.begin_time {
            facts.parent_since = facts.parent_since.into_iter().chain([recorded]).min();
            // A parent is in a unit since both the child and the relation are.
            for (unit, enrolled) in since(row.child_id) {
                facts.begin(unit, UnitGround::Parent, enrolled.max(recorded));
            }
        }
        facts.children.push(Child {
            member_id: child,
            units: classes.get(&row.child_id).cloned().unwrap_or_default(),
            unit_rooms_only: row.unit_rooms_only,
        });
    }
    Ok(())
}
